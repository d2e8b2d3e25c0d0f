//! What a process that is going to be killed does, so that another can tell what must be there.

use std::time::Duration;

use sealed_session::server::{Backend, Entry, Outcome, StoreKey, Value, When};

/// How many do their steps at the same time, each with keys of its own.
pub const WRITERS: u8 = 4;

/// How many steps a writer takes with one key.
const LIFE: u64 = 8;

/// Longer than any test.
const TTL: Duration = Duration::from_secs(24 * 3600);

/// The key that a writer's step is about.
pub fn key(writer: u8, step: u64) -> StoreKey {
    let mut bytes = [writer; 32];
    // Many parts of the directory, and each more than once.
    bytes[..8].copy_from_slice(
        &(step / LIFE)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_be_bytes(),
    );
    StoreKey::from_bytes(bytes)
}

/// What is under the key of a writer's step after it.
pub fn after(writer: u8, step: u64) -> Option<Value> {
    // Every other key's life ends with its last step.
    let is_removed = step % LIFE == LIFE - 1 && (step / LIFE).is_multiple_of(2);
    let version = format!("{writer:08}{step:032}");
    // From less than a block of the disk to some megabytes.
    let repeats = [1, 10, 100, 1000, 50, 20_000, 7, 2][usize::try_from(step % LIFE).unwrap()];
    (!is_removed).then(|| Value::new(version.repeat(repeats)))
}

/// Takes one step, which must succeed.
pub async fn take(backend: &impl Backend, writer: u8, step: u64) {
    let key = key(writer, step);
    let Some(value) = after(writer, step) else {
        backend.remove(&key).await.unwrap();
        return;
    };
    let when = match step % LIFE {
        0 => When::Absent,
        _ => When::Unchanged(after(writer, step - 1).unwrap().version()),
    };
    let outcome = backend.put(&key, &Entry::new(value, TTL, when)).await;
    assert_eq!(outcome, Ok(Outcome::Stored));
}

/// The key that several processes write.
pub fn contested() -> StoreKey {
    StoreKey::from_bytes([0xc0; 32])
}

/// The value under a contested key after so many writes, the last of which `by` did.
pub fn count(writes: u64, by: u8) -> Value {
    Value::new(format!("{writes:032}{by:08}"))
}

/// How many writes made the value.
pub fn counted(value: &Value) -> u64 {
    value.as_str()[..32].parse().unwrap()
}

/// An entry that outlives the test.
pub fn lasting(value: Value, when: When) -> Entry {
    Entry::new(value, TTL, when)
}

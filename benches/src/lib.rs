//! What the benchmarks share: the sessions, their tokens, and the bare primitives that do the
//! same work on the same bytes.

mod bare;
mod device;
mod growth;

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use sealed_session::{AppKey, CookieStore, KeyRing, RevocationList, Session};

pub use bare::Bare;
pub use device::Device;
pub use growth::{Content, Growth, Operation, Place};

/// The sessions: six everyday values, and so many bytes of text besides.
pub const SIZES: [(&str, usize); 3] = [("six", 0), ("six+800", 800), ("six+2400", 2400)];

const COOKIE_NAME: &str = "__Host-session";

/// What a token has behind its ciphertext, in bytes.
const TAG: usize = 16;
const MAC: usize = 32;

/// The app key that sealed every token here. Any bytes do, for this is measured and not kept.
const SEALED_UNDER: u8 = 0;

fn key_bytes(n: u8) -> [u8; 32] {
    std::array::from_fn(|at| n.wrapping_add(at as u8))
}

/// As many keys as asked for, with the one that sealed the tokens as the sealing key.
pub fn sealing_first(keys: u8) -> KeyRing {
    ring(SEALED_UNDER..keys)
}

/// As many keys as asked for, with the one that sealed the tokens as the last that is accepted.
pub fn sealing_last(keys: u8) -> KeyRing {
    ring((SEALED_UNDER..keys).rev())
}

fn ring(keys: impl ExactSizeIterator<Item = u8>) -> KeyRing {
    let count = keys.len();
    let mut keys = keys.map(|n| AppKey::from_bytes(&key_bytes(n)).unwrap());
    let sealing = KeyRing::new(keys.next().unwrap());
    let ring = keys.fold(sealing, |ring, key| ring.accept(key).unwrap());
    // A key that is in a ring twice counts once.
    assert_eq!(ring.ids().count(), count);
    ring
}

/// One session and its token, for both sides.
pub struct Case {
    pub store: CookieStore,
    pub bare: Bare,
    pub token: String,
    pub plaintext: Vec<u8>,
}

impl Case {
    /// A session with `text` bytes besides the six values, and the real clock.
    pub fn new(text: usize) -> Self {
        Self::with_store(text, CookieStore::new(sealing_first(1)))
    }

    /// The same at one moment for ever, so that no call asks the system for the time.
    pub fn without_clock(text: usize) -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let builder = CookieStore::builder(sealing_first(1));
        Self::with_store(text, builder.clock(move || now).build().unwrap())
    }

    fn with_store(text: usize, store: CookieStore) -> Self {
        let session = store.load(&HeaderMap::new());
        fill(&session, text);
        let token = token_of(&store, &session);
        let bare = Bare::new(&key_bytes(SEALED_UNDER), COOKIE_NAME);
        let plaintext = bare.plaintext(token.as_bytes()).unwrap();
        // Both do the same work only if each opens what the other has sealed.
        let token = String::from_utf8(bare.seal(&plaintext)).unwrap();
        let opened = store.load(&request(&token));
        assert_eq!(opened.len(), session.len());
        Self {
            store,
            bare,
            token,
            plaintext,
        }
    }

    pub fn request(&self) -> HeaderMap {
        request(&self.token)
    }

    /// The session of a request, changed by one insert.
    pub fn changed(&self) -> Session {
        let session = self.store.load(&self.request());
        session.insert("cart", 4).unwrap();
        session
    }

    /// As long as the token, and no base64 at its very end: the dearest junk to tell.
    pub fn junk(&self) -> String {
        let mut junk = self.token.clone();
        junk.replace_range(junk.len() - 1.., "!");
        junk
    }

    /// The token with one byte of its mac wrong, 0 to 31.
    pub fn forged(&self, byte: usize) -> String {
        forged(&self.token, byte)
    }

    /// The token with the last byte of its ciphertext wrong: mac and tag are right.
    pub fn spliced(&self) -> String {
        altered(&self.token, MAC + TAG + 1)
    }
}

/// `token` with one byte of its mac wrong, 0 to 31.
pub fn forged(token: &str, byte: usize) -> String {
    altered(token, MAC - byte)
}

fn altered(token: &str, from_end: usize) -> String {
    let mut bytes = bare::decode(token.as_bytes()).unwrap();
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    bare::encode(&bytes)
}

fn fill(session: &Session, text: usize) {
    session.insert("user_id", 48_213).unwrap();
    session.insert("name", "Ada Lovelace").unwrap();
    session.insert("email", "ada.lovelace@example.com").unwrap();
    session.insert("role", "editor").unwrap();
    session
        .insert("csrf", "Jx3nO1vYc8Qe5Tz0WbKp7RmUaS2dLfGh")
        .unwrap();
    session.insert("cart", 3).unwrap();
    if text > 0 {
        session.insert("text", "x".repeat(text)).unwrap();
    }
}

/// A session of a user's own.
pub fn session_of(store: &CookieStore, user: usize) -> Session {
    let session = store.load(&HeaderMap::new());
    session.insert("user_id", user).unwrap();
    session.set_subject(format!("living user {user}")).unwrap();
    session
}

/// So many sessions that have ended, and so many subjects.
pub fn list_of(sessions: usize, subjects: usize) -> RevocationList {
    let (list, store) = (RevocationList::new(), CookieStore::new(sealing_first(1)));
    for user in 0..sessions {
        let session = session_of(&store, user);
        drop(store.respond(&session).unwrap());
        list.revoke(session.id().unwrap(), session.expires_at().unwrap());
    }
    for subject in 0..subjects {
        list.revoke_subject(&format!("user {subject}"), SystemTime::now());
    }
    list
}

/// The token that a save sends.
pub fn token_of(store: &CookieStore, session: &Session) -> String {
    let mut headers = HeaderMap::new();
    store.save(session, &mut headers).unwrap();
    let set_cookie = headers[SET_COOKIE].to_str().unwrap();
    let (pair, _) = set_cookie.split_once(';').unwrap();
    let (_, token) = pair.split_once('=').unwrap();
    token.to_owned()
}

/// A request's headers: the session's cookie between two others.
pub fn request(token: &str) -> HeaderMap {
    let cookie = format!("theme=dark; {COOKIE_NAME}={token}; lang=en");
    HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(cookie).unwrap())])
}

/// From the Cookie header to one value.
pub fn open(store: &CookieStore, request: &HeaderMap) -> Option<u64> {
    store.load(request).get("user_id").unwrap()
}

/// From a changed session to the Set-Cookie header. The response is as before afterwards.
pub fn seal(store: &CookieStore, session: &Session, response: &mut HeaderMap) {
    store.save(session, response).unwrap();
    std::hint::black_box(&response);
    response.clear();
}

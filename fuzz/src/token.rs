//! Tokens: junk never opens, a sealed token always does, an altered one never, and each refusal
//! has the reason that it must have.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use arbitrary::{Arbitrary, Unstructured};
use sealed_session::fuzzing::Envelope;
use sealed_session::{AppKey, KeyRing, Refusal, Sealer, Token};

use crate::reference::token_bytes;

/// The longest token of a [`Sealer`].
const MAX_TOKEN: usize = 87_492;

struct Keys {
    ring: KeyRing,
    envelope: Envelope,
    /// Under the same keys, each for another use.
    others: [Sealer; 3],
    other_cookie: Envelope,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let key = |step: u8| {
        let bytes: Vec<u8> = (0..32).map(|n| n * step).collect();
        AppKey::from_bytes(&bytes).expect("32 bytes")
    };
    let ring = KeyRing::new(key(3)).accept(key(5)).expect("two ids");
    let sealer = |purpose, context| {
        let sealer = Sealer::with_context(ring.clone(), purpose, context).expect("a purpose");
        sealer.clock(|| UNIX_EPOCH)
    };
    Keys {
        envelope: Envelope::new(&ring, "id"),
        others: [sealer("id", ""), sealer("i", "d"), sealer("id", "id")],
        other_cookie: Envelope::new(&ring, "idd"),
        ring,
    }
});

/// `data`: once as it is, and once as two plaintexts and what is done to their tokens.
pub fn token(data: &[u8]) {
    junk(data);
    if let Ok(plan) = Plan::arbitrary_take_rest(Unstructured::new(data)) {
        sealed(&plan);
    }
}

#[derive(Arbitrary, Debug)]
struct Plan<'a> {
    one: &'a [u8],
    other: &'a [u8],
    has_one_nonce: bool,
    max_length: u16,
    edits: Vec<Edit>,
}

/// A place in the token is counted from its start, modulo its length.
#[derive(Arbitrary, Debug)]
enum Edit {
    Set {
        at: u16,
        to: u8,
    },
    Flip {
        at: u16,
        bit: u8,
    },
    Insert {
        at: u16,
        byte: u8,
    },
    Remove {
        at: u16,
    },
    Cut {
        at: u16,
    },
    /// Takes what stands at the same place of the other token.
    Splice {
        at: u16,
        length: u16,
    },
    /// As `Flip`, in the bytes before base64.
    FlipDecoded {
        at: u16,
        bit: u8,
    },
    /// Says that the accepted key has sealed it.
    OtherKey,
    /// As `Splice`, in the bytes before base64.
    SpliceDecoded {
        at: u16,
        length: u16,
    },
}

fn junk(data: &[u8]) {
    let parsed = token_bytes(data, MAX_TOKEN);
    let text = String::from_utf8_lossy(data);
    if let Ok(text) = str::from_utf8(data) {
        match (Token::parse(text), &parsed) {
            (Ok(token), Ok(bytes)) => {
                assert_eq!(token.len(), bytes.len());
                assert_eq!(token.plaintext_len(), bytes.len() - 77);
                assert_eq!(token.version(), bytes[0]);
                assert_eq!(token.key_id().as_bytes(), &bytes[1..5]);
            }
            (Err(error), Err(refusal)) => assert_eq!(error.reason(), *refusal),
            (token, parsed) => panic!("{token:?} is not {parsed:?}"),
        }
    }
    let reason = parsed.map_or_else(|refusal| refusal, |bytes| without_genuine(&bytes));
    for sealer in &KEYS.others {
        let error = sealer
            .open(&text)
            .map(|_| ())
            .expect_err("junk does not open");
        assert_eq!(error.reason(), reason);
        assert!(error.to_string().starts_with("the token does not open;"));
    }
    let refusal = KEYS.envelope.open(text.as_bytes(), MAX_TOKEN).map(|_| ());
    assert_eq!(refusal, Err(reason));
}

/// The reason to refuse bytes that no seal has made.
fn without_genuine(bytes: &[u8]) -> Refusal {
    let is_known = KEYS.ring.ids().any(|id| id.as_bytes() == &bytes[1..5]);
    if is_known {
        Refusal::Forged
    } else {
        Refusal::UnknownKey
    }
}

/// A token that was sealed, its bytes and what is in it.
struct Genuine<'a> {
    token: String,
    bytes: Vec<u8>,
    plaintext: &'a [u8],
}

fn sealed(plan: &Plan<'_>) {
    let Keys {
        envelope,
        others,
        other_cookie,
        ring,
    } = &*KEYS;
    let other_nonce = if plan.has_one_nonce { 1 } else { 2 };
    let genuine = [(plan.one, 1), (plan.other, other_nonce)].map(|(plaintext, nonce)| {
        let token = envelope.seal(plaintext, nonce);
        let bytes = token_bytes(token.as_bytes(), token.len()).expect("a token is well-formed");
        Genuine {
            token,
            bytes,
            plaintext,
        }
    });
    for Genuine {
        token,
        bytes,
        plaintext,
    } in &genuine
    {
        assert_eq!(token.len(), (4 * (77 + plaintext.len())).div_ceil(3));
        let opened = envelope
            .open(token.as_bytes(), token.len())
            .expect("a genuine token");
        assert_eq!(&&*opened, plaintext);
        let sealing = ring.ids().next().expect("a ring of two keys");
        assert_eq!(&bytes[1..5], sealing.as_bytes());
        let too_long = envelope.open(token.as_bytes(), token.len() - 1).map(|_| ());
        assert_eq!(too_long, Err(Refusal::TooLong));
        for sealer in others {
            let reason = sealer
                .open(token)
                .map(|_| ())
                .map_err(|error| error.reason());
            assert_eq!(reason, Err(Refusal::Forged), "sealed for a cookie");
        }
        let elsewhere = other_cookie.open(token.as_bytes(), token.len()).map(|_| ());
        assert_eq!(elsewhere, Err(Refusal::Forged), "sealed for another cookie");
    }

    let max_length = usize::from(plan.max_length).max(genuine[0].token.len());
    altered(&genuine, &plan.edits, max_length);
    // One bit of each field, whatever the fuzzer makes of the rest.
    let [bit, _] = plan.max_length.to_le_bytes();
    let end = 29 + plan.one.len() as u16;
    for at in [0, 1, 5, 29, end, end + 16] {
        altered(&genuine, &[Edit::FlipDecoded { at, bit }], max_length);
    }
    altered(&genuine, &[Edit::OtherKey], max_length);
    of_a_sealer(plan.one);
}

/// The first token after these edits is refused for the right reason, unless it is genuine again.
fn altered(genuine: &[Genuine<'_>; 2], edits: &[Edit], max_length: usize) {
    let mut token = genuine[0].token.clone().into_bytes();
    for edit in edits {
        edit.apply(&mut token, genuine[1].token.as_bytes());
    }
    let opened = KEYS
        .envelope
        .open(&token, max_length)
        .map(|plaintext| plaintext.to_vec());
    let known = genuine
        .iter()
        .find(|genuine| genuine.token.as_bytes() == token);
    if let Some(known) = known {
        return assert_eq!(opened, Ok(known.plaintext.to_vec()));
    }
    let reason = match token_bytes(&token, max_length) {
        Err(refusal) => refusal,
        Ok(bytes) => {
            let mut outsides = genuine.iter().map(|genuine| outside(&genuine.bytes));
            if outsides.any(|genuine| genuine == outside(&bytes)) {
                Refusal::Corrupt
            } else {
                without_genuine(&bytes)
            }
        }
    };
    assert_eq!(opened, Err(reason));
}

/// What the mac covers, and the mac.
fn outside(token: &[u8]) -> (&[u8], &[u8]) {
    (&token[..29], &token[token.len() - 48..])
}

impl Edit {
    fn apply(&self, token: &mut Vec<u8>, other: &[u8]) {
        let place = |at: u16, token: &[u8]| usize::from(at) % token.len().max(1);
        match *self {
            Self::Set { at, to } => {
                let at = place(at, token);
                token[at..]
                    .first_mut()
                    .into_iter()
                    .for_each(|byte| *byte = to);
            }
            Self::Flip { at, bit } => flip(token, at, bit),
            Self::Insert { at, byte } => token.insert(place(at, token), byte),
            Self::Remove { at } => {
                let at = place(at, token);
                token.splice(at..(at + 1).min(token.len()), []);
            }
            Self::Cut { at } => token.truncate(place(at, token)),
            Self::Splice { at, length } => splice(token, other, at, length),
            Self::FlipDecoded { at, bit } => decoded(token, |bytes| flip(bytes, at, bit)),
            Self::OtherKey => decoded(token, |bytes| {
                let id = KEYS.ring.ids().nth(1).expect("a ring of two keys");
                bytes[1..5].copy_from_slice(id.as_bytes());
            }),
            Self::SpliceDecoded { at, length } => {
                let other = token_bytes(other, MAX_TOKEN).unwrap_or_default();
                decoded(token, |bytes| splice(bytes, &other, at, length));
            }
        }
    }
}

fn flip(bytes: &mut [u8], at: u16, bit: u8) {
    let at = usize::from(at) % bytes.len().max(1);
    bytes[at..]
        .first_mut()
        .into_iter()
        .for_each(|byte| *byte ^= 1 << (bit % 8));
}

fn splice(bytes: &mut [u8], other: &[u8], at: u16, length: u16) {
    let at = usize::from(at) % bytes.len().max(1);
    let taken = other.iter().skip(at).take(length.into());
    for (byte, taken) in bytes.iter_mut().skip(at).zip(taken) {
        *byte = *taken;
    }
}

/// Changes the bytes of a token that is well-formed; another stays as it is.
fn decoded(token: &mut Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) {
    if let Ok(mut bytes) = token_bytes(token, MAX_TOKEN) {
        change(&mut bytes);
        *token = crate::reference::base64url_text(&bytes);
    }
}

/// What a [`Sealer`] seals opens there, and for the other purposes and the cookie it does not.
fn of_a_sealer(plaintext: &[u8]) {
    let [sealer, others @ ..] = &KEYS.others;
    let hour = Duration::from_secs(3600);
    let plain = sealer.seal(plaintext).expect("a random source");
    let timed = sealer.seal_for(plaintext, hour).expect("a random source");
    for token in [&plain, &timed] {
        let opened = sealer.open(token).expect("a genuine token");
        assert_eq!(&*opened, plaintext);
        for other in others {
            let reason = other
                .open(token)
                .map(|_| ())
                .map_err(|error| error.reason());
            assert_eq!(reason, Err(Refusal::Forged));
        }
        let cookie = KEYS.envelope.open(token.as_bytes(), MAX_TOKEN).map(|_| ());
        assert_eq!(cookie, Err(Refusal::Forged));
    }
    let late = sealer.clone().clock(move || UNIX_EPOCH + hour);
    let reason = late
        .open(&timed)
        .map(|_| ())
        .map_err(|error| error.reason());
    assert_eq!(reason, Err(Refusal::Expired));
}

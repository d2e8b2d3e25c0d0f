//! Writes each target's first inputs into `corpus/`: what is in the test vectors, and hand-made
//! cases. README.md says when.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sealed_session::fuzzing::{Envelope, encode_value};
use sealed_session::{AppKey, KeyRing};
use serde_json::Value;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = ["sessions.json", "refused.json", "sealer.json"].map(|file| {
        let path = root.join("../tests/vectors").join(file);
        serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap()
    });
    let lists = vectors
        .iter()
        .flat_map(|file| [&file["vectors"], &file["refused"]]);
    let tokens: Vec<&Value> = lists.filter_map(Value::as_array).flatten().collect();
    let plaintexts: BTreeSet<Vec<u8>> = tokens.iter().filter_map(|token| open(token)).collect();

    let refused = vectors[1]["values"].as_array().unwrap().iter();
    let mut values: Vec<Vec<u8>> = refused.map(|value| hex(text(value, "bytes"))).collect();
    values.extend([1 << 53, (1 << 53) + 1].map(|n: u64| encode_value(&n).unwrap()));

    let texts = tokens
        .iter()
        .map(|token| text(token, "token").as_bytes().to_vec());
    let with_settings = |(n, bytes): (usize, &Vec<u8>)| [&[n as u8 % 4], bytes.as_slice()].concat();
    let times = TIMES.map(|(settings, times)| record(settings, times));
    let sealed = plaintexts.iter().enumerate().map(|(n, bytes)| {
        let settings = n as u8 % 4;
        let choice = if n % 8 < 4 {
            settings
        } else {
            settings | CATCHES_UP
        };
        [&[choice], bytes.as_slice()].concat()
    });
    let timed = TIMES.iter().flat_map(|(settings, times)| {
        [0, CATCHES_UP].map(|choice| record(settings | choice, *times))
    });
    let raw = RETURNED.map(|(choice, text)| [&[choice], text.as_bytes()].concat());
    let returned = sealed.chain(timed).chain(raw).collect();
    let dictionary = fs::read_to_string(root.join("dictionaries/session.dict")).unwrap();

    let seeds: [(&str, Vec<Vec<u8>>); 12] = [
        ("app_key", bytes_of(&KEYS)),
        ("cookie_header", bytes_of(&COOKIE_HEADERS)),
        ("device", devices(root)),
        ("keys", RINGS.iter().map(ring_of).collect()),
        (
            "load",
            plaintexts
                .iter()
                .enumerate()
                .map(with_settings)
                .chain(times)
                .collect(),
        ),
        ("record", plaintexts.iter().cloned().collect()),
        ("response", bytes_of(&RESPONSES)),
        (
            "session",
            STORIES
                .iter()
                .map(|text| story(text, &dictionary))
                .collect(),
        ),
        ("settings", bytes_of(&SETTINGS)),
        ("store", returned),
        ("token", texts.filter(|token| token.len() < 200).collect()),
        ("value", values),
    ];
    for (target, inputs) in seeds {
        let folder = root.join("corpus").join(target);
        fs::create_dir_all(&folder).unwrap();
        for (n, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{n:03}")), input).unwrap();
        }
    }
}

/// JWTs, whole and in their parts, and what is in the vectors' tokens.
fn devices(root: &Path) -> Vec<Vec<u8>> {
    let path = root.join("../tests/vectors/device.json");
    let vectors: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap().iter();
    let sealed = vectors.map(|vector| hex(text(vector, "plaintext")));
    bytes_of(&JWTS).into_iter().chain(sealed).collect()
}

fn bytes_of(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A ring with these lines behind its settings.
fn ring_of((format, fence, lines): &(u8, u64, &str)) -> Vec<u8> {
    let mut text = format!(
        "sealed-session keys {format}\nlongest 86400000\npoll 20000\npropagation 0\ntimeout 5000\n\
         tolerance 60000\nfence {fence}\n"
    );
    for line in lines.split_terminator(';') {
        text.push_str(line.trim());
        text.push('\n');
    }
    text.into_bytes()
}

/// What is sealed in a token, whether it is a record or not.
fn open(vector: &Value) -> Option<Vec<u8>> {
    let keys = vector["ring"]
        .as_array()?
        .iter()
        .map(|key| hex(key.as_str().unwrap()));
    let mut keys = keys.map(|key| AppKey::from_bytes(&key).unwrap());
    let ring = keys.try_fold(None::<KeyRing>, |ring, key| match ring {
        Some(ring) => ring.accept(key).map(Some),
        None => Ok(Some(key.into())),
    });
    let envelope = Envelope::new(&ring.unwrap()?, vector["cookie"].as_str()?);
    let opened = envelope.open(text(vector, "token").as_bytes(), 4096);
    opened.ok().map(|plaintext| plaintext.to_vec())
}

/// The bytes that `arbitrary` reads as a story. Words are those of the dictionary, the rest is
/// hexadecimal; `,` and `+` announce another step or item, `-` says that there is none.
fn story(text: &str, dictionary: &str) -> Vec<u8> {
    let words = text.replace(',', " + ");
    let bytes = words.split_whitespace().map(|word| match word {
        "+" => vec![1],
        "-" => vec![0],
        _ => match dictionary.split(&format!("\n{word}=\"")).nth(1) {
            Some(entry) => hex(&entry.split('"').next().unwrap().replace("\\x", "")),
            None => hex(word),
        },
    });
    bytes.collect::<Vec<_>>().concat()
}

/// A record of these times without content, after the settings of the target `load`.
fn record(settings: u8, times: [i64; 3]) -> Vec<u8> {
    let mut bytes = vec![settings, 1, 0];
    bytes.extend([0xab; 16]);
    for time in times {
        let moment = NOW.checked_add_signed(time).unwrap();
        bytes.extend(&moment.to_be_bytes()[2..]);
    }
    bytes.extend([0; 3]);
    bytes
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text
        .as_bytes()
        .chunks(2)
        .map(|pair| str::from_utf8(pair).unwrap());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

const COOKIE_HEADERS: [&str; 15] = [
    "\0Bearer x, bearer \ty\0BEARER  z;w",
    "\0Bearer\0Bearer \0Bearerx\0Basic x\0xBearer y\0Bearer\u{a0}x",
    "\0x,y, ,z\0x,\ta,b",
    "__Host-session\0a=b; __Host-session=x; c=d",
    "__Host-session\0 \t__Host-session \t= \tx \t; c",
    "__Host-session\0=__Host-session=x; = ; ==x",
    "__Host-session\0%5F%5FHost-session=x; \"__Host-session\"=x; $__Host-session=x",
    "__Host-session\0\u{2000}__Host-session=x;\u{a0}__Host-session=x;\x0b__Host-session=x",
    "__Host-session\0$Version=1; __Host-session=\"x\"; $Path=/",
    "id\0id=1\0a=b\0; id=2;\0id=1; id=3; id=4; id=5",
    "id\0id; id=; id; idx=1; i=d; ID=1",
    "id\0\u{e9}=\u{e9}; id=\u{e9}",
    "a b\0__Host-session=not a name",
    "__Secure-x\0__Secure-x=a,__Secure-x=b",
    "\0",
];

/// None of these is accepted: no key that can be read here may be of use to anyone.
const KEYS: [&str; 15] = [
    "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    " base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n",
    "hex:000306090c0f1215181b1e2124272a2d303336393c3f4245484b4e5154575a5d",
    "hex:zz",
    "hex:0",
    "base64:AA=A",
    "base64:your-secret-key",
    "base64:Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZSBjb3JyZWN0IGhvcnNl",
    "correct horse battery staple correct horse",
    // Text with a line end, in UTF-16, and with a few other bytes; a half that comes twice or
    // backwards; in the letters of one case.
    "base64:VGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZwo=",
    "hex:3f04400430043204380434044c043d0430044f0420003b043e0448043004340434044c0420003104",
    "base64:Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQCA/xc=",
    "hex:f3a94c0e77d1528b6a9e01c4d85b3f26f3a94c0e77d1528b6a9e01c4d85b3f26",
    "hex:f3a94c0e77d1528b6a9e01c4d85b3f26263f5bd8c4019e6a8b52d1770e4ca9f3",
    "base64:somethinglongthatiamabletorememberallmylifes",
];

const RESPONSES: [&str; 13] = [
    "5vAccept, authorization\nt1",
    "6t1\nt2\ns__Host-session=x\ncpublic",
    "7tx\nvCookie",
    "0cpublic, max-age=60\nvAccept",
    "1vAccept\nvCookie",
    "1v*",
    "2s__Host-session=x; Path=/\nsid=1\nsother=2",
    "3s__Host-session=x\ns__Host-sessions=y\nx1\nx2",
    "3cpublic, s-maxage=60, max-age=60",
    "3cprivate=\"a, b\", public",
    "3cno-store, public",
    "3cmax-age=1\ncprivate\nc\u{e9}",
    "3cext=\"a\\\"b, public\", PUBLIC",
];

const SETTINGS: [&str; 11] = [
    "acookie\nbsession\nc8h\nd30d\ne30m\nf3m\nntest\no2026-01-31T12:00:00Z",
    "b__Secure-x\njexample.com\nk/app\ninone\nltrue\nm0",
    "bid\ng0\nhno\nistrict",
    "bid\ng0\ninone",
    "c9999999999999d",
    "c1ms\nd1h",
    "f3m",
    "zx",
    "c1w 2d3h 4 minutes 5s\nd2 weeks",
    "c30M",
    "c1h 1h",
];

/// The target `store`: a request that saves over what another has saved.
const CATCHES_UP: u8 = 0x08;

/// Text that is no value, for requests that load and that catch up.
const RETURNED: [(u8, &str); 6] = [
    (4, ""),
    (4, "junk"),
    (0x0c, "é"),
    (
        4,
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ),
    (
        0x0c,
        "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ),
    (4, "AQ=="),
];

/// When the target `load` loads.
const NOW: u64 = 1_800_003_600_000;

/// On both sides of each bound: which settings, and three times from there.
const TIMES: [(u8, [i64; 3]); 16] = [
    (0, [60_000, 0, 3_600_000]),
    (0, [60_001, 0, 3_600_000]),
    (1, [0, 60_000, 3_600_000]),
    (1, [0, 60_001, 3_600_000]),
    (0, [-1_000, -1_000, 1]),
    (0, [-1_000, -1_000, 0]),
    (0, [-86_399_999, 0, 1_000]),
    (0, [-86_400_000, 0, 1_000]),
    (2, [-5_399_999, 0, 1_000]),
    (2, [-5_400_000, 0, 1_000]),
    (2, [-3_600_000, -1_799_999, 1_000]),
    (2, [-3_600_000, -1_800_000, 1_000]),
    (2, [-3_600_000, -179_999, 1_000]),
    (2, [-3_600_000, -180_000, 1_000]),
    (3, [-1_800_000, 0, 1_000]),
    (3, [-1_800_001, 0, 1_000]),
];

/// Lifetime, longest lifetime and idle timeout, then what happens. A time is a number and one of
/// the units 0 to 3: milliseconds, seconds, minutes, hours.
const STORIES: [&str; 18] = [
    // A few requests of every day.
    "hours hours -, Insert 01 Integer 2a00000000000000, Insert 02 Text 0500, Flash 01 Bool 01, \
     Subject 05, Save, Load + Jar 00 -, TakeFlash 01, TakeFlash 01, Take 02, Take 02, Insert 02 Null, \
     Update 01 Null, Save, Load + Jar 01 -, Remove 01, Remove 01, Clear, Clear, Save",
    "hours hours -, Flash 01 Bool 00, Flash 02 Null, Flash 03 Bool 00, Flash 03 Null, Save, Load + Jar 00 -, TakeFlash 02, \
     Flash 01 Bool 01, Save, TakeFlash 01, Save, Load + Jar 02 -, Clear, TakeFlash 01, Save",
    // A session that fits exactly.
    "hours hours -, Insert 00 Bytes full, Save, Load + Jar 00 -, Update 00 Bytes toofull, \
     Insert 00 Bytes toofull, Save, Insert 01 Bool 00, Flash 01 Bool 00, Subject 01, Remove 00, \
     Insert 01 Bool 00, Save",
    // Two cookies: of two sessions, of one session, of none.
    "hours hours -, Insert 01 Bool 00, Save, Load -, Insert 01 Bool 01, Save, Load + Jar 00 + Jar 01 -, \
     Save, Insert 01 Bool 00, Destroy, Save, Load + Jar 00 + Junk -, Load + Junk + Jar 00 -",
    "hours hours 01 minutes 19, Insert 01 Bool 00, Save, Wait 0a 02, Load + Jar 00 -, Save, \
     Load + Jar 00 + Jar 01 -, Save, Load + Jar 01 + Jar 00 -, Save",
    // The idle timeout, the deadline, the future and the cutoff to the millisecond.
    "hours hours 01 minutes 19, Insert 01 Bool 00, Save, Wait minutes, Load + Jar 00 -, \
     TurnBack 01 00, Load + Jar 00 -, Save",
    "hours hours -, Insert 01 Bool 00, Save, Wait hours, Load + Jar 00 -, TurnBack 01 00, \
     Load + Jar 00 -, Insert 01 Bool 00, Save, Wait 01 00, Insert 02 Bool 00, Save",
    "hours hours -, Insert 01 Bool 00, Save, TurnBack 3c 01, Load + Jar 00 -, Insert 02 Bool 00, Save, \
     TurnBack 01 00, Load + Jar 00 -",
    "hours hours -, Insert 01 Bool 00, Save, Cutoff 01 00 00, Load + Jar 00 -, Cutoff 01 01 00, \
     Load + Jar 00 -, Insert 01 Bool 00, Save, Load + Jar 01 -",
    // Keys are rotated and dropped.
    "hours hours -, Insert 01 Bool 00, Save, Rotate 01 01 00 00, Load + Jar 00 -, Save, \
     Load + Jar 01 -, Save, Rotate 02 00 00 00, Load + Jar 01 -, Rotate 00 00 01 01, Load + Jar 01 -",
    // A login with names, at once and over again, and new ids afterwards.
    "hours hours -, Insert 01 Bool 00, LogIn, Label 05, Sid 06, Save, Load + Jar 00 -, Renew, Save, \
     Load + Jar 01 -, Expire 01 01 01, Clear, Save, LogIn, Save",
    "hours hours -, LogIn, Save, Load + Jar 00 -, LogIn, Save, Renew, Save, Destroy, LogIn, Save",
    // Renewed, destroyed and begun again, in the same request and in later ones.
    "hours hours -, Insert 01 Bool 00, Save, Load + Jar 00 -, Renew, Save, Renew, Remove 01, Save, \
     Load + Jar 01 -, Insert 02 Bool 00, Renew, Clear, Save",
    "hours hours -, Insert 01 Bool 00, Save, Renew, Remove 01, Save, Destroy, Save, Insert 01 Bool 00, \
     Save, Load + Jar 02 -, Subject 03, Destroy, Insert 01 Bool 00, Save",
    // The random source fails.
    "hours hours -, Insert 01 Bool 00, SaveWithoutRandom 00, SaveWithoutRandom 01, Remove 01, \
     SaveWithoutRandom 00, Insert 01 Bool 00, Save, SaveWithoutRandom 01, SaveWithoutRandom 00, \
     Destroy, SaveWithoutRandom 00",
    // Deadlines of its own, and cookies that end with the browser.
    "hours 30 03 -, Insert 01 Bool 00, Expire 01 30 03, Expire 01 31 03, Remember 00, Save, \
     Load + Jar 00 -, Remember 00, Expire 01 30 03, Remember 01, Save, Expire 00 01 00, Save, \
     Load + Jar 00 -, Renew, Expire 01 01 01, Save",
    // Two sessions become one, if that fits.
    "hours hours -, Insert 01 Bool 00, Flash 02 Bool 00, Save, Load -, Insert 03 Bool 01, Merge Jar 00, \
     MergeItself, Save, Load + Jar 01 -, TakeFlash 02, Load -, Insert 00 Bytes full, Merge Jar 00, \
     Save",
    // Of no store, and of another.
    "hours hours -, New, Insert 01 Bool 00, Expire 01 ff 03, Save, Save, SaveElsewhere, \
     Insert 01 Bool 00, SaveElsewhere, New, SaveElsewhere",
];

/// The second has the base point of the curve for a key.
const JWTS: [&str; 7] = [
    "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRic2Mrand0In0.eyJqdGkiOiJjaGFsbGVuZ2UifQ.MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMA",
    r#"{"alg":"ES256","jwk":{"crv":"P-256","kty":"EC","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"},"typ":"dbsc+jwt"}.{"jti":"challenge"}.................................................................."#,
    r#"{"alg":"none","typ":"dbsc+jwt"}.{"jti":"challenge"}."#,
    r#"{"alg":"ES256","typ":"dbsc+jwt","crit":[]}.{"jti":"a","jti":"b"}.x"#,
    "\"eyJhbGciOiJFUzI1NiIsInR5cCI6ImRic2Mrand0In0.eyJqdGkiOiJjaGFsbGVuZ2UifQ.MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMA\"",
    "quota_exceeded;session_identifier=\"session\"",
    "__Host-session=x; __Host-device-proof-session=y; __Secure-device-key-session=z",
];

/// Format, fence, and the lines of the keys, which `;` ends.
const RINGS: [(u8, u64, &str); 10] = [
    (1, 0, "end 0;"),
    (
        1,
        0,
        "key ID0 made 1799000000000 from 1799000000000 stops - disabled 0 revoked - dropped - material KEY0; end 1;",
    ),
    (
        1,
        0,
        "key ID0 made 1799000000000 from 1799000000000 stops 1800000000000 disabled 0 revoked - dropped - material KEY0;
         key ID1 made 1799900000000 from 1800000000000 stops - disabled 0 revoked - dropped - material KEY1; end 2;",
    ),
    (
        1,
        0,
        "key ID0 made 1799000000000 from 1799000000000 stops - disabled 1 revoked - dropped - material KEY0;
         key ID1 made 1799900000000 from 281474976710655 stops - disabled 0 revoked - dropped - material KEY1; end 2;",
    ),
    (
        1,
        1_800_000_060_001,
        "key ID0 made 1799000000000 from 1799000000000 stops - disabled 0 revoked 1800000000000 dropped - material -;
         key ID1 made 1800000060002 from 1800000060002 stops - disabled 0 revoked - dropped - material KEY1; end 2;",
    ),
    // Revoked, and still with its key.
    (
        1,
        0,
        "key ID0 made 1799000000000 from 1799000000000 stops - disabled 0 revoked 1800000000000 dropped - material KEY0; end 1;",
    ),
    // A key under another id.
    (
        1,
        0,
        "key ID0 made 1799000000000 from 1799000000000 stops - disabled 0 revoked - dropped - material KEY1; end 1;",
    ),
    // Out of order.
    (
        1,
        0,
        "key ID1 made 1799000000000 from 1799000000000 stops - disabled 0 revoked - dropped - material KEY1;
         key ID0 made 1799000000000 from 1799000000000 stops - disabled 0 revoked - dropped - material KEY0; end 2;",
    ),
    (
        2,
        0,
        "key ID0 made 1799000000000 from 1799000000000 stops - disabled 0 revoked - dropped - material KEY0 colour 7;
         witness 1; end 1 more;",
    ),
    (
        1,
        0,
        "key ID0 made 1799000000000 from 1798999999999 stops - disabled 0 revoked - dropped - material -; end 1",
    ),
];

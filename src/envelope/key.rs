//! App keys: making and reading them, and refusing weak ones.

mod weakness;

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::derive;
use super::random::{Random, os_random};
use crate::env::{self, Found, Process, Variables};
use crate::error::{ConfigError, RandomError};
use weakness::Weakness;

const MIN_BYTES: usize = 32;
/// The secret from which all keys are derived: 32 or more bytes of random key material.
///
/// Make a key with `sealed-session keygen`, or put `base64:` before the output of
/// `openssl rand -base64 32`. Keep it in the environment or a secret store, never in the source. It
/// is zeroized on drop, and `Debug` shows only the key id.
///
/// ```
/// use sealed_session::AppKey;
///
/// let key = AppKey::generate()?;
/// let same: AppKey = key.to_base64().parse()?;
/// assert_eq!(same.id(), key.id());
/// assert!("hunter2".parse::<AppKey>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct AppKey {
    bytes: Zeroizing<Vec<u8>>,
    // On the heap, so that no copy stays behind where a key is moved.
    prk: Box<Zeroizing<[u8; 32]>>,
    id: KeyId,
}

impl AppKey {
    /// Makes a key of 32 bytes from the operating system's random source.
    ///
    /// # Errors
    ///
    /// If the random source fails, or its output is not random.
    pub fn generate() -> Result<Self, RandomError> {
        Self::generate_with(&mut os_random)
    }

    fn generate_with(random: Random<'_>) -> Result<Self, RandomError> {
        // The text forms refuse one random key in four billion, and then another one is drawn. A
        // source that gives two such keys is broken.
        for _ in 0..2 {
            let mut bytes = Zeroizing::new(vec![0; MIN_BYTES]);
            random(&mut bytes)?;
            let key = Self::of(bytes);
            if key.to_base64().parse::<Self>().is_ok() {
                return Ok(key);
            }
        }
        Err(RandomError(()))
    }

    /// Makes a key from 32 or more bytes that are already random key material, such as those from a
    /// key management service.
    ///
    /// ```
    /// # use sealed_session::AppKey;
    /// # let secret: [u8; 32] = std::array::from_fn(|i| i as u8 * 7 + 3);
    /// let key = AppKey::from_bytes(&secret)?;
    /// assert!(AppKey::from_bytes(&secret[..16]).is_err()); // too short
    /// # assert!(AppKey::from_bytes(&secret)?.id() == key.id());
    /// # Ok::<(), sealed_session::KeyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there are fewer than 32 bytes, or if all are equal. Nothing else is checked, so pass only
    /// bytes that a program has drawn or derived. For keys that a person may have written, use the
    /// text forms, which check more.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::checked(Zeroizing::new(bytes.to_vec())).map_err(KeyError::from)
    }

    /// Reads the key from the environment variable `var`, in a text form (see [`FromStr`]). The key
    /// may also be in a file, as container platforms hand out secrets. Then put the file's path
    /// into the variable with `_FILE` at the end of its name.
    ///
    /// ```no_run
    /// use sealed_session::{AppKey, Sealer};
    ///
    /// // INVITATION_KEY=base64:… or INVITATION_KEY_FILE=/run/secrets/invitation_key
    /// let sealer = Sealer::new(AppKey::from_env("INVITATION_KEY")?, "invitation")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// For the keys of sessions, use [`KeyRing::from_env`](crate::KeyRing::from_env).
    ///
    /// # Errors
    ///
    /// If neither variable is set or both are, if the file cannot be read, or if the text is not an
    /// accepted key. The error names the variable and the file.
    pub fn from_env(var: &str) -> Result<Self, KeyError> {
        Self::from_variables(&Process, var)
    }

    pub(super) fn from_variables(variables: &dyn Variables, var: &str) -> Result<Self, KeyError> {
        let found = env::text(variables, var)?
            .ok_or_else(|| KeyError::from(Problem::NotSet).at(var, None))?;
        let key = found.text.parse();
        key.map_err(|error: KeyError| error.found_in(&found, None))
    }

    /// The four bytes that name this key in tokens. They are derived from the key and are not
    /// secret: see [`KeyId`].
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key as text, `base64:…`, so that you can write it into a secret store. This is the
    /// secret itself. It is zeroized on drop.
    pub fn to_base64(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(7 + self.bytes.len() * 4 / 3 + 4));
        text.push_str("base64:");
        base64::engine::general_purpose::STANDARD.encode_string(self.bytes.as_slice(), &mut text);
        text
    }

    pub(super) fn prk(&self) -> &[u8; 32] {
        &self.prk
    }

    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }

    /// Whether it comes before another key, in an order which is the same for everybody.
    #[cfg(feature = "managed-keys")]
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        self.prk() < other.prk()
    }

    fn of(bytes: Zeroizing<Vec<u8>>) -> Self {
        let prk = Box::new(derive::extract(&bytes));
        let id = KeyId::from_bytes(derive::key_id(&prk));
        Self { bytes, prk, id }
    }

    fn checked(bytes: Zeroizing<Vec<u8>>) -> Result<Self, Problem> {
        if bytes.len() < MIN_BYTES {
            return Err(Problem::TooShort(bytes.len()));
        }
        if bytes.iter().all(|&byte| Some(&byte) == bytes.first()) {
            return Err(Weakness::AllEqual.into());
        }
        Ok(Self::of(bytes))
    }

    fn from_text(text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Problem::Empty);
        }
        if text.starts_with(['"', '\'', '`']) {
            return Err(Problem::Quoted);
        }
        let (prefix, encoded) = text.split_once(':').ok_or(Problem::NoPrefix)?;
        weakness::check_text(encoded)?;
        let is_hex = prefix == "hex";
        let bytes = Zeroizing::new(match prefix {
            "base64" => decode_base64(encoded)?,
            "hex" => decode_hex(encoded)?,
            _ => return Err(Problem::NoPrefix),
        });
        if bytes.len() < MIN_BYTES {
            return Err(Problem::TooShort(bytes.len()));
        }
        if is_hex {
            weakness::check_hex(encoded, &bytes)?;
        } else {
            weakness::check_base64(encoded, &bytes)?;
        }
        Ok(Self::of(bytes))
    }
}

fn decode_base64(text: &str) -> Result<Vec<u8>, Problem> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) {
        &URL_SAFE
    } else {
        &STANDARD
    };
    GeneralPurpose::new(alphabet, config)
        .decode(text)
        .map_err(|_| Problem::NotBase64)
}

fn decode_hex(text: &str) -> Result<Vec<u8>, Problem> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for pair in text.as_bytes().chunks(2) {
        match pair {
            [high, low] => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => bytes.push(16 * high + low),
                _ => return Err(Problem::NotHex),
            },
            _ => return Err(Problem::NotHex),
        }
    }
    Ok(bytes)
}

/// Reads `base64:` (standard or url-safe alphabet, padding optional) or `hex:`. White space around
/// it is ignored.
///
/// These are refused, each with its own message:
///
/// - nothing, no prefix, fewer than 32 bytes, or a known placeholder;
/// - text in UTF-8 or UTF-16, or nearly text, such as a passphrase with a line end or a few other
///   bytes;
/// - fewer than 16 distinct bytes;
/// - a part that comes twice;
/// - bytes that count up or down (every key printed in this project does) or are in order;
/// - base64 in letters of one case, and hex in decimal digits.
///
/// People write such keys, random sources do not. Fewer than one random key of 32 bytes in four
/// billion is refused by mistake, and [`generate`](AppKey::generate) never returns such a key.
impl FromStr for AppKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_text(text).map_err(KeyError::from)
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The name of an app key in tokens: four bytes, derived from the key and not secret.
///
/// `Display` and `Debug` show eight hexadecimal digits.
///
/// ```
/// # use sealed_session::{AppKey, CookieStore, KeyRing, Session, Token};
/// # let (old, new) = (AppKey::generate()?, AppKey::generate()?);
/// # let session = Session::new();
/// # session.insert("user_id", 42)?;
/// # let cookie = CookieStore::new(old.clone()).respond(&session)?.cookie_header();
/// // Does a cookie still need the old key?
/// let (_name, token) = cookie.split_once('=').ok_or("no cookie")?;
/// let sealed_by = Token::parse(token)?.key_id();
/// assert_eq!(sealed_by, old.id());
/// assert_ne!(sealed_by, new.id());
/// assert_eq!(sealed_by.to_string().len(), 8); // for a log
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 4]);

impl KeyId {
    pub(super) fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// Reads eight hexadecimal digits, as `Display` writes them.
    #[cfg(feature = "managed-keys")]
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let is_plain = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 8 || !is_plain {
            return None;
        }
        let id = u32::from_str_radix(text, 16).ok()?;
        Some(Self(id.to_be_bytes()))
    }

    /// The four bytes, as they are in a token.
    pub fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error of a refused key or key ring: where the key is, what is wrong with it, and how to make
/// a good one.
///
/// `Debug` shows the same message, because a `main` that returns this error prints `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyError {
    /// The environment variable.
    source: Option<String>,
    /// The number of the item in its list, from 1.
    item: Option<usize>,
    /// The file that the variable names.
    path: Option<PathBuf>,
    problem: Problem,
}

/// The reason for refusing a key or key ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NotSet,
    /// No key can come from the variable or its file. The text says why, and what to do.
    Unreadable(String),
    Empty,
    EmptyItem,
    Quoted,
    NoPrefix,
    NotBase64,
    NotHex,
    TooShort(usize),
    Weak(Weakness),
    SameId(KeyId),
}

impl From<Weakness> for Problem {
    fn from(weakness: Weakness) -> Self {
        Self::Weak(weakness)
    }
}

impl KeyError {
    pub(super) fn at(mut self, source: &str, item: Option<usize>) -> Self {
        self.source = Some(source.to_owned());
        self.item = item;
        self
    }

    /// The same error, with the place in the environment.
    pub(super) fn found_in(mut self, found: &Found, item: Option<usize>) -> Self {
        self.path.clone_from(&found.path);
        self.at(&found.variable, item)
    }

    /// The variable, and the item of its list.
    fn place(&self) -> String {
        match (&self.source, self.item) {
            (Some(source), Some(item)) => format!("{source}, item {item}"),
            (Some(source), None) => source.clone(),
            _ => "app key".to_owned(),
        }
    }

    /// The problem, and the file that has it.
    fn told(&self) -> String {
        match &self.path {
            Some(path) => format!("{path:?}: {}", self.problem),
            None => self.problem.to_string(),
        }
    }
}

impl From<Problem> for KeyError {
    fn from(problem: Problem) -> Self {
        Self {
            source: None,
            item: None,
            path: None,
            problem,
        }
    }
}

impl From<ConfigError> for KeyError {
    fn from(error: ConfigError) -> Self {
        let problem = Problem::Unreadable(error.problem().to_owned());
        Self::from(problem).at(error.setting(), None)
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.told())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSet => f.write_str("it is not set")?,
            Self::Unreadable(problem) => return f.write_str(problem),
            Self::Empty => f.write_str("it is empty")?,
            Self::EmptyItem => {
                return f.write_str("it is empty; remove the stray comma, or put the key there");
            }
            Self::Quoted => {
                return f.write_str("it begins with a quote; leave out the quotes around the key");
            }
            Self::NoPrefix => f.write_str("it starts with neither `base64:` nor `hex:`")?,
            Self::NotBase64 => f.write_str(
                "what follows `base64:` is not base64; look for white space, a comma, a quote or \
                 a missing part",
            )?,
            Self::NotHex => f.write_str(
                "what follows `hex:` is not pairs of hex digits; look for white space, a comma, a \
                 quote or a missing part",
            )?,
            Self::TooShort(length) => write!(f, "it has {length} bytes, 32 are needed")?,
            Self::Weak(weakness) => weakness.fmt(f)?,
            Self::SameId(id) => {
                return write!(
                    f,
                    "another key of the ring has the same key id {id}; \
                     replace the newer of the two by a fresh key"
                );
            }
        }
        f.write_str("; make one with `sealed-session keygen`, or put `base64:` before what `openssl rand -base64 32` prints")
    }
}

impl fmt::Debug for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyError({:?})", self.to_string())
    }
}

impl Error for KeyError {}

#[cfg(all(test, feature = "managed-keys", feature = "server", feature = "tower"))]
impl KeyError {
    /// One error for each problem.
    pub(crate) fn of_each_kind() -> Vec<Self> {
        use crate::error::one_of_each;
        let weak = one_of_each! { Weakness:
            Weakness::Placeholder => Weakness::Placeholder,
            Weakness::AllEqual => Weakness::AllEqual,
            Weakness::Text => Weakness::Text,
            Weakness::FewDistinct(_) => Weakness::FewDistinct(7),
            Weakness::Repeated => Weakness::Repeated,
            Weakness::Sequence => Weakness::Sequence,
            Weakness::Interleaved => Weakness::Interleaved,
            Weakness::Sorted => Weakness::Sorted,
            Weakness::FewDigits => Weakness::FewDigits,
            Weakness::OneCase => Weakness::OneCase,
        };
        let unreadable = "it and `APP_KEY` are both set; leave one of them out".to_owned();
        let mut problems = one_of_each! { Problem:
            Problem::NotSet => Problem::NotSet,
            Problem::Unreadable(_) => Problem::Unreadable(unreadable),
            Problem::Empty => Problem::Empty,
            Problem::EmptyItem => Problem::EmptyItem,
            Problem::Quoted => Problem::Quoted,
            Problem::NoPrefix => Problem::NoPrefix,
            Problem::NotBase64 => Problem::NotBase64,
            Problem::NotHex => Problem::NotHex,
            Problem::TooShort(_) => Problem::TooShort(16),
            Problem::Weak(_) => Problem::Weak(Weakness::AllEqual),
            Problem::SameId(_) => Problem::SameId(KeyId([1, 2, 3, 4])),
        };
        problems.extend(weak.into_iter().map(Problem::Weak));
        problems.into_iter().map(Self::from).collect()
    }
}

/// Lets one error type cover everything that a service reads at its start, keys included.
impl From<KeyError> for ConfigError {
    fn from(error: KeyError) -> Self {
        Self::new(error.place(), error.told())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Problem {
        text.parse::<AppKey>().unwrap_err().problem
    }

    fn base64(bytes: &[u8]) -> String {
        format!(
            "base64:{}",
            base64::engine::general_purpose::STANDARD.encode(bytes)
        )
    }

    #[test]
    fn both_alphabets_hex_and_white_space_give_the_same_key() {
        let key = AppKey::generate().unwrap();
        let standard = key.to_base64();
        let url_safe = standard.replace('+', "-").replace('/', "_");
        let hex = key
            .bytes
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect::<String>();
        for text in [
            standard.to_string(),
            standard.trim_end_matches('=').to_owned(),
            url_safe.clone(),
            url_safe.trim_end_matches('=').to_owned(),
            format!(" \t{}\n", standard.as_str()),
            format!("hex:{hex}"),
            format!("hex:{}", hex.to_lowercase()),
        ] {
            assert!(text.parse::<AppKey>().unwrap().is_same_as(&key));
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused_by_what_is_wrong_with_it() {
        let random = AppKey::generate().unwrap();
        let few = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 200, 12, 13, 14, 15].repeat(3);
        for (text, problem) in [
            ("", Problem::Empty),
            (" \r\n", Problem::Empty),
            (
                "correct horse battery staple correct horse",
                Problem::NoPrefix,
            ),
            ("base32:abc", Problem::NoPrefix),
            ("base64:", Problem::TooShort(0)),
            ("base64:*", Problem::NotBase64),
            ("hex:abc", Problem::NotHex),
            ("hex:zz", Problem::NotHex),
            ("hex:é0", Problem::NotHex),
            (&base64(&random.bytes[..31]), Problem::TooShort(31)),
            (&base64(&[7; 64]), Weakness::AllEqual.into()),
            (
                &base64(b"correct horse battery staple correct horse"),
                Weakness::Text.into(),
            ),
            (
                &base64(&(0..32).collect::<Vec<u8>>()),
                Weakness::Sequence.into(),
            ),
            (&base64(&few), Weakness::FewDistinct(15).into()),
            ("base64:CHANGE_ME", Weakness::Placeholder.into()),
            ("base64:your-secret-key-here", Weakness::Placeholder.into()),
            (&format!("\"{}\"", *random.to_base64()), Problem::Quoted),
            (&format!("'{}'", *random.to_base64()), Problem::Quoted),
        ] {
            assert_eq!(refused(text), problem, "{text}");
        }
        let error = AppKey::from_bytes(&random.bytes[..31]).unwrap_err();
        assert_eq!(error.problem, Problem::TooShort(31));
        assert_eq!(
            AppKey::from_bytes(&[7; 64]).unwrap_err().problem,
            Weakness::AllEqual.into()
        );
    }

    #[test]
    fn a_key_that_looks_written_is_drawn_once_more_and_two_are_a_failure() {
        let random = AppKey::generate().unwrap();
        let mut draws = 0;
        let key = AppKey::generate_with(&mut |bytes| {
            draws += 1;
            match draws {
                1 => bytes.fill(7),
                _ => bytes.copy_from_slice(&random.bytes),
            }
            Ok(())
        });
        assert!(key.unwrap().is_same_as(&random));
        let broken = AppKey::generate_with(&mut |bytes| {
            bytes.fill(7);
            Ok(())
        });
        assert_eq!(broken.unwrap_err(), RandomError(()));
    }

    #[test]
    fn a_key_id_shows_as_eight_digits() {
        let id = KeyId::from_bytes([0, 1, 0xab, 0xcd]);
        assert_eq!(
            (id.to_string(), format!("{id:?}")),
            ("0001abcd".to_owned(), "0001abcd".to_owned())
        );
    }

    #[test]
    fn an_error_names_the_place_and_says_how_to_make_a_good_key() {
        let error = KeyError::from(Problem::TooShort(16)).at("APP_PREVIOUS_KEYS", Some(2));
        assert_eq!(
            error.to_string(),
            "APP_PREVIOUS_KEYS, item 2: it has 16 bytes, 32 are needed; make one with \
             `sealed-session keygen`, or put `base64:` before what `openssl rand -base64 32` prints"
        );
        let as_setting = ConfigError::from(error.clone());
        assert_eq!(as_setting.setting(), "APP_PREVIOUS_KEYS, item 2");
        assert_eq!(as_setting.to_string(), error.to_string());
        assert_eq!(
            format!("{error:?}"),
            format!("KeyError({:?})", error.to_string())
        );
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = AppKey::from_env("SEALED_SESSION_NO_SUCH_VARIABLE").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("SEALED_SESSION_NO_SUCH_VARIABLE: it is not set")
        );
    }
}

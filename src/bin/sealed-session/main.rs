//! `sealed-session` makes keys, and shows the content of cookies to those who hold their keys.

#[path = "../../settings/duration.rs"]
mod duration;
mod input;
mod keys;
mod output;

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use sealed_session::{
    AppKey, CookieConfig, CookieStoreBuilder, Driver, KeyRing, Refusal, Settings, Token,
};

use output::{complain, print, print_json, print_session};

const NOTES: &str = "\
Keys: APP_KEY seals and opens; APP_PREVIOUS_KEYS, a list with commas or line ends, only opens.
APP_KEY_FILE and APP_PREVIOUS_KEYS_FILE name files with the same.
Settings: SESSION_COOKIE_NAME, SESSION_CONTEXT, SESSION_MAX_AGE and the other SESSION_*
variables of the library; an option overrides its variable. Run it in a service's environment,
and it seals and opens that service's cookies. It never asks the store of a SESSION_DRIVER.
If a session's values are there, it shows what the cookie has and says so on standard error.

Exit status: 0; 1 for a token that does not open, with the reason on standard error; 2 for
usage, input or configuration. No error shows a key, a token or a value.

Example:
  $ export APP_KEY=\"$(sealed-session keygen)\"
  $ echo '{\"user_id\": 42}' | sealed-session seal --lifetime 8h > cookie
  $ sealed-session inspect < cookie
  $ sealed-session open < cookie
  $ export APP_PREVIOUS_KEYS=\"$APP_KEY\" APP_KEY=\"$(sealed-session keygen)\"
  $ sealed-session keys
  $ sealed-session open < cookie";

/// Makes app keys, and seals, opens and inspects session cookies.
#[derive(Parser)]
#[command(name = "sealed-session", version, after_help = NOTES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints a new app key, `base64:…`, for APP_KEY. Keep it secret.
    Keygen,
    /// Turns a JSON object on standard input into a cookie's value.
    ///
    /// Each member becomes an entry of the session, unless it is null. Integers of 64 bits stay
    /// exact, and larger ones are refused.
    Seal {
        #[command(flatten)]
        used_for: UsedFor,
        /// How long the session lives, such as `30d`, `24h`, `1h 30m`, or a number of seconds;
        /// default SESSION_MAX_AGE, or 24h.
        #[arg(long, value_name = "DURATION")]
        lifetime: Option<String>,
    },
    /// Turns a cookie's value on standard input into JSON.
    ///
    /// The input may also be a whole `Cookie:` or `Set-Cookie:` line, or `NAME=value`. The output
    /// has `id`, `subject` if there is one, `issued_at`, `expires_at`, `key_id` and `values`, but
    /// no flashes. `values` is null if they are in a service's store. Characters that act on a
    /// terminal or do not show become `\\u` escapes. Bytes become `{"$bytes": "<base64>"}`. A float
    /// that JSON has no number for becomes `{"$float": "NaN"}`, `"inf"` or `"-inf"`. A moment after
    /// the year 9999 becomes the last one of that year.
    ///
    /// The session must be within the deadline sealed in it. If they are set, SESSION_MAX_LIFETIME
    /// (or SESSION_MAX_AGE), SESSION_IDLE_TIMEOUT and SESSION_NOT_BEFORE apply too.
    Open {
        #[command(flatten)]
        used_for: UsedFor,
    },
    /// Shows the version, key id and sizes of a token on standard input, without any key.
    ///
    /// Nothing of this is verified. The input is the same as for `open`. In a whole line,
    /// `--cookie` says which cookie to show.
    Inspect {
        /// The cookie's name; default SESSION_COOKIE_NAME, or __Host-session.
        #[arg(long, value_name = "NAME")]
        cookie: Option<String>,
    },
    /// Lists the key ids of the ring in the environment, the sealing key first. Its subcommands look
    /// after managed keys in a file or in Redis.
    Keys(keys::Keys),
}

#[derive(Args)]
struct UsedFor {
    /// The cookie's name; default SESSION_COOKIE_NAME, or __Host-session.
    #[arg(long, value_name = "NAME")]
    cookie: Option<String>,
    /// The store's context; default SESSION_CONTEXT, or none.
    #[arg(long)]
    context: Option<String>,
}

/// Why a command failed, which decides the exit status.
enum Failure {
    /// A token did not open. The text says why.
    Refused(String),
    /// Usage, input or configuration is wrong. The text says how.
    Usage(String),
    /// The reader of the output has gone away.
    NobodyListens,
}

impl Failure {
    fn usage(problem: impl Into<String>) -> Self {
        Self::Usage(problem.into())
    }

    fn refused(what: &str, reason: Refusal, hint: Option<&str>) -> Self {
        let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        Self::Refused(format!("{what}: {reason}{hint} ({})", reason.as_str()))
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            // Writing to a `String` does not fail.
            let _ = write!(text, ": {error}");
            source = error.source();
        }
        Self::Usage(text)
    }
}

fn main() -> ExitCode {
    let (status, text) = match run() {
        Ok(()) | Err(Failure::NobodyListens) => return ExitCode::SUCCESS,
        Err(Failure::Refused(text)) => (1, text),
        Err(Failure::Usage(text)) => (2, text),
    };
    complain(&text);
    ExitCode::from(status)
}

fn run() -> Result<(), Failure> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return Err(misused(&error)),
        Err(help) => return print(help.render().to_string().trim_end()),
    };
    match cli.command {
        Command::Keygen => print(AppKey::generate()?.to_base64().as_str()),
        Command::Seal { used_for, lifetime } => seal(&used_for, lifetime.as_deref()),
        Command::Open { used_for } => open(&used_for),
        Command::Inspect { cookie } => inspect(cookie.as_deref()),
        Command::Keys(keys) => keys.run(),
    }
}

/// Replaces clap's own text, which repeats the input: a token or a key may be in it.
fn misused(error: &clap::Error) -> Failure {
    let problem = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "say what to do: keygen, seal, open, inspect or keys".to_owned()
        }
        kind => kind.to_string(),
    };
    Failure::usage(format!("{problem}; see `sealed-session --help`"))
}

fn seal(used_for: &UsedFor, lifetime: Option<&str>) -> Result<(), Failure> {
    let settings = Settings::from_env()?;
    let ring = KeyRing::from_env()?;
    let problem = || Failure::usage(format!("--lifetime: {}", duration::FORMS));
    let parse = |text| duration::parse(text).ok_or_else(problem);
    let lifetime = lifetime.map(parse).transpose()?;
    let (builder, cookie) = configure(used_for, lifetime, &settings, &ring)?;
    let store = builder.build()?;
    let object = input::read_json()?;
    let entries = object.as_map().ok_or_else(|| {
        let kind = object.kind();
        Failure::usage(format!(
            "standard input has JSON of another kind ({kind}); an object is needed"
        ))
    })?;
    let session = store.load_from::<str>([]);
    for (name, value) in entries {
        session.insert(name, value)?;
    }
    if session.is_empty() {
        // An empty new session gets no cookie, but a session that was emptied does.
        session.set_subject("-")?;
        let _ = store.respond(&session)?;
        session.set_subject("")?;
    }
    let outgoing = store.respond(&session)?;
    let value = outgoing.set_cookies().find_map(|header| {
        let pair = header.split(';').next()?;
        pair.strip_prefix(cookie.name())?.strip_prefix('=')
    });
    let problem =
        "the session is over already; give it a longer lifetime, and see SESSION_NOT_BEFORE";
    print(
        value
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Failure::usage(problem))?,
    )?;
    note_on_place(&settings, false);
    Ok(())
}

fn open(used_for: &UsedFor) -> Result<(), Failure> {
    let settings = Settings::from_env()?;
    let ring = KeyRing::from_env()?;
    let (mut builder, cookie) = configure(used_for, None, &settings, &ring)?;
    if settings.max_age.is_none() && settings.max_lifetime.is_none() {
        // The service's settings may be in its code, so only the sealed deadline is known.
        builder = builder.max_lifetime(Duration::MAX);
    }
    let store = builder.build()?;
    let input = input::read()?;
    let text = input::token_in(&input, cookie.name())?;
    let (session, is_stub) = store.look_at(text).map_err(|reason| {
        let hint = match (reason, Token::parse(text)) {
            (Refusal::Malformed, _) => input::flaw(text).map(str::to_owned),
            (Refusal::UnknownKey, Ok(token)) => Some(missing_key(&token, &ring)),
            (Refusal::Forged, _) => {
                let context = used_for.context.as_ref().or(settings.context.as_ref());
                let has_context = context.is_some_and(|context| !context.is_empty());
                Some(wrong_use(cookie.name(), has_context))
            }
            _ => None,
        };
        Failure::refused("the token does not open", reason, hint.as_deref())
    })?;
    print_session(&session, Token::parse(text)?.key_id(), is_stub)?;
    note_on_place(&settings, is_stub);
    Ok(())
}

fn missing_key(token: &Token, ring: &KeyRing) -> String {
    let known: Vec<_> = ring.ids().map(|id| id.to_string()).collect();
    format!(
        "the token has {}, the ring {}; add that key to APP_PREVIOUS_KEYS (`inspect` shows a \
         token's key id, `keys` those of the ring)",
        token.key_id(),
        known.join(", ")
    )
}

fn wrong_use(cookie: &str, has_context: bool) -> String {
    let context = match has_context {
        true => "another context or none",
        false => "a context",
    };
    format!(
        "it may be cut short, or sealed for another cookie than `{cookie}` (see --cookie) or with \
         {context} (see --context)"
    )
}

/// Notes what this command cannot see: the session in the service's store, and whether the service
/// accepts this cookie.
fn note_on_place(settings: &Settings, is_stub: bool) {
    let driver = settings.driver.unwrap_or_default();
    let is_on = |switch: Option<bool>| switch == Some(true);
    let takes_whole = driver == Driver::Cookie
        || is_on(settings.adopt_cookies)
        || is_on(settings.small_in_cookie);
    if is_stub {
        let refused = match (driver, settings.driver) {
            (Driver::Cookie, Some(_)) => "; with SESSION_DRIVER=cookie the service refuses it",
            _ => "",
        };
        complain(&format!(
            "note: this is a whole cookie, but the session's values are in the service's store, \
             which is not asked; there it may have other values, or have ended{refused}"
        ));
    } else if !takes_whole {
        complain(&format!(
            "note: the values are in the cookie, and with SESSION_DRIVER={driver} the service \
             refuses that unless SESSION_ADOPT_COOKIES or SESSION_SMALL_IN_COOKIE is on"
        ));
    }
}

fn inspect(cookie: Option<&str>) -> Result<(), Failure> {
    let cookie = cookie_config(cookie, &Settings::from_env()?)?;
    let input = input::read()?;
    let text = input::token_in(&input, cookie.name())?;
    let token = Token::parse(text)
        .map_err(|error| Failure::refused("no token", error.reason(), input::flaw(text)))?;
    print_json(&serde_json::json!({
        "version": token.version(),
        "key_id": token.key_id().to_string(),
        "characters": text.len(),
        "bytes": token.len(),
        "plaintext_bytes": token.plaintext_len(),
    }))
}

fn keys() -> Result<(), Failure> {
    let ring = KeyRing::from_env()?;
    let roles = std::iter::once("seals and opens").chain(std::iter::repeat("opens"));
    let lines = ring
        .ids()
        .zip(roles)
        .map(|(id, role)| format!("{id} {role}"));
    print(&lines.collect::<Vec<_>>().join("\n"))
}

/// Applies the options in place of the settings that they override.
fn configure(
    used_for: &UsedFor,
    lifetime: Option<Duration>,
    settings: &Settings,
    ring: &KeyRing,
) -> Result<(CookieStoreBuilder, CookieConfig), Failure> {
    let cookie = cookie_config(used_for.cookie.as_deref(), settings)?;
    // The driver does not matter: a service's cookies are sealed in the same way under each.
    let mut settings = settings.clone();
    if settings.driver.is_some() {
        settings.driver = Some(Driver::Cookie);
    }
    settings.context = used_for.context.clone().or(settings.context);
    settings.max_age = lifetime.or(settings.max_age);
    let builder = settings.builder(ring.clone()).map_err(|error| {
        let given = match error.setting() {
            "SESSION_CONTEXT" if used_for.context.is_some() => "--context",
            "SESSION_MAX_AGE" if lifetime.is_some() => "--lifetime",
            variable => variable,
        };
        Failure::usage(format!("{given}: {}", error.problem()))
    })?;
    Ok((builder.cookie(cookie.clone()), cookie))
}

/// If the command line names the cookie, only the name counts: a token does not depend on the other
/// attributes.
fn cookie_config(name: Option<&str>, settings: &Settings) -> Result<CookieConfig, Failure> {
    Ok(match name {
        Some(name) => CookieConfig::builder()
            .name(name)
            .build()
            .map_err(|error| Failure::usage(format!("--cookie: {}", error.problem())))?,
        None => settings.cookie()?,
    })
}

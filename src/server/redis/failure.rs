//! Maps Redis errors to backend errors.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::{BackendError, BackendErrorKind};

/// Passes on only the code of a server's error, because the rest of its text may quote a key or a
/// value.
impl From<&RedisError> for BackendError {
    fn from(error: &RedisError) -> Self {
        let (kind, code) = (kind(error), code(error));
        let because = || match error.kind() {
            ErrorKind::Io => error.to_string(),
            ErrorKind::Server(_) | ErrorKind::Extension => format!("it answers {code}"),
            _ => error.category().to_owned(),
        };
        match kind {
            BackendErrorKind::Timeout => Self::new(
                kind,
                "redis did not answer in time; see what slows it or the network down, or allow it more time",
            ),
            BackendErrorKind::Full => Self::new(
                kind,
                "redis is full: raise its `maxmemory`, or remove what is not needed",
            ),
            BackendErrorKind::Unavailable => {
                let remedy = if code.is_empty() {
                    "start it, or correct its address"
                } else {
                    "see its log, and which server is the master"
                };
                Self::new(
                    kind,
                    format_args!("redis is not there: {}; {remedy}", because()),
                )
            }
            _ => Self::new(
                kind,
                format_args!(
                    "redis refused: {}; see its log, and what its user may do",
                    because()
                ),
            ),
        }
    }
}

impl From<RedisError> for BackendError {
    fn from(error: RedisError) -> Self {
        Self::from(&error)
    }
}

fn kind(error: &RedisError) -> BackendErrorKind {
    if error.is_timeout() {
        return BackendErrorKind::Timeout;
    }
    match error.kind() {
        ErrorKind::Io
        | ErrorKind::ClusterConnectionNotFound
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel
        | ErrorKind::EmptySentinelList
        | ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
        ) => return BackendErrorKind::Unavailable,
        _ => {}
    }
    match code(error) {
        "OOM" => BackendErrorKind::Full,
        // The server is no longer the master, runs somebody's endless script, cannot write to its
        // disk, or has too few replicas, and its configuration says to refuse writes then.
        "READONLY" | "BUSY" | "MISCONF" | "NOREPLICAS" => BackendErrorKind::Unavailable,
        _ => BackendErrorKind::Other,
    }
}

/// The code of a server's error. Before version 7, a script's error has the code `ERR`, and in its
/// text, behind the script's name and line, the code of the command that failed.
pub(crate) fn code(error: &RedisError) -> &str {
    let code = error.code().unwrap_or_default();
    let text = error.detail().filter(|_| code == "ERR");
    let told = text.and_then(|text| text.rsplit_once("user_script"));
    let mut words = told.map_or("", |(_, told)| told).split([' ', ':', '-']);
    let first = words.find(|word| word.bytes().any(|byte| !byte.is_ascii_digit()));
    let is_code = |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase());
    first.filter(is_code).unwrap_or(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn an_error_has_the_kind_of_its_code_also_if_an_old_servers_script_tells_it() {
        for (code, kind) in [
            ("OOM", BackendErrorKind::Full),
            ("READONLY", BackendErrorKind::Unavailable),
            ("BUSY", BackendErrorKind::Unavailable),
            ("MISCONF", BackendErrorKind::Unavailable),
            ("NOREPLICAS", BackendErrorKind::Unavailable),
            ("WRONGTYPE", BackendErrorKind::Other),
            ("NOPERM", BackendErrorKind::Other),
        ] {
            let old = "ERR Error running script (call to f_0a1b): @user_script:1:";
            for text in [
                format!("{code} hunter2"),
                format!("{old} {code} hunter2"),
                format!("{old} @user_script: 1: -{code} hunter2"),
            ] {
                let error = error(&text);
                assert_eq!(super::code(&error), code, "{text}");
                let error = BackendError::from(error);
                assert_eq!(error.kind(), kind, "{text}");
                assert!(!error.to_string().contains("hunter2"), "{error}");
            }
        }
        for text in [
            "ERR unknown command 'HUNTER'",
            "ERR Error running script (call to f_0a1b): @user_script:1: hunter2",
            "ERR Error running script (call to f_0a1b): @user_script: 1: 2",
            "ERR user_script",
        ] {
            assert_eq!(code(&error(text)), "ERR", "{text}");
        }
    }
}

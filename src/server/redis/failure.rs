//! Maps Redis errors to backend errors.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::{BackendError, BackendErrorKind};

/// Passes on only the code of a server's error, because the rest of its text may quote a key or a
/// value.
impl From<&RedisError> for BackendError {
    fn from(error: &RedisError) -> Self {
        let (kind, code) = (kind(error), error.code().unwrap_or_default());
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
            BackendErrorKind::Unavailable => Self::new(
                kind,
                format_args!(
                    "redis is not there: {}; start it, or correct its address",
                    because()
                ),
            ),
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
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly,
        ) => BackendErrorKind::Unavailable,
        // Before version 7, a script's error had the original code in its text.
        _ if error.code() == Some("OOM") || is_told(error, "OOM command not allowed") => {
            BackendErrorKind::Full
        }
        // Redis cannot write to its disk, or has too few replicas, and its configuration says to
        // refuse writes then.
        _ if matches!(error.code(), Some("MISCONF" | "NOREPLICAS")) => {
            BackendErrorKind::Unavailable
        }
        _ => BackendErrorKind::Other,
    }
}

fn is_told(error: &RedisError, what: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(what))
}

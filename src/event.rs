//! Events worth noticing, which go to `tracing` and to the store's hook.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "tracing")]
use crate::error::WithCauses;
use crate::error::{Origin, Refusal};

/// Something that an operator may want to see or count. No event holds a key, a token or a value.
///
/// With the feature `tracing`, each event also goes to that crate, under the target
/// `sealed_session`. Its fields are `event` and `reason`, and after an error also `error`, with its
/// causes. Your hook in [`on_event`](crate::CookieStoreBuilder::on_event) gets the same events, for
/// counters. docs/recipes.md shows it with the crates `metrics` and `opentelemetry`.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use std::sync::{Arc, Mutex};
/// # use sealed_session::{AppKey, CookieStore};
/// let counts: Arc<Mutex<BTreeMap<_, u64>>> = Arc::default();
///
/// let counter = Arc::clone(&counts); // in a service: your metrics
/// let store = CookieStore::builder(AppKey::generate()?)
///     .on_event(move |event| {
///         let labels = (event.as_str(), event.reason());
///         *counter.lock().unwrap().entry(labels).or_default() += 1;
///     })
///     .build()?;
///
/// store.load_from(["__Host-session=junk"]);
/// assert_eq!(counts.lock().unwrap()[&("refused", Some("malformed"))], 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// A request's token was refused: junk, altered, or of an unknown key.
    Refused(Refusal),
    /// A request's token was genuine, but its session is over: [`Refusal::Expired`],
    /// [`Refusal::Idle`], [`Refusal::Cutoff`], [`Refusal::Revoked`], [`Refusal::Gone`] or
    /// [`Refusal::Moved`].
    Expired(Refusal),
    /// A request brought several different sessions, and the store trusted none.
    Ambiguous,
    /// A session came in under an accepted key and left under the sealing key.
    Resealed,
    /// A change was refused, because the session would no longer fit its cookie.
    TooLarge,
    /// A value had another type than the requested one, and
    /// [`get_or_remove`](crate::Session::get_or_remove) removed it.
    EntryGivenUp,
    /// A session was changed after the layer had saved it; the change is lost.
    ChangedTooLate,
    /// A changed session was not saved, because there was no response: the service failed or
    /// panicked, or the client went away. If it went away during the save, a backend may have the
    /// change, but the browser has no new cookie.
    Unsaved,
    /// A request has no session to work with, and the client is not to blame. If no layer has seen
    /// the request, there is no store whose hook could be called, and only `tracing` gets the
    /// event.
    LoadFailed,
    /// A handler returned an error of its session.
    CallFailed,
    /// A session could not be saved, and the response was replaced.
    SaveFailed,
    /// Another request had saved the session meanwhile, so the store made this request's changes
    /// again on the newer version.
    Replayed,
    /// A session ended while a request held it, so the request's changes are lost. The cookie stays
    /// as it is, because the browser may have another one by now.
    Lost,
    /// A backend failed, and the request goes on without it. Or a `RevocableCookieStore` cannot
    /// read all of the sessions that other processes have ended.
    BackendFailed,
    /// The directory of a `FileStore` was missing or replaced, and the store made a new one. The
    /// sessions in the old one have ended.
    DirectoryRemade,
    /// A browser has registered the key of its device for a session (feature `device-bound`).
    DeviceRegistered,
    /// A device has proven its key again.
    DeviceRefreshed,
    /// A registration or a proof was refused.
    DeviceRefused(DeviceRefusal),
    /// A browser that takes part sent a request without a proof, and says why.
    DeviceSkipped(DeviceSkip),
    /// A browser was told to forget its key, because it has no session, or the session needs
    /// another key.
    DeviceEnded,
}

/// Why a registration or a proof of a device was refused.
///
/// ```
/// # #[cfg(feature = "device-bound")] {
/// # use std::collections::BTreeMap;
/// # use std::sync::{Arc, Mutex};
/// use sealed_session::{AppKey, CookieStore, DeviceBound, Event};
///
/// # let counts: Arc<Mutex<BTreeMap<_, u64>>> = Arc::default();
/// # let counter = Arc::clone(&counts);
/// let store = CookieStore::builder(AppKey::generate()?)
///     .device_bound(DeviceBound::default())
///     .on_event(move |event| {
///         if let Event::DeviceRefused(why) = event {
///             *counter.lock().unwrap().entry(why.as_str()).or_default() += 1;
///         }
///     })
///     .build()?;
///
/// // Another site's page sends a request to the endpoint:
/// let headers = [("sec-fetch-site", &b"cross-site"[..])];
/// store.device_answer("POST", "/.device-bound-session/register", headers);
/// assert_eq!(counts.lock().unwrap()["not_same_origin"], 1);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceRefusal {
    /// The request is not from a page of this origin, or a proxy has removed `Sec-Fetch-Site`.
    NotSameOrigin,
    /// The server did not offer this browser a registration in the last minute.
    NotOffered,
    /// The browser sent something other than a JWT with ES256, or a key that is not on the curve.
    Malformed,
    /// The signature is not of the session's key.
    Signature,
    /// The signature is good, but over an old challenge or one for something else.
    Challenge,
    /// The browser's session is bound to another key.
    OtherSession,
    /// The session has ended.
    Over,
    /// The browser's key or session is sealed under a key that this server does not have, or is
    /// from the future by this server's clock.
    UnknownKey,
}

impl DeviceRefusal {
    /// A short, constant name in snake case, fit for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSameOrigin => "not_same_origin",
            Self::NotOffered => "not_offered",
            Self::Malformed => "malformed",
            Self::Signature => "signature",
            Self::Challenge => "challenge",
            Self::OtherSession => "other_session",
            Self::Over => "over",
            Self::UnknownKey => "unknown_key",
        }
    }
}

/// Why a browser says that it sent a request without a proof.
///
/// ```
/// # use sealed_session::{DeviceSkip, Event};
/// let event = Event::DeviceSkipped(DeviceSkip::Quota); // what `on_event` gets
/// assert_eq!((event.as_str(), event.reason()), ("device_skipped", Some("quota_exceeded")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceSkip {
    /// It has signed too often: six times in nine minutes.
    Quota,
    /// The endpoint could not be reached.
    Unreachable,
    /// The endpoint answered with an error.
    ServerError,
    /// Something else.
    Other,
}

impl DeviceSkip {
    /// A short, constant name in snake case, fit for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota_exceeded",
            Self::Unreachable => "unreachable",
            Self::ServerError => "server_error",
            Self::Other => "other",
        }
    }
}

impl Event {
    /// A short, constant name in snake case, fit for a metric's label.
    ///
    /// ```
    /// # use sealed_session::{Event, Refusal};
    /// assert_eq!(Event::Expired(Refusal::Idle).as_str(), "expired");
    /// assert_eq!(Event::Expired(Refusal::Idle).to_string(), "a request's session is over");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Expired(_) => "expired",
            Self::Ambiguous => "ambiguous",
            Self::Resealed => "resealed",
            Self::TooLarge => "too_large",
            Self::EntryGivenUp => "entry_given_up",
            Self::ChangedTooLate => "changed_too_late",
            Self::Unsaved => "unsaved",
            Self::LoadFailed => "load_failed",
            Self::CallFailed => "call_failed",
            Self::SaveFailed => "save_failed",
            Self::Replayed => "replayed",
            Self::Lost => "lost",
            Self::BackendFailed => "backend_failed",
            Self::DirectoryRemade => "directory_remade",
            Self::DeviceRegistered => "device_registered",
            Self::DeviceRefreshed => "device_refreshed",
            Self::DeviceRefused(_) => "device_refused",
            Self::DeviceSkipped(_) => "device_skipped",
            Self::DeviceEnded => "device_ended",
        }
    }

    /// Why something was refused, as a label such as [`Refusal::as_str`]. `None` for events that
    /// refuse nothing.
    ///
    /// ```
    /// # use sealed_session::{Event, Refusal};
    /// assert_eq!(Event::Expired(Refusal::Idle).reason(), Some("idle"));
    /// assert_eq!(Event::Resealed.reason(), None);
    /// ```
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) | Self::Expired(refusal) => Some(refusal.as_str()),
            Self::DeviceRefused(refusal) => Some(refusal.as_str()),
            Self::DeviceSkipped(skip) => Some(skip.as_str()),
            _ => None,
        }
    }

    /// The event for a loaded session, if its origin is worth noticing.
    pub(crate) fn of_origin(origin: Origin) -> Option<Self> {
        match origin {
            Origin::Refused(
                refusal @ (Refusal::Expired
                | Refusal::Idle
                | Refusal::Cutoff
                | Refusal::Revoked
                | Refusal::Gone
                | Refusal::Moved),
            ) => Some(Self::Expired(refusal)),
            Origin::Refused(refusal) => Some(Self::Refused(refusal)),
            Origin::Ambiguous => Some(Self::Ambiguous),
            Origin::Absent | Origin::Opened => None,
        }
    }

    /// Reports to `tracing`. Events that a client can cause at will are below the level of a
    /// warning.
    #[cfg(feature = "tracing")]
    fn trace(self, error: Option<&(dyn Error + 'static)>) {
        macro_rules! at {
            ($level:ident) => {
                tracing::$level!(
                    target: "sealed_session",
                    event = self.as_str(),
                    reason = self.reason(),
                    error = error.map(|error| tracing::field::display(WithCauses(error))),
                    "{self}"
                )
            };
        }
        match self {
            Self::Expired(_)
            | Self::Resealed
            | Self::Unsaved
            | Self::Replayed
            | Self::Lost
            | Self::DeviceRegistered
            | Self::DeviceRefreshed
            | Self::DeviceEnded => {
                at!(debug);
            }
            Self::Refused(_)
            | Self::Ambiguous
            | Self::DeviceRefused(_)
            | Self::DeviceSkipped(_) => at!(info),
            Self::TooLarge
            | Self::EntryGivenUp
            | Self::ChangedTooLate
            | Self::BackendFailed
            | Self::DirectoryRemade => at!(warn),
            Self::LoadFailed | Self::CallFailed | Self::SaveFailed => at!(error),
        }
    }

    #[cfg(not(feature = "tracing"))]
    fn trace(self, _: Option<&(dyn Error + 'static)>) {}
}

/// A sentence for the operator.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(_) => "a request's token was refused",
            Self::Expired(_) => "a request's session is over",
            Self::Ambiguous => "a request brought several different sessions",
            Self::Resealed => "a session was sealed again under the sealing key",
            Self::TooLarge => "a change was refused because the session is full",
            Self::EntryGivenUp => "an entry has another type now, and was removed",
            Self::ChangedTooLate => "a session was changed after it was saved; the change is lost",
            Self::Unsaved => "a changed session was given up without a response",
            Self::LoadFailed => "a request has no session to work with",
            Self::CallFailed => "a handler answered with an error of its session",
            Self::SaveFailed => "a session could not be saved",
            Self::Replayed => "changes were made again on what another request had saved",
            Self::Lost => "a session has ended while a request held it",
            Self::BackendFailed => "a backend failed, and the request goes on without",
            Self::DirectoryRemade => "the directory of sessions was gone, and was made anew",
            Self::DeviceRegistered => "a browser has registered its device for a session",
            Self::DeviceRefreshed => "a device has proven its key again",
            Self::DeviceRefused(_) => "a device's registration or proof was refused",
            Self::DeviceSkipped(_) => "a browser sent a request without its device's proof",
            Self::DeviceEnded => "a browser was told to forget its device's key",
        })
    }
}

type Hook = dyn Fn(Event) + Send + Sync;

/// The destination of events.
#[derive(Clone, Default)]
pub(crate) struct Events {
    hook: Option<Arc<Hook>>,
}

impl Events {
    pub(crate) fn to(hook: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self {
            hook: Some(Arc::new(hook)),
        }
    }

    /// Never call this while a session is locked, because the hook is the application's code.
    pub(crate) fn report(&self, event: Event, error: Option<&(dyn Error + 'static)>) {
        event.trace(error);
        if let Some(hook) = &self.hook {
            hook(event);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

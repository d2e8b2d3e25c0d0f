//! Answers browsers that bind sessions to their device: at the two endpoints, and when a visitor
//! follows a link on another site.

mod answer;
mod endpoint;
mod instructions;
mod json;
mod jwt;
mod link;
mod request;
mod skipped;

use std::cell::RefCell;

use http::StatusCode;

pub use answer::DeviceAnswer;
pub(crate) use request::Request;

use crate::envelope::Random;
use crate::event::{DeviceRefusal, Event};
use crate::flow::Placement;
use crate::store::StoreCore;
use endpoint::Endpoint;

/// Reads a JWT: its challenge, and the key in it.
#[cfg(fuzzing)]
pub(crate) fn read_jwt(field: &[u8]) -> Option<(Option<String>, Option<[u8; 33]>)> {
    let jwt = jwt::Jwt::read(field)?;
    let key = jwt.key().and_then(|key| jwt::compressed(&key));
    Some((jwt.challenge().map(str::to_owned), key))
}

/// Returns the answer if device binding answers this request. Then no handler runs.
pub(crate) fn answer<P: Placement>(
    core: &StoreCore<P>,
    request: &Request<'_, '_>,
    random: Random<'_>,
) -> Option<DeviceAnswer> {
    let binding = core.flow.devices.binding()?;
    let path = request.path();
    if !path.starts_with(&binding.names.path) {
        if let Some(why) = skipped::reason(request, &binding.names.identifier) {
            core.events().report(Event::DeviceSkipped(why), None);
        }
        return link::again(&core.flow, binding, request, || core.now());
    }
    let is_refresh = path == binding.names.refresh;
    if !is_refresh && path != binding.names.register {
        return None;
    }
    if request.method != "POST" {
        return Some(DeviceAnswer::wrong_method());
    }
    let answered = if request.is_same_origin() {
        let endpoint = Endpoint {
            flow: &core.flow,
            binding,
            now: core.now(),
            sealed_under: RefCell::default(),
        };
        endpoint.answer(is_refresh, request, random)
    } else {
        let answer = DeviceAnswer::new(StatusCode::FORBIDDEN);
        Ok((
            answer,
            Some(Event::DeviceRefused(DeviceRefusal::NotSameOrigin)),
        ))
    };
    Some(match answered {
        Ok((answer, event)) => {
            if let Some(event) = event {
                core.events().report(event, None);
            }
            answer
        }
        // The browser keeps its session. The request that it holds back goes on without a proof.
        Err(error) => {
            core.events().report(Event::SaveFailed, Some(&error));
            DeviceAnswer::new(StatusCode::INTERNAL_SERVER_ERROR)
        }
    })
}

/// Gives each store its `device_answer`.
macro_rules! answers {
    ($($(#[$attribute:meta])* [$($generic:tt)*] $store:ty, |$of:ident| $core:expr;)*) => { $(
        $(#[$attribute])*
        impl $($generic)* $store {
            /// Returns the answer to a request that device binding answers itself: at its two
            /// endpoints, and for a link on another site that leads to a page. Otherwise `None`,
            /// and a handler answers: [`DeviceAnswer`] has an example. A `SessionLayer` (feature
            /// `tower`) does this by itself.
            ///
            /// `path` is the request's path as it was sent, with or without its query, and
            /// `headers` are names in any case and values. Nothing waits and nothing fails.
            pub fn device_answer<'h>(
                &self,
                method: &str,
                path: &str,
                headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
            ) -> Option<DeviceAnswer> {
                let $of = self;
                $core.flow.devices.binding()?;
                let headers: Vec<(&str, &[u8])> = headers.into_iter().collect();
                let each = |name: &'static str, take: &mut dyn FnMut(&'h [u8])| {
                    let is_it = |(of, _): &&(&str, _)| of.eq_ignore_ascii_case(name);
                    headers.iter().filter(is_it).for_each(|(_, value)| take(value));
                };
                let request = Request { method, path, each: &each };
                answer(&$core, &request, &mut crate::envelope::os_random)
            }

            /// Like `device_answer`, for a request of a framework.
            #[cfg(feature = "tower")]
            pub(crate) fn answer_device(&self, request: &Request<'_, '_>) -> Option<DeviceAnswer> {
                let $of = self;
                answer(&$core, request, &mut crate::envelope::os_random)
            }
        }
    )* };
}

answers! {
    [] crate::CookieStore, |store| store.core;
    #[cfg(feature = "redis")]
    [] crate::RevocableCookieStore, |store| store.core();
    #[cfg(feature = "server")]
    [<B: crate::server::Backend>] crate::server::ServerStore<B>, |store| store.core();
}

#[cfg(test)]
mod tests;

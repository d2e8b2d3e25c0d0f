//! Handles links on other sites. Browsers do not hold back such a request until it has a proof, so
//! the page would greet a visitor who is logged in as a stranger. The answer here makes the browser
//! load the same address again. The second request comes from this origin, so the browser holds it
//! back.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderValue, REFRESH, VARY};

use super::answer::DeviceAnswer;
use super::request::Request;
use crate::binding::{Binding, DeviceStage};
use crate::flow::{Flow, Placement};
use crate::time::Millis;

/// A browser reloads at most once in this time, so that it never does so for ever.
const PAUSE: Duration = Duration::from_secs(10);

/// The page that visitors see for a moment. It has no script, because a strict
/// Content-Security-Policy would block that.
const PAGE: &str = "<!doctype html><meta charset=\"utf-8\"><title>\u{2026}</title>\n";

/// Returns the answer that reloads the page, if the request comes from such a link and its session
/// lacks only the proof.
pub(super) fn again<P: Placement>(
    flow: &Flow<P>,
    binding: &Binding,
    request: &Request<'_, '_>,
    now: impl FnOnce() -> Millis,
) -> Option<DeviceAnswer> {
    let settings = &binding.settings;
    if !settings.reloads || settings.stage() != DeviceStage::Enforce || request.method != "GET" {
        return None;
    }
    let from = request.field("sec-fetch-site")?;
    let is_link = matches!(from, b"cross-site" | b"same-site")
        && request.field("sec-fetch-mode") == Some(b"navigate")
        && request.field("sec-fetch-dest") == Some(b"document");
    let is_below = |path: &String| {
        let rest = request.path().strip_prefix(path.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if !is_link || settings.excluded.iter().any(is_below) {
        return None;
    }
    let again = &binding.cookies.again;
    let is_second = request.cookie(again.name()).iter().next().is_some();
    if is_second {
        return None;
    }
    let device = flow.without_proof(request.cookies(), now())?;
    let varies = "Cookie, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest";
    let answer = DeviceAnswer::new(StatusCode::OK)
        .page(PAGE)
        .with(REFRESH, HeaderValue::from_static("0"))
        .with(VARY, HeaderValue::from_static(varies));
    let answer = answer.cookies(again.set("1", Some(PAUSE)));
    // With a proof that is worth nothing, the browser would not hold the second request back.
    let proof = device.drops_proof.then(|| binding.cookies.proof.remove());
    Some(answer.cookies(proof.flatten()))
}

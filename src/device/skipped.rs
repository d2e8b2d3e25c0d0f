//! Why a browser sent a request without its proof.

use super::request::Request;
use crate::event::DeviceSkip;

const HEADER: &str = "secure-session-skipped";
/// The most bytes of a field that are read.
const MAX_LENGTH: usize = 1024;

/// The reason that the browser gives for the session with this identifier. It changes nothing for
/// the request, because a thief can give a reason too.
pub(super) fn reason(request: &Request<'_, '_>, identifier: &str) -> Option<DeviceSkip> {
    let mut reason = None;
    // A list may come in several fields.
    (request.each)(HEADER, &mut |field| {
        reason = reason.or_else(|| reason_in(field, identifier));
    });
    reason
}

fn reason_in(field: &[u8], identifier: &str) -> Option<DeviceSkip> {
    let text = std::str::from_utf8(field.get(..MAX_LENGTH).unwrap_or(field)).ok()?;
    let is_ours = |item: &&str| {
        let mut parameters = item.split(';').skip(1).map(str::trim);
        parameters.any(|parameter| {
            let value = parameter.strip_prefix("session_identifier=");
            value.is_some_and(|value| value.trim_matches('"') == identifier)
        })
    };
    let item = text.split(',').find(is_ours)?;
    Some(match item.split(';').next().unwrap_or_default().trim() {
        "quota_exceeded" => DeviceSkip::Quota,
        "unreachable" => DeviceSkip::Unreachable,
        "server_error" => DeviceSkip::ServerError,
        _ => DeviceSkip::Other,
    })
}

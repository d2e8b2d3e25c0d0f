//! The parts of a request that matter for device binding.

use std::fmt;

use crate::cookie::header::Candidates;

/// Shows all values of a header, whose name is in lower case.
pub(crate) type Each<'r, 'h> = dyn Fn(&'static str, &mut dyn FnMut(&'h [u8])) + 'r;

/// A request's head.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(feature = "tower"),
    expect(unreachable_pub, reason = "the layer's sealed trait has it")
)]
pub struct Request<'r, 'h> {
    pub(crate) method: &'r str,
    pub(crate) path: &'r str,
    pub(crate) each: &'r Each<'r, 'h>,
}

impl<'r, 'h> Request<'r, 'h> {
    /// The header's value, if it came exactly once.
    pub(super) fn field(&self, name: &'static str) -> Option<&'h [u8]> {
        let (mut first, mut count) = (None, 0);
        (self.each)(name, &mut |value| {
            first = Some(value);
            count += 1;
        });
        first.filter(|_| count == 1)
    }

    /// The values of the Cookie fields.
    pub(super) fn cookies(&self) -> Vec<&'h [u8]> {
        let mut fields = Vec::new();
        (self.each)("cookie", &mut |field| fields.push(field));
        fields
    }

    /// The different values of a cookie.
    pub(super) fn cookie(&self, name: &str) -> Candidates<'h> {
        Candidates::find(name, self.cookies())
    }

    pub(super) fn path(&self) -> &'r str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Whether a page of this origin sent the request. Pages cannot set this header.
    pub(super) fn is_same_origin(&self) -> bool {
        self.field("sec-fetch-site") == Some(b"same-origin")
    }
}

/// Shows no header, because they hold tokens.
impl fmt::Debug for Request<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

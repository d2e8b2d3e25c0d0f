/// Asserts that the body of a 500 of the layer has this reason in debug builds, and is empty in
/// release builds.
pub(crate) fn assert_explained(body: &str, reason: &str) {
    if cfg!(debug_assertions) {
        assert!(body.contains(reason), "{body:?} has no {reason:?}");
    } else {
        assert_eq!(body, "");
    }
}

//! The instructions for a browser that has registered its key.

use serde_json::{Value, json};

use crate::binding::Binding;

/// The JSON that the draft calls session instructions. The scope is this origin alone.
pub(super) fn instructions(binding: &Binding) -> String {
    let (names, settings) = (&binding.names, &binding.settings);
    let excluded = settings.excluded.iter();
    let excluded: Vec<Value> = excluded
        .map(|path| json!({ "type": "exclude", "domain": "*", "path": path }))
        .collect();
    let proof = &binding.cookies.proof;
    let mut instructions = json!({
        "session_identifier": names.identifier,
        "refresh_url": names.refresh,
        "scope": { "include_site": false, "scope_specification": excluded },
        "credentials": [{
            "type": "cookie",
            "name": proof.name(),
            "attributes": proof.attributes(),
        }],
    });
    if !settings.initiators.is_empty()
        && let Some(members) = instructions.as_object_mut()
    {
        let initiators = json!(settings.initiators);
        members.insert("allowed_refresh_initiators".to_owned(), initiators);
    }
    instructions.to_string()
}

use actix_session::{SessionExt, SessionStatus};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use sealed_session::Session;
use serde_json::Value;

/// Fills the session of actix-session from ours, and brings its changes back.
pub async fn as_actix_session(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
    let ours = request.extract::<Session>().await?;
    let theirs = request.get_session();
    for key in ours.keys() {
        // An entry that JSON cannot hold, such as bytes, stays in our session alone.
        if let Ok(value) = ours.get::<Value>(key.as_str()) {
            theirs.insert(&key, value)?;
        }
    }
    let before = theirs.entries().clone();

    let response = next.call(request).await?;

    match theirs.status() {
        SessionStatus::Purged => ours.destroy(),
        SessionStatus::Renewed => ours.log_in()?,
        SessionStatus::Changed | SessionStatus::Unchanged => {}
    }
    let after = theirs.entries();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        ours.remove(key.as_str());
    }
    for (key, json) in after.iter() {
        if before.get(key) != Some(json) {
            ours.insert(key.as_str(), serde_json::from_str::<Value>(json)?)?;
        }
    }
    Ok(response)
}

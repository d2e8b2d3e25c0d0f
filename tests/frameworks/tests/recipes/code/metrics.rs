use metrics::counter;
use sealed_session::{ConfigError, CookieStore, KeyRing};

pub fn store(keys: KeyRing) -> Result<CookieStore, ConfigError> {
    CookieStore::builder(keys)
        .on_event(|event| {
            let (event, reason) = (event.as_str(), event.reason().unwrap_or("none"));
            counter!("session_events_total", "event" => event, "reason" => reason).increment(1);
        })
        .build()
}

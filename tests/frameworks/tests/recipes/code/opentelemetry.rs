use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use sealed_session::{ConfigError, CookieStore, KeyRing};

pub fn store(keys: KeyRing, meter: &Meter) -> Result<CookieStore, ConfigError> {
    let events = meter.u64_counter("session.events").build();
    CookieStore::builder(keys)
        .on_event(move |event| {
            let reason = event.reason().unwrap_or("none");
            let labels = [("event", event.as_str()), ("reason", reason)];
            events.add(1, &labels.map(|(name, value)| KeyValue::new(name, value)));
        })
        .build()
}

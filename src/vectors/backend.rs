//! backend.json: what a backend sees of sessions.

use serde::Deserialize;

use super::{Hex, given, vectors};
use crate::envelope::{AppKey, Envelope, Hidden, KeyRing, Kind, Use};
use crate::record::SessionId;
use crate::server::StoreKey;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "comment")]
    _comment: serde::de::IgnoredAny,
    backend: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    why: String,
    app_key: Hex,
    cookie: String,
    context: String,
    id: Hex,
    subject: String,
    store_key: Hex,
    tag: Hex,
    sid: Option<String>,
    sid_tag: Option<Hex>,
}

#[test]
fn a_backend_sees_a_hash_of_the_id_and_macs_of_subject_and_sid() {
    let file: File = vectors!("backend.json");
    assert_eq!(file.backend.len(), 10);
    for vector in file.backend {
        let label = format!("{}: {}", vector.name, vector.why);
        let id = SessionId::random(&mut given([&*vector.id])).unwrap();
        assert_eq!(StoreKey::of(id).as_bytes(), &*vector.store_key, "{label}");
        let ring = KeyRing::new(AppKey::from_bytes(&vector.app_key).unwrap());
        let used_for = Use {
            kind: Kind::Store,
            name: vector.cookie,
            context: vector.context,
        };
        let envelope = Envelope::new(&ring, used_for);
        let hidden = |kind, name: &str| envelope.hidden_under_all(kind, name);
        assert_eq!(
            hidden(Hidden::Subject, &vector.subject),
            [&*vector.tag],
            "{label}"
        );
        if let (Some(sid), Some(tag)) = (&vector.sid, &vector.sid_tag) {
            assert_eq!(hidden(Hidden::Sid, sid), [&**tag], "{label}");
            assert_ne!(hidden(Hidden::Subject, sid), [&**tag], "{label}");
        }
    }
}

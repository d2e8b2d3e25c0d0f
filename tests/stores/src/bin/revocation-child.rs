//! Another process of a fleet, started by the tests: `revocation-child URL ID` ends a session, with
//! the key in `APP_KEY`.

use std::env;
use std::time::{Duration, SystemTime};

use sealed_session::server::Redis;
use sealed_session::{KeyRing, RevocableCookieStore, SessionId};
use sealed_session_stores::redis::patient;

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [url, id] = &*arguments else {
        panic!("a URL and an id are missing");
    };
    let ring = KeyRing::from_env().unwrap();
    let redis = patient(Redis::open(url.as_str()).unwrap());
    let store = RevocableCookieStore::builder(ring, redis).build().unwrap();
    let id = SessionId::from_hex(id).unwrap();
    let until = SystemTime::now() + Duration::from_secs(24 * 3600);
    store.revoke(id, until).await.unwrap();
}

//! A store in memory, awaited on a runtime.

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use sealed_session::AppKey;
use sealed_session::server::{Memory, MemoryStore};

#[tokio::test]
async fn a_session_comes_back_with_its_cookie() {
    let store = MemoryStore::new(AppKey::generate().unwrap(), Memory::new());
    let session = store.load(&HeaderMap::new()).await.unwrap();
    session.insert("user_id", 42).unwrap();
    let mut response = HeaderMap::new();
    store.save(&session, &mut response).await.unwrap();
    let mut request = HeaderMap::new();
    let cookie = response[SET_COOKIE].to_str().unwrap();
    request.insert(COOKIE, cookie.split(';').next().unwrap().parse().unwrap());
    let session = store.load(&request).await.unwrap();
    assert_eq!(session.get("user_id"), Ok(Some(42)));
}

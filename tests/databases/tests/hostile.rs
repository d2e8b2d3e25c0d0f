//! Stores of the tower-sessions ecosystem that misbehave.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use http::HeaderMap;
use sealed_session::server::{BackendErrorKind, ServerStore, TowerSessions};
use sealed_session::{AppKey, Origin, SaveError};
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{Error, Result};

/// Puts what it was given into its errors.
#[derive(Debug)]
struct Talkative(fn(String) -> Error);

#[async_trait]
impl SessionStore for Talkative {
    async fn create(&self, record: &mut Record) -> Result<()> {
        self.save(record).await
    }

    async fn save(&self, record: &Record) -> Result<()> {
        Err(self.0(format!("no room for {record:?}")))
    }

    async fn load(&self, _: &Id) -> Result<Option<Record>> {
        Ok(None)
    }

    async fn delete(&self, _: &Id) -> Result<()> {
        Ok(())
    }
}

async fn save_new<S: SessionStore>(
    store: &ServerStore<TowerSessions<S>>,
) -> std::result::Result<String, SaveError> {
    let session = store.load(&HeaderMap::new()).await.unwrap();
    session.insert("user", "ada").unwrap();
    let outgoing = store.respond(&session).await?;
    let cookie = outgoing.set_cookies().next().unwrap();
    Ok(cookie.split(';').next().unwrap().to_owned())
}

#[tokio::test]
async fn an_error_that_quotes_keys_and_values_is_not_repeated() {
    for (error, kind, message) in [
        (
            Error::Backend as fn(String) -> Error,
            BackendErrorKind::Unavailable,
            "the store failed, in words that quote a key or a value; see the database's own log",
        ),
        (
            Error::Encode,
            BackendErrorKind::Other,
            "the store cannot encode a session; use another of its encodings, such as MessagePack",
        ),
        (
            Error::Decode,
            BackendErrorKind::Other,
            "the store cannot decode a session; see that nothing else writes to its table",
        ),
        (
            |_| Error::Backend("connection refused".to_owned()),
            BackendErrorKind::Unavailable,
            "connection refused",
        ),
    ] {
        let backend = TowerSessions::new(Talkative(error));
        let store = ServerStore::new(AppKey::generate().unwrap(), backend);
        let error = save_new(&store).await.unwrap_err();
        let error = error.backend().unwrap();
        assert_eq!(
            (error.kind(), error.to_string()),
            (kind, message.to_owned())
        );
    }
}

/// Says of each new id that it is taken, as stores may, and creates another.
#[derive(Debug, Default)]
struct Crowded(Mutex<HashMap<Id, Record>>);

#[async_trait]
impl SessionStore for Crowded {
    async fn create(&self, record: &mut Record) -> Result<()> {
        record.id = Id::default();
        self.save(record).await
    }

    async fn save(&self, record: &Record) -> Result<()> {
        self.0.lock().unwrap().insert(record.id, record.clone());
        Ok(())
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        Ok(self.0.lock().unwrap().get(id).cloned())
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.0.lock().unwrap().remove(id);
        Ok(())
    }
}

#[tokio::test]
async fn a_session_is_kept_under_no_other_id_than_its_own() {
    let backend = TowerSessions::new(Crowded::default());
    let store = ServerStore::new(AppKey::generate().unwrap(), backend);
    let cookie = save_new(&store).await.unwrap();
    assert_eq!(store.backend().store().0.lock().unwrap().len(), 1);
    let session = store.load_from([&cookie]).await.unwrap();
    assert_eq!(session.origin(), Origin::Opened);
}

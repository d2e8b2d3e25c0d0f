//! Stores of the tower-sessions ecosystem that misbehave.

use std::sync::Mutex;

use async_trait::async_trait;
use http::HeaderMap;
use sealed_session::AppKey;
use sealed_session::server::{BackendErrorKind, ServerStore, TowerSessions};
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
) -> std::result::Result<(), sealed_session::SaveError> {
    let session = store.load(&HeaderMap::new()).await.unwrap();
    session.insert("user", "ada").unwrap();
    store.save(&session, &mut HeaderMap::new()).await
}

#[tokio::test]
async fn an_error_that_quotes_keys_and_values_is_not_repeated() {
    for (error, kind, message) in [
        (
            Error::Backend as fn(String) -> Error,
            BackendErrorKind::Unavailable,
            "the store failed, in words that quote a key or a value",
        ),
        (
            Error::Encode,
            BackendErrorKind::Other,
            "the store cannot encode a session",
        ),
        (
            Error::Decode,
            BackendErrorKind::Other,
            "the store cannot decode a session",
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

/// Says of each id that it is taken, as stores may, and creates another.
#[derive(Debug, Default)]
struct Crowded(Mutex<Vec<Id>>);

#[async_trait]
impl SessionStore for Crowded {
    async fn create(&self, record: &mut Record) -> Result<()> {
        record.id = Id::default();
        self.0.lock().unwrap().push(record.id);
        Ok(())
    }

    async fn save(&self, _: &Record) -> Result<()> {
        unreachable!("a new session is created");
    }

    async fn load(&self, _: &Id) -> Result<Option<Record>> {
        Ok(None)
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.0.lock().unwrap().retain(|created| created != id);
        Ok(())
    }
}

#[tokio::test]
async fn a_session_under_another_id_than_its_own_is_an_error_and_does_not_stay() {
    let backend = TowerSessions::new(Crowded::default());
    let store = ServerStore::new(AppKey::generate().unwrap(), backend);
    assert!(save_new(&store).await.is_err());
    assert!(store.backend().store().0.lock().unwrap().is_empty());
}

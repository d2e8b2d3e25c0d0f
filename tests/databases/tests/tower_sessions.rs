//! Sessions in databases that people already have: SQLite, PostgreSQL.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use sealed_session::server::conformance::Suite;
use sealed_session::server::{
    Backend, BackendErrorKind, Promise, ServerStore, StoreKey, TowerSessions,
};
use sealed_session::{AppKey, Origin, Refusal, Session};
use sealed_session_databases::Postgres;
use sha2::{Digest, Sha256};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use time::OffsetDateTime;
use tower_sessions_core::SessionStore;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_sqlx_store::{PostgresStore, SqliteStore};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

type Store<S> = ServerStore<TowerSessions<S>>;

fn store_over<S: SessionStore>(sessions: S) -> Store<S> {
    ServerStore::new(AppKey::generate().unwrap(), TowerSessions::new(sessions))
}

async fn sqlite(directory: &Path) -> SqliteStore {
    let file = SqliteConnectOptions::new().filename(directory.join("sessions.db"));
    let pool = SqlitePool::connect_with(file.create_if_missing(true));
    let store = SqliteStore::new(pool.await.unwrap());
    store.migrate().await.unwrap();
    store
}

async fn postgres(server: &Postgres) -> PostgresStore {
    let store = PostgresStore::new(server.pool());
    store.migrate().await.unwrap();
    store
}

/// Tells the same of each database.
macro_rules! in_both {
    ($($sentence:ident)*) => {
        mod in_sqlite {
            $(
                #[tokio::test]
                async fn $sentence() {
                    let directory = tempfile::TempDir::new().unwrap();
                    super::$sentence(super::sqlite(directory.path()).await).await;
                }
            )*
        }
        mod in_postgres {
            $(
                #[tokio::test]
                async fn $sentence() {
                    let server = super::Postgres::start();
                    super::$sentence(super::postgres(&server).await).await;
                }
            )*
        }
    };
}

in_both! {
    a_session_lives_from_its_login_to_its_logout
    the_last_writer_wins_and_a_session_that_was_destroyed_can_come_back
    what_has_expired_is_not_given_out
    a_touch_puts_the_expiry_off_and_makes_nothing
    what_such_a_store_cannot_do_is_an_error_of_its_own_kind
    values_are_bound_to_their_sessions
    it_promises_what_it_declares
}

/// A browser: one cookie.
#[derive(Clone, Default)]
struct Browser(HeaderMap);

impl Browser {
    async fn load<S: SessionStore>(&self, store: &Store<S>) -> Session {
        store.load(&self.0).await.unwrap()
    }

    async fn save<S: SessionStore>(&mut self, store: &Store<S>, session: &Session) {
        let mut answer = HeaderMap::new();
        store.save(session, &mut answer).await.unwrap();
        if let Some(cookie) = answer.get(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            self.0.insert(COOKIE, pair.parse().unwrap());
        }
    }

    /// One whose new session has a user.
    async fn logged_in<S: SessionStore>(store: &Store<S>, user: &str) -> Self {
        let mut browser = Self::default();
        let session = browser.load(store).await;
        session.insert("user", user).unwrap();
        browser.save(store, &session).await;
        browser
    }

    async fn user<S: SessionStore>(&self, store: &Store<S>) -> Option<String> {
        self.load(store).await.get("user").unwrap()
    }
}

async fn a_session_lives_from_its_login_to_its_logout<S: SessionStore>(sessions: S) {
    let store = store_over(sessions);
    let mut browser = Browser::logged_in(&store, "guest").await;
    let before = browser.clone();

    let session = browser.load(&store).await;
    session.insert("user", "ada").unwrap();
    session.renew();
    browser.save(&store, &session).await;
    assert_eq!(browser.user(&store).await.as_deref(), Some("ada"));
    let old = before.load(&store).await;
    assert_eq!(old.origin(), Origin::Refused(Refusal::Moved));

    let copy = browser.clone();
    let session = browser.load(&store).await;
    session.destroy();
    browser.save(&store, &session).await;
    assert_eq!(
        copy.load(&store).await.origin(),
        Origin::Refused(Refusal::Gone)
    );
}

/// Where the session of a browser is: its id's hash, folded.
async fn place_of<S: SessionStore>(browser: &Browser, store: &Store<S>) -> Id {
    let id = browser.load(store).await.id().unwrap();
    let hash = Sha256::new_with_prefix("sealed-session/v1/id").chain_update(id.as_bytes());
    let hash = hash.finalize();
    let (first, second) = hash.split_at(16);
    let folded: Vec<u8> = first.iter().zip(second).map(|(a, b)| a ^ b).collect();
    Id(i128::from_be_bytes(folded.try_into().unwrap()))
}

/// As it is documented: what would be a defect in a backend that promises more.
async fn the_last_writer_wins_and_a_session_that_was_destroyed_can_come_back<S: SessionStore>(
    sessions: S,
) {
    assert_eq!(TowerSessions::<S>::PROMISE, Promise::Upsert);
    let store = store_over(sessions);
    let mut browser = Browser::logged_in(&store, "ada").await;

    let (slow, fast) = (browser.load(&store).await, browser.load(&store).await);
    fast.insert("theme", "dark").unwrap();
    browser.save(&store, &fast).await;
    slow.insert("cart", "tea").unwrap();
    browser.save(&store, &slow).await;
    assert_eq!(browser.load(&store).await.keys(), ["cart", "user"]);

    let copy = browser.clone();
    let (slow, fast) = (browser.load(&store).await, browser.load(&store).await);
    fast.destroy();
    browser.save(&store, &fast).await;
    assert_eq!(copy.user(&store).await, None);
    slow.insert("cart", "toast").unwrap();
    browser.save(&store, &slow).await;
    assert_eq!(copy.user(&store).await.as_deref(), Some("ada"));
}

async fn it_promises_what_it_declares<S: SessionStore>(sessions: S) {
    let backend = TowerSessions::new(sessions);
    let suite = Suite::new(&backend, tokio::time::sleep);
    assert_eq!(suite.check().await, Ok(()));
}

/// A key, and the record that is under it.
fn record(expiry_date: OffsetDateTime) -> (StoreKey, Record) {
    let mut key = [0; 32];
    key[15] = 5;
    key[31] = 3;
    let id = Id(6);
    let data = [("sealed".to_owned(), "AQ".into())].into();
    let record = Record {
        id,
        data,
        expiry_date,
    };
    (StoreKey::from_bytes(key), record)
}

async fn what_has_expired_is_not_given_out<S: SessionStore>(sessions: S) {
    let backend = TowerSessions::new(sessions);
    let (key, mut kept) = record(OffsetDateTime::now_utc() + HOUR);
    backend.store().create(&mut kept).await.unwrap();
    let found = backend.load(&key).await.unwrap().unwrap();
    assert_eq!(found.value.as_str(), "AQ");
    assert!(found.ttl <= HOUR && found.ttl > 50 * MINUTE);

    kept.expiry_date = OffsetDateTime::now_utc();
    backend.store().save(&kept).await.unwrap();
    assert!(backend.load(&key).await.unwrap().is_none());
    backend.touch(&key, MINUTE).await.unwrap();
    assert!(backend.load(&key).await.unwrap().is_none());
}

async fn a_touch_puts_the_expiry_off_and_makes_nothing<S: SessionStore>(sessions: S) {
    let backend = TowerSessions::new(sessions);
    let (key, mut kept) = record(OffsetDateTime::now_utc() + MINUTE);
    backend.touch(&key, HOUR).await.unwrap();
    assert!(backend.load(&key).await.unwrap().is_none());

    backend.store().create(&mut kept).await.unwrap();
    backend.touch(&key, HOUR).await.unwrap();
    let found = backend.load(&key).await.unwrap().unwrap();
    assert!(found.ttl > 50 * MINUTE, "{:?}", found.ttl);
    assert_eq!(found.value.as_str(), "AQ");

    // Longer than any calendar that a database has.
    backend.touch(&key, Duration::MAX).await.unwrap();
    assert!(backend.load(&key).await.unwrap().unwrap().ttl > HOUR);
    backend.remove(&key).await.unwrap();
    assert!(backend.load(&key).await.unwrap().is_none());
}

async fn what_such_a_store_cannot_do_is_an_error_of_its_own_kind<S: SessionStore>(sessions: S) {
    let store = store_over(sessions);
    let subject = store.end_all_of("ada").await.unwrap_err();
    let all = store.retain(|_| false).await.unwrap_err();
    for error in [subject, all] {
        assert_eq!(error.kind(), BackendErrorKind::Unsupported);
    }
}

async fn values_are_bound_to_their_sessions<S: SessionStore>(sessions: S) {
    let store = store_over(sessions);
    let ada = Browser::logged_in(&store, "ada").await;
    let eve = Browser::logged_in(&store, "eve").await;
    let sessions = store.backend().store();
    let (ada_at, eve_at) = (place_of(&ada, &store).await, place_of(&eve, &store).await);
    let stolen = sessions.load(&ada_at).await.unwrap().unwrap();
    let planted = Record {
        id: eve_at,
        ..stolen
    };
    sessions.save(&planted).await.unwrap();
    let refused = eve.load(&store).await;
    assert_eq!(refused.origin(), Origin::Refused(Refusal::Swapped));

    for data in [[].into(), [("sealed".to_owned(), 7.into())].into()] {
        let planted = Record {
            data,
            ..planted.clone()
        };
        sessions.save(&planted).await.unwrap();
        let refused = eve.load(&store).await;
        assert_eq!(refused.origin(), Origin::Refused(Refusal::BadValue));
    }
}

#[tokio::test]
async fn a_dump_logs_nobody_in_and_shows_nothing() {
    let server = Postgres::start();
    let store = store_over(postgres(&server).await);
    let browser = Browser::logged_in(&store, "ada@example.com").await;
    let place = place_of(&browser, &store).await.to_string();
    let rows = sqlx::query_as("select id, data from tower_sessions.session");
    let rows: Vec<(String, Vec<u8>)> = rows.fetch_all(&server.pool()).await.unwrap();
    let [(id, data)] = rows.as_slice() else {
        panic!("one session, and {} rows", rows.len());
    };
    assert_eq!(*id, place);
    let holds = |text: &[u8]| data.windows(text.len()).any(|window| window == text);
    assert!(holds(b"sealed"), "the name of the entry shows");
    assert!(!holds(b"ada@example.com"));
    assert!(!holds(browser.load(&store).await.id().unwrap().as_bytes()));

    // The sealed value is no cookie.
    let sealed = store.backend().store().load(&id.parse().unwrap()).await;
    let sealed = sealed.unwrap().unwrap().data["sealed"].clone();
    let forged = format!("__Host-session={}", sealed.as_str().unwrap());
    let session = store.load_from([&forged]).await.unwrap();
    assert_eq!(session.origin(), Origin::Refused(Refusal::Forged));
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_and_back_again_without_any_help() {
    let mut server = Postgres::start();
    let sessions = postgres(&server).await;
    let key = AppKey::generate().unwrap();
    let store = ServerStore::new(key.clone(), TowerSessions::new(sessions.clone()));
    let open = ServerStore::builder(key, TowerSessions::new(sessions)).empty_if_unavailable();
    let open = open.build().unwrap();
    let mut browser = Browser::logged_in(&store, "ada").await;
    let changed = browser.load(&store).await;
    changed.insert("cart", "tea").unwrap();

    server.stop();
    let error = store.load(&browser.0).await.unwrap_err();
    assert_eq!(
        error.backend().unwrap().kind(),
        BackendErrorKind::Unavailable
    );
    let mut answer = HeaderMap::new();
    let error = store.save(&changed, &mut answer).await.unwrap_err();
    assert_eq!(
        error.backend().unwrap().kind(),
        BackendErrorKind::Unavailable
    );
    assert!(answer.is_empty());
    let guest = browser.load(&open).await;
    assert_eq!(guest.origin(), Origin::Refused(Refusal::Unavailable));
    guest.insert("cart", "toast").unwrap();
    assert!(open.save(&guest, &mut answer).await.is_err());

    server.start_again();
    browser.save(&store, &changed).await;
    assert_eq!(browser.load(&store).await.keys(), ["cart", "user"]);
}

#[tokio::test]
async fn a_client_that_goes_away_breaks_no_write_off() {
    const CLIENTS: i64 = 200;
    let server = Postgres::start();
    let store = store_over(postgres(&server).await);
    for client in 0..CLIENTS {
        let session = Browser::default().load(&store).await;
        session.insert("user", "ada").unwrap();
        let mut answer = HeaderMap::new();
        let mut save = pin!(store.save(&session, &mut answer));
        let mut polls = 1 + client % 8;
        poll_fn(|context| {
            polls -= 1;
            match save.as_mut().poll(context) {
                Poll::Pending if polls > 0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
        .await;
    }
    let pool = server.pool();
    let all_are_there = async {
        let mut there = 0;
        while there < CLIENTS {
            tokio::task::yield_now().await;
            let rows = sqlx::query_scalar("select count(*) from tower_sessions.session");
            there = rows.fetch_one(&pool).await.unwrap();
        }
    };
    let patience = 5 * MINUTE;
    let waited = tokio::time::timeout(patience, all_are_there).await;
    waited.expect("all sessions, in five minutes");
}

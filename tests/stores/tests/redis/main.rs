//! `RedisStore` on real servers.

mod bad_days;
mod cluster;
mod meetings;
mod promises;
mod size;
mod trips;

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Cmd, FromRedisValue};
use sealed_session::server::{Backend, Redis, ServerStore};
use sealed_session::{AppKey, LoadError, RedisStore, SaveError, Session};
use sealed_session_stores::redis::{Server, patient};

/// Where the server's store keeps its sessions when nothing else is said.
const PREFIX: &str = "session:";

fn redis(server: &Server) -> Redis {
    patient(Redis::open(server.url()).unwrap())
}

fn store(server: &Server) -> RedisStore {
    RedisStore::new(AppKey::generate().unwrap(), redis(server))
}

/// What a browser keeps between its requests.
#[derive(Clone, Default)]
struct Visitor {
    cookie: Option<String>,
}

impl Visitor {
    async fn load<B: Backend>(&self, store: &ServerStore<B>) -> Result<Session, LoadError> {
        let mut request = HeaderMap::new();
        if let Some(cookie) = &self.cookie {
            request.insert(COOKIE, cookie.parse().unwrap());
        }
        store.load(&request).await
    }

    async fn save<B: Backend>(
        &mut self,
        store: &ServerStore<B>,
        session: &Session,
    ) -> Result<Answer, SaveError> {
        let mut response = HeaderMap::new();
        store.save(session, &mut response).await?;
        let Some(set_cookie) = response.get(SET_COOKIE) else {
            return Ok(Answer::Nothing);
        };
        let set_cookie = set_cookie.to_str().unwrap();
        if set_cookie.contains("Max-Age=0") {
            self.cookie = None;
            return Ok(Answer::Removal);
        }
        self.cookie = set_cookie.split(';').next().map(str::to_owned);
        Ok(Answer::Cookie)
    }

    /// A whole request.
    async fn visit<B: Backend>(
        &mut self,
        store: &ServerStore<B>,
        change: impl FnOnce(&Session),
    ) -> Answer {
        let session = self.load(store).await.unwrap();
        change(&session);
        self.save(store, &session).await.unwrap()
    }

    /// One who has logged in as `subject`.
    async fn of<B: Backend>(store: &ServerStore<B>, subject: &str) -> Self {
        let mut visitor = Self::default();
        let log_in = |session: &Session| {
            session.set_subject(subject).unwrap();
            session.insert("name", subject).unwrap();
        };
        assert_eq!(visitor.visit(store, log_in).await, Answer::Cookie);
        visitor
    }

    async fn get<B: Backend>(&self, store: &ServerStore<B>, key: &str) -> Option<String> {
        let session = self.load(store).await.unwrap();
        session.get::<String>(key).unwrap()
    }
}

/// What a response does to the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    Cookie,
    Removal,
}

async fn ask<T: FromRedisValue>(connection: &mut MultiplexedConnection, words: &[&str]) -> T {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query_async(connection).await.unwrap()
}

/// The names of all records, which are not those of subjects' indexes.
async fn records(connection: &mut MultiplexedConnection) -> Vec<String> {
    let keys: Vec<String> = connection.keys(format!("{PREFIX}*")).await.unwrap();
    let is_record = |key: &String| !key.contains("subject:");
    keys.into_iter().filter(is_record).collect()
}

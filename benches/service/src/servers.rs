//! The servers: the same application with the session library that the name says, on one thread.

use std::net::TcpListener;

use actix_session::SessionMiddleware;
use actix_session::storage::RedisSessionStore;
use actix_web::{App, HttpResponse, HttpServer, Responder, web};
use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use sealed_session::server::Redis;
use sealed_session::{AppKey, CookieStore, RedisStore, SessionLayer};
use tower_sessions::SessionManagerLayer;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};

use crate::Failure;

pub(crate) const BARE_AXUM: &str = "bare axum";
pub(crate) const BARE_ACTIX: &str = "bare actix-web";
pub(crate) const OURS_ON_AXUM: &str = "sealed-session, cookie, axum";
const OURS_ON_ACTIX: &str = "sealed-session, cookie, actix-web";
const OUR_REDIS_ON_AXUM: &str = "sealed-session, Redis, axum";
const OUR_REDIS_ON_ACTIX: &str = "sealed-session, Redis, actix-web";
const TOWER_SESSIONS: &str = "tower-sessions, Redis, axum";
const ACTIX_SESSION: &str = "actix-session, Redis, actix-web";

pub(crate) const NAMES: [&str; 8] = [
    BARE_AXUM,
    OURS_ON_AXUM,
    OUR_REDIS_ON_AXUM,
    TOWER_SESSIONS,
    BARE_ACTIX,
    OURS_ON_ACTIX,
    OUR_REDIS_ON_ACTIX,
    ACTIX_SESSION,
];

/// The visitor that every session is of.
const USER: u64 = 48_213;

const TEXTS: [(&str, &str); 4] = [
    ("name", "Ada Lovelace"),
    ("email", "ada.lovelace@example.com"),
    ("role", "editor"),
    ("csrf", "Jx3nO1vYc8Qe5Tz0WbKp7RmUaS2dLfGh"),
];

/// Serves until it is killed. Prints its port first.
pub(crate) fn serve(name: &str, redis: &str) -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    if name.ends_with("actix-web") {
        return actix_web::rt::System::new().block_on(on_actix(name, redis, listener));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(on_axum(name, redis, listener))
}

/// The handlers on a session whose methods return a result, or a future of one.
macro_rules! axum_routes {
    ($session:ty, $($wait:tt)*) => {{
        let start = async |Path(size): Path<usize>, session: $session| {
            session.insert("user_id", USER)$($wait)*.unwrap();
            session.insert("cart", 3)$($wait)*.unwrap();
            for (key, text) in TEXTS {
                session.insert(key, text)$($wait)*.unwrap();
            }
            if size > 0 {
                session.insert("text", text(size))$($wait)*.unwrap();
            }
        };
        let read = async |session: $session| {
            assert_eq!(session.get::<u64>("user_id")$($wait)*.unwrap(), Some(USER));
            StatusCode::OK
        };
        let write = async |session: $session| {
            let cart: u32 = session.get("cart")$($wait)*.unwrap().unwrap();
            session.insert("cart", cart ^ 1)$($wait)*.unwrap();
            StatusCode::OK
        };
        Router::new()
            .route("/start/{size}", get(start))
            .route("/untouched", get(async || StatusCode::OK))
            .route("/read", get(read))
            .route("/write", get(write))
    }};
}

fn text(size: usize) -> String {
    ('a'..='z').cycle().take(size).collect()
}

async fn on_axum(name: &str, redis: &str, listener: TcpListener) -> Result<(), Failure> {
    let ours = || axum_routes!(sealed_session::Session,);
    let router = match name {
        BARE_AXUM => Router::new().route("/untouched", get(async || StatusCode::OK)),
        OURS_ON_AXUM => ours().layer(SessionLayer::new(CookieStore::new(AppKey::generate()?))),
        OUR_REDIS_ON_AXUM => {
            let store = RedisStore::new(AppKey::generate()?, Redis::open(redis)?);
            ours().layer(SessionLayer::new(store))
        }
        TOWER_SESSIONS => {
            let pool = Pool::new(Config::from_url(redis)?, None, None, None, 1)?;
            pool.init().await?;
            let store = tower_sessions_redis_store::RedisStore::new(pool);
            axum_routes!(tower_sessions::Session, .await).layer(SessionManagerLayer::new(store))
        }
        _ => return Err("no such server".into()),
    };
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(axum::serve(listener, router).await?)
}

/// The same handlers for a session of actix-session's or of ours.
macro_rules! actix_routes {
    ($session:ty) => {{
        let start = |size: web::Path<usize>, session: $session| async move {
            session.insert("user_id", USER).unwrap();
            session.insert("cart", 3).unwrap();
            for (key, text) in TEXTS {
                session.insert(key, text).unwrap();
            }
            if *size > 0 {
                session.insert("text", text(*size)).unwrap();
            }
            HttpResponse::Ok().finish()
        };
        let read = |session: $session| async move {
            assert_eq!(session.get::<u64>("user_id").unwrap(), Some(USER));
            HttpResponse::Ok().finish()
        };
        let write = |session: $session| async move {
            let cart: u32 = session.get("cart").unwrap().unwrap();
            session.insert("cart", cart ^ 1).unwrap();
            HttpResponse::Ok().finish()
        };
        App::new()
            .route("/start/{size}", web::get().to(start))
            .route("/untouched", web::get().to(untouched))
            .route("/read", web::get().to(read))
            .route("/write", web::get().to(write))
    }};
}

async fn untouched() -> impl Responder {
    HttpResponse::Ok().finish()
}

async fn on_actix(name: &str, redis: &str, listener: TcpListener) -> Result<(), Failure> {
    /// Each application has another type.
    macro_rules! run {
        ($app:expr) => {
            HttpServer::new(move || $app)
                .workers(1)
                .listen(listener)?
                .run()
                .await?
        };
    }
    match name {
        BARE_ACTIX => run!(App::new().route("/untouched", web::get().to(untouched))),
        OURS_ON_ACTIX => {
            let store = CookieStore::new(AppKey::generate()?);
            run!(actix_routes!(sealed_session::Session).wrap(SessionLayer::new(store.clone())))
        }
        OUR_REDIS_ON_ACTIX => {
            let store = RedisStore::new(AppKey::generate()?, Redis::open(redis)?);
            run!(actix_routes!(sealed_session::Session).wrap(SessionLayer::new(store.clone())))
        }
        ACTIX_SESSION => {
            let store = RedisSessionStore::new(redis)
                .await
                .map_err(|error| error.to_string())?;
            let key = actix_web::cookie::Key::generate();
            run!(
                actix_routes!(actix_session::Session)
                    .wrap(SessionMiddleware::new(store.clone(), key.clone()))
            )
        }
        _ => return Err("no such server".into()),
    }
    Ok(())
}

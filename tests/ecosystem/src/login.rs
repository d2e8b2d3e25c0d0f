//! Users in SQLite who log in, messages about that, and pages that need a permission, as in the
//! examples of axum-login.

use std::collections::HashSet;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Form, Router};
use axum_login::{
    AuthUser, AuthnBackend, AuthzBackend, UserId, login_required, permission_required,
};
use axum_messages::{Messages, MessagesManagerLayer};
use serde::Deserialize;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

#[derive(Clone, Debug)]
pub struct User {
    id: i64,
    name: String,
    password: String,
}

impl AuthUser for User {
    type Id = i64;

    fn id(&self) -> i64 {
        self.id
    }

    /// A session ends with the password that it was opened with.
    fn session_auth_hash(&self) -> &[u8] {
        self.password.as_bytes()
    }
}

#[derive(Clone, Deserialize)]
pub struct Credentials {
    name: String,
    password: String,
    next: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Users {
    database: SqlitePool,
}

impl Users {
    /// A database in memory: alice may read what is restricted, bob may not.
    pub async fn new() -> sqlx::Result<Self> {
        let one = SqlitePoolOptions::new().max_connections(1);
        let database = one.connect("sqlite::memory:").await?;
        for statement in [
            "create table users (id integer primary key, name text, password text)",
            "create table permissions (user_id integer, name text)",
            "insert into users values (1, 'alice', 'wonderland'), (2, 'bob', 'builder')",
            "insert into permissions values (1, 'restricted.read')",
        ] {
            sqlx::query(statement).execute(&database).await?;
        }
        Ok(Self { database })
    }

    pub async fn set_password(&self, name: &str, password: &str) -> sqlx::Result<()> {
        let query = sqlx::query("update users set password = ? where name = ?");
        query
            .bind(password)
            .bind(name)
            .execute(&self.database)
            .await?;
        Ok(())
    }

    async fn find(&self, clause: &str, value: impl Into<String>) -> sqlx::Result<Option<User>> {
        let query = format!("select id, name, password from users where {clause} = ?");
        let row: Option<(i64, String, String)> = sqlx::query_as(&query)
            .bind(value.into())
            .fetch_optional(&self.database)
            .await?;
        Ok(row.map(|(id, name, password)| User { id, name, password }))
    }
}

impl AuthnBackend for Users {
    type User = User;
    type Credentials = Credentials;
    type Error = sqlx::Error;

    async fn authenticate(&self, given: Credentials) -> sqlx::Result<Option<User>> {
        let user = self.find("name", given.name).await?;
        Ok(user.filter(|user| user.password == given.password))
    }

    async fn get_user(&self, id: &UserId<Self>) -> sqlx::Result<Option<User>> {
        self.find("cast(id as text)", id.to_string()).await
    }
}

impl AuthzBackend for Users {
    type Permission = String;

    async fn get_user_permissions(&self, user: &User) -> sqlx::Result<HashSet<String>> {
        let query = sqlx::query_as("select name from permissions where user_id = ?");
        let rows: Vec<(String,)> = query.bind(user.id).fetch_all(&self.database).await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }
}

type AuthSession = axum_login::AuthSession<Users>;

/// The routes and the layer for messages. What is around them is the caller's: axum-login's layer,
/// and a session layer.
pub fn app() -> Router {
    let restricted = Router::new()
        .route("/restricted", get(|| async { "secret" }))
        .route_layer(permission_required!(
            Users,
            login_url = "/login",
            "restricted.read"
        ));
    let protected = Router::new()
        .route("/", get(greet))
        .route_layer(login_required!(Users, login_url = "/login"));
    Router::new()
        .merge(restricted)
        .merge(protected)
        .route("/login", get(login_page).post(log_in))
        .route("/logout", get(log_out))
        .layer(MessagesManagerLayer)
}

fn lines(messages: Messages) -> String {
    let lines: Vec<_> = messages.into_iter().map(|it| it.to_string()).collect();
    lines.join("\n")
}

async fn greet(auth: AuthSession, messages: Messages) -> Response {
    match auth.user {
        Some(user) => format!("{}\nhello {}", lines(messages), user.name).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[derive(Deserialize)]
struct NextPage {
    next: Option<String>,
}

async fn login_page(messages: Messages, Query(NextPage { next }): Query<NextPage>) -> String {
    format!(
        "{}\nlog in for {}",
        lines(messages),
        next.unwrap_or_default()
    )
}

async fn log_in(
    mut auth: AuthSession,
    messages: Messages,
    Form(given): Form<Credentials>,
) -> Response {
    let user = match auth.authenticate(given.clone()).await {
        Ok(Some(user)) => user,
        Ok(None) => {
            messages.error("Invalid credentials");
            let next = given.next.map(|next| format!("?next={next}"));
            return Redirect::to(&format!("/login{}", next.unwrap_or_default())).into_response();
        }
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    if auth.login(&user).await.is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    messages.success(format!("Welcome, {}", user.name));
    Redirect::to(given.next.as_deref().unwrap_or("/")).into_response()
}

async fn log_out(mut auth: AuthSession) -> Response {
    match auth.logout().await {
        Ok(_) => Redirect::to("/login").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

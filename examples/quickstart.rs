//! A session from its key to its deadline, with nothing but the default features:
//! `cargo run --example quickstart`. What it says, it has checked.

#![expect(clippy::print_stdout, reason = "this program is there to talk")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use http::header::{COOKIE, HeaderMap, SET_COOKIE};
use sealed_session::{AppKey, CookieStore, KeyRing, Origin, Refusal, Token};
use serde::{Deserialize, Serialize};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HOUR: Duration = Duration::from_secs(3600);

/// Whatever serde serializes can be a value of a session.
#[derive(Serialize, Deserialize)]
struct Basket {
    articles: Vec<String>,
    cents: u64,
}

/// A handler, as in any framework: request headers in, response headers out.
fn log_in(store: &CookieStore, request: &HeaderMap) -> Result<HeaderMap> {
    let session = store.load(request);
    session.log_in()?; // at every login: an id that nobody can have prepared for her
    session.insert("user_id", 42)?;
    session.insert("name", "Ada")?;
    let articles = vec!["teapot".to_owned(), "quince jam".to_owned()];
    let cents = 2930;
    session.insert("basket", Basket { articles, cents })?;

    let mut response = HeaderMap::new();
    store.save(&session, &mut response)?;
    Ok(response)
}

/// Another, which only reads.
fn greet(store: &CookieStore, request: &HeaderMap) -> Result<(String, HeaderMap)> {
    let session = store.load(request); // never fails: at worst it is empty
    let name: Option<String> = session.get("name")?;
    let body = format!("hello, {}", name.as_deref().unwrap_or("stranger"));

    let mut response = HeaderMap::new();
    store.save(&session, &mut response)?; // writes a Set-Cookie only if one is due
    Ok((body, response))
}

fn main() -> Result<()> {
    println!("1. A key");
    let key = AppKey::generate()?; // in a service: KeyRing::from_env()?
    let key_id = key.id();
    println!("   32 random bytes that stay in this program. Its id, no secret: {key_id}.");

    // The clock is here only so that a day can pass at once.
    let (start, hours) = (SystemTime::now(), Arc::new(AtomicU32::new(0)));
    let passed = Arc::clone(&hours);
    let clock = move || start + HOUR * passed.load(Ordering::Relaxed);
    let store = CookieStore::builder(key.clone()).clock(clock).build()?;

    println!("\n2. Ada logs in and puts two things into her basket. The response carries\n");
    let response = log_in(&store, &HeaderMap::new())?;
    let set_cookie = set_cookie_in(&response)?;
    println!("   Set-Cookie: {set_cookie}\n");
    let cookie = kept_by_browser(set_cookie);
    let (sealed, size) = (token(cookie)?.plaintext_len(), cookie.len() - "=".len());
    println!("   All that her browser can tell of it: the key's id, and {sealed} bytes sealed.");
    println!("   Name and value are {size} bytes long; browsers keep up to 4096.");

    println!("\n3. She comes back");
    let request = request_with(cookie)?;
    let ada = store.load(&request);
    let user_id: u64 = ada.get("user_id")?.ok_or("no user_id")?;
    let Basket { articles, cents } = ada.get("basket")?.ok_or("no basket")?;
    let articles = articles.join(" and ");
    println!("   User {user_id} has {articles} in her basket, for {cents} cents.");
    let (body, response) = greet(&store, &request)?;
    assert!(!response.contains_key(SET_COOKIE));
    println!("   \"{body}\". Nothing has changed, so no cookie is sent.");

    println!("\n4. Somebody flips one bit of the cookie");
    let altered = request_with(&with_a_bit_flipped(cookie)?)?;
    let (body, response) = greet(&store, &altered)?;
    assert_eq!((body.clone(), response), greet(&store, &HeaderMap::new())?);
    println!("   The client learns nothing: \"{body}\", as if there were no cookie.");
    let why = refusal(&store, &altered)?;
    println!("   The operator learns why: {why}.");

    println!("\n5. An hour later the key is rotated, and Ada comes back");
    hours.store(1, Ordering::Relaxed);
    let new_key = AppKey::generate()?;
    let new_id = new_key.id();
    store.replace_keys(KeyRing::new(new_key).accept(key)?);
    let (body, response) = greet(&store, &request)?;
    let set_cookie_again = set_cookie_in(&response)?;
    let resealed = kept_by_browser(set_cookie_again);
    let same = store.load(&request_with(resealed)?);
    println!("   \"{body}\", and the response carries her session, sealed anew:");
    assert_eq!(token(resealed)?.key_id(), new_id);
    println!("   key   {new_id}, before {key_id}");
    let id = same.id().ok_or("no id")?;
    assert_eq!(Some(id), ada.id());
    println!("   id    {id}, as before");
    assert_eq!(resealed.len(), cookie.len());
    println!("   size  {size} bytes, as before");
    assert_eq!(same.expires_at(), ada.expires_at());
    let (before, now) = (max_age(set_cookie), max_age(set_cookie_again));
    println!("   end   {now}, an hour ago {before}: the same moment");

    println!("\n6. The day is over, and somebody sends a copy of her cookie");
    hours.store(24, Ordering::Relaxed);
    let replay = request_with(resealed)?;
    let (body, _) = greet(&store, &replay)?;
    let why = refusal(&store, &replay)?;
    println!("   \"{body}\". The operator learns why: {why}.");
    Ok(())
}

fn set_cookie_in(response: &HeaderMap) -> Result<&str> {
    let header = response.get(SET_COOKIE).ok_or("no cookie was set")?;
    Ok(header.to_str()?)
}

/// What a browser keeps of a Set-Cookie and sends back: `name=value`.
fn kept_by_browser(set_cookie: &str) -> &str {
    set_cookie.split(';').next().unwrap_or_default()
}

fn max_age(set_cookie: &str) -> &str {
    set_cookie.rsplit("; ").next().unwrap_or_default()
}

/// The headers of a request that has this cookie among others.
fn request_with(cookie: &str) -> Result<HeaderMap> {
    let cookies = format!("theme=dark; {cookie}; consent=no");
    Ok(HeaderMap::from_iter([(COOKIE, cookies.parse()?)]))
}

/// What can be told of a cookie without any key.
fn token(cookie: &str) -> Result<Token> {
    let (_, value) = cookie.split_once('=').ok_or("no value")?;
    Ok(Token::parse(value)?)
}

/// Why a cookie did not open: for logs and metrics, never for the client.
fn refusal(store: &CookieStore, request: &HeaderMap) -> Result<Refusal> {
    match store.load(request).origin() {
        Origin::Refused(reason) => Ok(reason),
        origin => Err(format!("it should be refused and is {origin:?}").into()),
    }
}

/// Exchanges the digit in the middle for the one that has another last bit.
fn with_a_bit_flipped(cookie: &str) -> Result<String> {
    const BASE64URL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (left, right) = cookie.split_at(cookie.len() / 2);
    let mut right = right.chars();
    let digit = right.next().and_then(|digit| BASE64URL.find(digit));
    let other = BASE64URL.chars().nth(digit.ok_or("no base64url")? ^ 1);
    let other = other.ok_or("no such digit")?;
    Ok(format!("{left}{other}{}", right.as_str()))
}

//! The small shop that all examples serve. Its rules are functions over a [`Session`] and know
//! no framework; a page is text, and what a form leads to is the path of the next page.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use sealed_session::{ErrorKind, Field, Session, SessionError};
use serde::Deserialize;

const USER: Field<String> = Field::new("user");
const CART: Field<Vec<String>> = Field::new("cart");
const NOTICE: Field<String> = Field::new("notice");
/// A guest has asked for the profile, and gets it after the login.
const WANTED: Field<bool> = Field::new("profile_wanted");

/// The page that everybody may see and that asks for no session.
pub const FRONT: &str = include_str!("front.html");

/// What the login form sends.
#[derive(Debug, Deserialize)]
pub struct LogIn {
    pub name: String,
}

/// What the cart's form sends.
#[derive(Debug, Deserialize)]
pub struct Add {
    pub item: String,
}

/// The visitor's name, and the message that the last form has left for this page.
///
/// # Errors
///
/// [`Problem::Guest`]; the page is remembered for after the login.
pub fn profile(session: &Session) -> Result<String, Problem> {
    let Some(user) = session.get(USER)? else {
        session.insert(WANTED, true)?;
        return Err(Problem::Guest);
    };
    let notice = session.take_flash(NOTICE)?.unwrap_or_default();
    Ok(format!("You are {user}.\n{notice}"))
}

/// Logs in whoever has a name, and says which page is next.
///
/// # Errors
///
/// [`Problem::NoName`]; [`Problem::TooLarge`] when the cookie has no room for it. The visitor is
/// a guest then, as before.
pub fn log_in(session: &Session, name: &str) -> Result<&'static str, Problem> {
    let name = name.trim();
    if name.is_empty() {
        return Err(Problem::NoName);
    }
    session.flash(NOTICE, format!("Welcome, {name}!"))?;
    session.insert(USER, name.to_owned())?;
    // A new id for somebody with new rights: one that was planted before is worthless.
    session.log_in()?;
    let wanted = session.take(WANTED)?;
    Ok(if wanted.is_some() { "/profile" } else { "/" })
}

/// The cart's items, one in each line. Guests have a cart too.
///
/// # Errors
///
/// If the session holds no cart under the cart's name.
pub fn cart(session: &Session) -> Result<String, Problem> {
    let items = session.get(CART)?.unwrap_or_default();
    Ok(items.iter().map(|item| format!("{item}\n")).collect())
}

/// Puts an item into the cart, and says which page is next.
///
/// # Errors
///
/// [`Problem::TooLarge`] when the cart no longer fits the cookie; it is as it was.
pub fn add_to_cart(session: &Session, item: &str) -> Result<&'static str, Problem> {
    session.update(CART, |items| {
        let mut items = items.unwrap_or_default();
        items.push(item.to_owned());
        items
    })?;
    Ok("/cart")
}

/// Ends the session, and says which page is next.
pub fn log_out(session: &Session) -> &'static str {
    session.destroy();
    "/"
}

/// Why a page is not shown, in words for the visitor.
#[derive(Debug)]
pub enum Problem {
    Guest,
    NoName,
    TooLarge(SessionError),
    /// Nothing that the visitor could mend.
    Session(SessionError),
}

impl Problem {
    /// The answer's HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Guest => 401,
            Self::NoName => 400,
            Self::TooLarge(_) => 409,
            Self::Session(_) => 500,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest => f.write_str("please log in first"),
            Self::NoName => f.write_str("a name is needed"),
            Self::TooLarge(error) => write!(f, "there is no room for it: {error}"),
            Self::Session(_) => f.write_str("something went wrong"),
        }
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Session(error) => Some(error),
            Self::Guest | Self::NoName | Self::TooLarge(_) => None,
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error.kind() {
            ErrorKind::TooLarge => Self::TooLarge(error),
            _ => Self::Session(error),
        }
    }
}

/// The port to listen on: the program's first argument, 0 for any free one, 3000 if there is none.
///
/// # Errors
///
/// If the argument is no port.
pub fn port() -> io::Result<u16> {
    let Some(argument) = std::env::args().nth(1) else {
        return Ok(3000);
    };
    argument
        .parse()
        .map_err(|_| io::Error::other("the argument is a port, 0 for any free one"))
}

/// Tells where the shop is. `localhost`, not 127.0.0.1: browsers take Secure cookies over plain
/// http only from there.
pub fn announce(port: u16) {
    println!("http://localhost:{port}/");
}

/// Listens on loopback, ready for an asynchronous runtime, and announces the address.
///
/// # Errors
///
/// If the argument is no port or the port is taken.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port()?))?;
    listener.set_nonblocking(true)?;
    announce(listener.local_addr()?.port());
    Ok(listener)
}

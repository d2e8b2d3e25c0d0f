//! Starts an example, visits it over HTTP with a cookie jar, and tells the story that all
//! examples have in common.
//!
//! The jar keeps Domain, Path, Max-Age, Expires and Secure. It takes and sends Secure cookies
//! over plain http from and to `localhost`, as browsers do (a loopback host is a trustworthy
//! origin), so that the examples run with the cookie that they have in production. It knows
//! nothing of the prefix `__Host-`; the story asserts what that demands.

pub mod devices;
mod story;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use cookie::Cookie;
use sealed_session::server::conformance::{Call, Spy};
use sealed_session::server::{Memory, ServerStore, StoreKey};
use sealed_session::{AppKey, CookieStore, KeyId, Session, SessionId, Token};
use sealed_session_stores::patience::PATIENCE;
use sealed_session_stores::redis;
use tempfile::TempDir;
use tokio::runtime;
use ureq::Agent;
use ureq::http::Response;
use ureq::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, SET_COOKIE, VARY};
use ureq::{Body, Cookie as JarCookie};

pub use sealed_session::Driver;
pub use story::*;

const COOKIE: &str = "__Host-session";

/// What a shop has outside of its process: its settings, and where its sessions are.
struct Place {
    driver: Driver,
    /// A setting that is on besides.
    switch: Option<&'static str>,
    folder: TempDir,
    redis: Option<redis::Server>,
}

impl Place {
    fn of(driver: Driver) -> Self {
        let redis = (driver == Driver::Redis).then(|| wait(redis::Server::start()));
        Self {
            driver,
            switch: None,
            folder: TempDir::new().unwrap(),
            redis,
        }
    }

    fn configure(&self, command: &mut Command) {
        command
            .env("SESSION_DRIVER", self.driver.as_str())
            .env("SESSION_FILE_PATH", self.folder.path().join("sessions"))
            // So that a cart can be too large everywhere.
            .env("SESSION_MAX_SIZE", "4096");
        if let Some(switch) = self.switch {
            command.env(switch, "true");
        }
        if let Some(redis) = &self.redis {
            command.env("SESSION_REDIS_URL", redis.url());
        }
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    let mut runtime = runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// A program that serves the shop; it is ended on drop.
struct Site {
    process: Child,
    url: String,
}

impl Site {
    /// Starts `program` with the app key `sealing`, and `accepted` as one that only opens.
    fn start(program: &str, place: &Place, sealing: &AppKey, accepted: Option<&AppKey>) -> Self {
        let mut command = Command::new(program);
        command.arg("0").env("APP_KEY", &*sealing.to_base64());
        place.configure(&mut command);
        match accepted {
            Some(key) => command.env("APP_PREVIOUS_KEYS", &*key.to_base64()),
            None => command.env_remove("APP_PREVIOUS_KEYS"),
        };
        let mut site = Self {
            process: command.stdout(Stdio::piped()).spawn().unwrap(),
            url: String::new(),
        };
        let output = site.process.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut site.url).unwrap();
        let url = site.url.trim().trim_end_matches('/').to_owned();
        assert!(url.starts_with("http://localhost:"), "{program}: {url:?}");
        site.url = url;
        site
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client with an empty jar.
fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(PATIENCE));
    config.build().into()
}

/// Which session it is, as far as its cookie tells.
#[derive(Debug, PartialEq)]
enum Identity {
    InCookie(SessionId),
    InBackend(StoreKey),
}

/// One visitor of a shop, with a cookie jar, who also knows the shop's app key.
pub struct Visitor {
    program: &'static str,
    site: Site,
    place: Place,
    key: AppKey,
    agent: Agent,
}

impl Visitor {
    /// Opens the shop, with a fresh app key, and lets somebody in.
    pub fn of(program: &'static str, driver: Driver) -> Self {
        let key = AppKey::generate().unwrap();
        let place = Place::of(driver);
        let site = Site::start(program, &place, &key, None);
        Self {
            program,
            site,
            place,
            key,
            agent: agent(),
        }
    }

    /// Closes the shop and opens it again under other keys: a deploy. The jar stays.
    fn deploy(&mut self, sealing: AppKey, accepted: Option<&AppKey>) {
        self.site = Site::start(self.program, &self.place, &sealing, accepted);
        self.key = sealing;
    }

    /// Closes the shop and opens it again with its sessions elsewhere. Keys and jar stay.
    fn move_to(&mut self, driver: Driver, switch: Option<&'static str>) {
        self.place.driver = driver;
        self.place.switch = switch;
        self.site = Site::start(self.program, &self.place, &self.key, None);
    }

    fn get(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.site.url);
        self.agent.get(url).call().unwrap().into()
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let url = format!("{}{path}", self.site.url);
        let form = form.iter().copied();
        self.agent.post(url).send_form(form).unwrap().into()
    }

    fn log_in(&self) -> Answer {
        let answer = self.post("/login", &[("name", "Ada")]);
        assert_eq!(answer.status, 303, "{answer:?}");
        answer
    }

    fn add(&self, item: &str) -> Answer {
        self.post("/cart", &[("item", item)])
    }

    /// The session cookie's value in the jar.
    fn token(&self) -> Option<String> {
        let jar = self.agent.cookie_jar_lock();
        let cookie = jar.get("localhost", "/", COOKIE)?;
        Some(cookie.value().to_owned())
    }

    /// Puts another session cookie into the jar.
    fn plant(&self, token: &str) {
        let url = self.site.url.parse().unwrap();
        let cookie = format!("{COOKIE}={token}; Path=/; Secure; HttpOnly");
        let cookie = JarCookie::parse(cookie, &url).unwrap();
        let mut jar = self.agent.cookie_jar_lock();
        jar.insert(cookie, &url).unwrap();
    }

    fn is_in_cookie(&self) -> bool {
        self.place.driver == Driver::Cookie
    }

    /// What the visitor cannot see: the session in the cookie.
    fn session(&self) -> Session {
        let token = self.token().expect("the jar has a session cookie");
        CookieStore::new(self.key.clone()).load_from([&format!("{COOKIE}={token}")])
    }

    fn identity(&self) -> Identity {
        if self.is_in_cookie() {
            return Identity::InCookie(self.session().id().unwrap());
        }
        let token = self.token().expect("the jar has a session cookie");
        let store = ServerStore::new(self.key.clone(), Spy::new(Memory::new()));
        wait(store.load_from([&format!("{COOKIE}={token}")])).unwrap();
        match store.backend().take().as_slice() {
            [Call::Load(key)] => Identity::InBackend(*key),
            calls => panic!("{calls:?}"),
        }
    }

    fn key_id(&self) -> KeyId {
        let token = self.token().expect("the jar has a session cookie");
        Token::parse(&token).unwrap().key_id()
    }
}

/// What the shop has answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    location: Option<String>,
    content_type: Option<String>,
    cookies: Vec<Cookie<'static>>,
    cache_control: Option<String>,
    vary: Option<String>,
    text: String,
}

impl From<Response<Body>> for Answer {
    fn from(mut response: Response<Body>) -> Self {
        let text = response.body_mut().read_to_string().unwrap();
        let headers = response.headers();
        let texts = |name| {
            headers
                .get_all(name)
                .iter()
                .map(|v| v.to_str().unwrap().to_owned())
        };
        let parse = |set_cookie| Cookie::parse(set_cookie).unwrap();
        Self {
            status: response.status().as_u16(),
            location: texts(LOCATION).next(),
            content_type: texts(CONTENT_TYPE).next(),
            cookies: texts(SET_COOKIE).map(parse).collect(),
            cache_control: texts(CACHE_CONTROL).next(),
            vary: texts(VARY).next(),
            text,
        }
    }
}

/// The story as the tests of one example that has a cookie store: give it the path of the program.
#[macro_export]
macro_rules! story {
    ($program:expr) => {
        $crate::story! { in $program, Cookie =>
            a_rotated_key_logs_nobody_out
            a_copied_cookie_opens_after_the_logout_until_its_deadline
        }
    };
    (in $program:expr, $driver:ident => $($sentence:ident)*) => {
        $crate::story! { $program, $driver =>
            a_page_without_a_session_is_left_as_it_is
            a_guest_has_no_profile_and_an_error_saves_the_session
            a_login_sets_the_cookie_with_every_attribute
            a_message_is_shown_once
            a_page_that_only_reads_sets_no_cookie
            a_cart_is_kept_and_a_guest_takes_it_along
            a_cart_that_does_not_fit_is_refused_and_stays_as_it_was
            a_login_gives_the_session_a_new_id
            a_tampered_cookie_makes_a_guest_who_can_log_in_again
            a_logout_removes_the_cookie_with_the_same_attributes
            $($sentence)*
        }
    };
    ($program:expr, $driver:ident => $($sentence:ident)*) => {
        $(
            #[test]
            fn $sentence() {
                $crate::$sentence($crate::Visitor::of($program, $crate::Driver::$driver));
            }
        )*
    };
}

/// The story with each store, as the tests of one example that takes its store from the
/// environment.
#[macro_export]
macro_rules! stories {
    ($program:expr) => {
        mod in_cookies {
            $crate::story!($program);
        }
        mod in_memory {
            $crate::story! { in $program, Memory =>
                a_copied_cookie_opens_nothing_after_the_logout
                sessions_in_memory_end_with_the_process
            }
        }
        mod in_files {
            $crate::story! { in $program, File =>
                a_copied_cookie_opens_nothing_after_the_logout
                a_rotated_key_logs_nobody_out
                a_service_moves_into_its_backend_and_back_and_nobody_is_logged_out
            }
        }
        mod in_redis {
            $crate::story! { in $program, Redis =>
                a_copied_cookie_opens_nothing_after_the_logout
                a_rotated_key_logs_nobody_out
                a_service_moves_into_its_backend_and_back_and_nobody_is_logged_out
            }
        }
    };
}

//! The page. No script, nothing from elsewhere, for narrow and wide and dark and light screens.

use std::time::SystemTime;

use humantime::format_rfc3339_seconds;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sealed_session::{AppKey, KeyId, Origin, Session, SessionError, Token, Value};

use crate::{COOKIE_NAME, USER};

const LIMIT: usize = 4096;

/// What the page shows.
pub(crate) struct Page<'a> {
    user: Option<String>,
    origin: Origin,
    values: Vec<(String, String)>,
    token: Option<&'a str>,
    sealed_under: Option<KeyId>,
    issued_at: Option<SystemTime>,
    expires_at: Option<SystemTime>,
    ring: Vec<KeyId>,
    /// When the visitor's device proved its key.
    proven_at: Option<SystemTime>,
    /// The command of somebody who has copied the cookies.
    copied: Option<String>,
}

impl<'a> Page<'a> {
    pub(crate) fn of(
        session: &Session,
        token: Option<&'a str>,
        copied: Option<String>,
        keys: &[AppKey],
    ) -> Result<Self, SessionError> {
        let text = |value: &Value| serde_json::to_string(value).unwrap_or_default();
        Ok(Self {
            user: session.get(USER)?,
            origin: session.origin(),
            values: session
                .to_map()?
                .iter()
                .map(|(key, value)| (key.clone(), text(value)))
                .collect(),
            token,
            sealed_under: token.and_then(|token| Some(Token::parse(token).ok()?.key_id())),
            issued_at: session.issued_at(),
            expires_at: session.expires_at(),
            ring: keys.iter().map(AppKey::id).collect(),
            proven_at: session.device_proven_at(),
            copied,
        })
    }

    pub(crate) fn render(&self, notice: Option<&str>, error: Option<&str>) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { "A session in a cookie" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { "A session in a cookie" }
                        p { "No database. What the server knows of you travels in the cookie below, and only the server can read it." }
                    }
                    main {
                        @if let Some(notice) = notice { p.notice #notice role="status" { (notice) } }
                        @if let Some(error) = error { p.error #error role="alert" { "Refused. " (error) "." } }
                        @match &self.user {
                            Some(user) => (self.signed_in(user)),
                            None => (self.guest()),
                        }
                        (self.keys())
                    }
                }
            }
        }
    }

    fn guest(&self) -> Markup {
        html! {
            section {
                h2 #who { "You are a guest" }
                @match self.origin {
                    Origin::Refused(reason) => {
                        p #refused { "Your browser sent a cookie, and it was refused: " strong { (reason.to_string()) } ". A visitor never learns the reason; this page tells you because it is a demo." }
                    }
                    _ => { p { "Your browser sent no session cookie." } }
                }
                form method="post" action="/login" {
                    label for="name" { "Your name" }
                    div.row {
                        input #name name="name" value="Ada" autocomplete="off" maxlength="40";
                        button #login { "Log in" }
                    }
                }
            }
        }
    }

    fn signed_in(&self, user: &str) -> Markup {
        html! {
            section {
                h2 #who { "You are " (user) }
                div.row {
                    (button("/cart", "add", "Add a pot to the cart", Some(1)))
                    (button("/cart", "add-many", "Add 20 pots", Some(20)))
                    (button("/tamper", "tamper", "Tamper with the cookie", None))
                    (button("/rotate", "rotate", "Rotate the app key", None))
                    (button("/logout", "logout", "Log out", None))
                }
            }
            (self.device())
            div.pair {
                section {
                    h2 { "What the server reads" }
                    dl #values {
                        @for (key, value) in &self.values {
                            dt { (key) }
                            dd { code { (value) } }
                        }
                    }
                }
                section {
                    h2 { "What the browser holds" }
                    (self.cookie())
                }
            }
        }
    }

    /// What a thief would get, and for how long.
    fn device(&self) -> Markup {
        html! {
            section {
                h2 { "Copy my cookies" }
                @if let Some(proven_at) = self.proven_at {
                    p #bound { "This session is bound to this device, which proved its key at " (moment(Some(proven_at))) ". A copy works for at most ten minutes, and this browser goes on." }
                } @else {
                    p #unbound { "This browser does not take part in device-bound sessions, or has not registered yet: reload to see. Until then a copy works until the session's deadline. Start the demo with " code { "--https" } ", which prints how to start Chromium." }
                }
                @if let Some(copied) = &self.copied {
                    p { "Run this in a terminal: it is you." }
                    p.token { code #copied { (copied) } }
                    p { "Then let ten minutes pass, and run it again." }
                    (button("/later", "later", "Ten minutes later", None))
                }
            }
        }
    }

    fn cookie(&self) -> Markup {
        let Some(token) = self.token else {
            return html! { p { "The cookie is on its way with this answer. Reload to see it." } };
        };
        let size = COOKIE_NAME.len() + token.len();
        html! {
            p.token { code #token { (token) } }
            p {
                label for="size" { span #bytes { (size) } " of " (LIMIT) " bytes, name and value" }
                meter #size min="0" max=(LIMIT) high="3300" value=(size) { (size) }
            }
            dl {
                dt { "Issued" }
                dd #issued { (moment(self.issued_at)) }
                dt { "Expires" }
                dd #expires { (moment(self.expires_at)) }
                dt { "Sealed under" }
                dd { (self.sealed_under()) }
            }
        }
    }

    fn sealed_under(&self) -> Markup {
        let sealing = self
            .ring
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        let under = self
            .sealed_under
            .map(|id| id.to_string())
            .unwrap_or_default();
        html! {
            "key " code #key-id { (under) }
            @if under != sealing {
                ", an older key. With this answer it is sealed again under " code #new-key-id { (sealing) } "; you stay logged in."
            }
        }
    }

    fn keys(&self) -> Markup {
        html! {
            section {
                h2 { "The server's key ring" }
                ul #ring {
                    @for (place, id) in self.ring.iter().enumerate() {
                        li { code { (id) } @if place == 0 { " seals and opens" } @else { " only opens" } }
                    }
                }
            }
        }
    }
}

fn button(action: &str, id: &str, text: &str, items: Option<u32>) -> Markup {
    html! {
        form method="post" action=(action) {
            @if let Some(items) = items { input type="hidden" name="items" value=(items); }
            button id=(id) { (text) }
        }
    }
}

fn moment(time: Option<SystemTime>) -> String {
    time.map_or_else(
        || "with this answer".to_owned(),
        |time| {
            let moment = format_rfc3339_seconds(time).to_string();
            moment.replace('T', " ").replace('Z', " UTC")
        },
    )
}

const STYLE: &str = "
:root { --ink: #1c2430; --paper: #fbfaf7; --card: #fff; --line: #d9d4c8; --accent: #0b6b58; --accent-ink: #fff; --bad: #a3261d; --bad-paper: #fdecea; --good-paper: #e5f4ef; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --paper: #14171c; --card: #1d2229; --line: #39414c; --accent: #5cc7ae; --accent-ink: #08231d; --bad: #ff9a8f; --bad-paper: #3a1d1a; --good-paper: #15322b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: .5rem 0; font-size: 1.7rem; } h2 { margin: 0 0 .5rem; font-size: 1.1rem; }
header p { max-width: 40rem; margin: 0 0 1rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; margin: 0 0 1rem; min-width: 0; }
.pair { display: grid; gap: 0 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); align-items: start; }
.row { display: flex; flex-wrap: wrap; gap: .5rem; }
button, input { font: inherit; padding: .5rem .9rem; border-radius: .4rem; border: 1px solid var(--line); background: var(--card); color: var(--ink); min-height: 2.75rem; }
input { flex: 1 1 12rem; min-width: 0; } label { display: block; margin: .25rem 0; }
button { cursor: pointer; border-color: var(--accent); } #login, #add { background: var(--accent); color: var(--accent-ink); }
button:focus-visible, input:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
code { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
.token { max-height: 12rem; overflow: auto; background: var(--paper); padding: .5rem; border-radius: .4rem; margin: 0; }
meter { width: 100%; height: 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; } dt { font-weight: 600; } dd { margin: 0; min-width: 0; max-height: 12rem; overflow: auto; }
ul { margin: 0; padding-left: 1.2rem; }
.notice, .error { border-radius: .4rem; padding: .75rem 1rem; margin: 0 0 1rem; } .notice { background: var(--good-paper); } .error { background: var(--bad-paper); color: var(--bad); }
";

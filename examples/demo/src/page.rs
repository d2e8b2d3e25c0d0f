//! The page. No script, nothing from elsewhere, for narrow and wide and dark and light screens.

use std::time::SystemTime;

use humantime::format_rfc3339_seconds;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sealed_session::{AppKey, Origin, Session, SessionError, Token};

use crate::step::{Before, Did, Step, entry_size};
use crate::{Asked, COOKIE_NAME, USER};

const LIMIT: usize = 4096;

/// Version and key id, random bytes, and at the end tag and mac: see docs/format.md.
const FRAME: usize = 5 + 24 + 48;

/// An entry of the session.
struct Entry {
    key: String,
    text: String,
    size: usize,
}

/// What somebody has who has copied the cookies.
pub(crate) struct Copied {
    pub(crate) command: String,
    pub(crate) is_https: bool,
}

/// What the page shows.
pub(crate) struct Page<'a> {
    user: Option<String>,
    origin: Origin,
    entries: Vec<Entry>,
    token: Option<&'a str>,
    /// What the visitor did last, and its size in the session.
    step: Option<(Step, usize)>,
    issued_at: Option<SystemTime>,
    expires_at: Option<SystemTime>,
    ring: Vec<String>,
    /// When the visitor's device proved its key.
    proven_at: Option<SystemTime>,
    copied: Option<Copied>,
}

impl<'a> Page<'a> {
    pub(crate) fn of(
        session: &Session,
        token: Option<&'a str>,
        step: Option<(Step, usize)>,
        copied: Option<Copied>,
        keys: &[AppKey],
    ) -> Result<Self, SessionError> {
        let entries = session.to_map()?.into_iter().map(|(key, value)| Entry {
            text: serde_json::to_string(&value).unwrap_or_default(),
            size: entry_size(&key, &value),
            key,
        });
        Ok(Self {
            user: session.get(USER)?,
            origin: session.origin(),
            entries: entries.collect(),
            token,
            step,
            issued_at: session.issued_at(),
            expires_at: session.expires_at(),
            ring: keys.iter().map(|key| key.id().to_string()).collect(),
            proven_at: session.device_proven_at(),
            copied,
        })
    }

    pub(crate) fn render(&self, asked: Asked) -> Markup {
        document(&html! {
            header {
                h1 { "A session in a cookie" }
                p { "You log in, and the server keeps nothing about it: no database, no file. All that it knows of you is in one cookie in your browser, sealed so that only the server can read or change it." }
            }
            main {
                @match &self.user {
                    Some(user) => {
                        @if asked.at.is_some() && self.step.is_none() {
                            section.notice.good role="status" {
                                p #notice { "The character is back, and the server accepts the cookie again." }
                                p.small { "It is the same text as before. The server remembers no cookie that it has refused." }
                            }
                        }
                        (self.happened())
                        (self.session(user))
                        (self.buttons())
                        (self.theft())
                    }
                    None => (self.guest(asked)),
                }
                (self.keys())
            }
        })
    }

    fn guest(&self, asked: Asked) -> Markup {
        let altered = asked.at.zip(asked.was);
        html! {
            @if let (Some(size), None) = (asked.gone, self.token) {
                section.notice.good role="status" {
                    p #left { "You are logged out. Your cookie of " (size) " bytes is gone, and with it all that the server knew of you." }
                    p { "Press Back in your browser, as often as you like: no page of yours comes back. The server told your browser to forget them too." }
                }
            }
            @if let Origin::Refused(reason) = self.origin {
                section.bad {
                    h2 { "Your cookie was refused" }
                    @match (self.token, altered) {
                        (Some(token), Some((at, was))) if at < token.len() => {
                            p { "One character was changed: number " (at + 1) " of " (token.len()) " was " code { (was) } " and is now " code { (token[at..=at]) } ". That is enough. This is the forged cookie, as your browser sent it:" }
                            p.token #forged { code { (token[..at]) mark #changed { (token[at..=at]) } (token[at + 1..]) } }
                            form method="post" action="/repair" {
                                p { "Put the character back, and you are logged in again. Nobody was logged out: the server has no session to end." }
                                input type="hidden" name="at" value=(at);
                                input type="hidden" name="was" value=(was);
                                button #repair { "Put the character back" }
                            }
                        }
                        _ => { p { "Your browser sent a cookie that this server does not accept, so you begin anew." } }
                    }
                    p.small #refused { "The reason, for the server's log: " (reason.to_string()) ". A real site shows it to nobody." }
                }
            }
            section {
                h2 #who { "You are a guest" }
                p { "Log in. No password: this is a demo." }
                form method="post" action="/login" {
                    label for="name" { "Your name" }
                    div.row {
                        input #name name="name" value="Ada" autocomplete="off" maxlength="40";
                        button.main #login { "Log in" }
                    }
                }
            }
            section #explained {
                h2 { "What is a cookie?" }
                p { "A short text that a server gives your browser to keep. Your browser sends it back with every request, and that is how a server knows you again." }
                ul {
                    li { b { "Most sites" } " put a random number into it, and look up in a database what they know of you: " code { "session=8f2c61d09be4" } }
                    li { b { "Some sites" } " put the data itself into it, where you can read it, and sometimes change it: " code { "user=Ada" } }
                    li { b { "This site" } " puts the data into it sealed: encrypted, so that you cannot read it, and with a proof, so that you cannot change it. No database is needed: " code { (COOKIE_NAME) "=AZIFR3-wKX0D5H7K6A…" } }
                }
                @if self.token.is_none() { p { "You have no session cookie yet. Log in to see one." } }
            }
        }
    }

    /// What the last button did: the cookie before and after.
    fn happened(&self) -> Markup {
        let Some((step, size)) = &self.step else {
            return html! {};
        };
        let message = size.div_ceil(3) * 4;
        let text = match step.did {
            Did::LoggedIn => {
                "You are logged in, and the server has stored nothing. Your name is in your new cookie."
            }
            Did::Added => {
                "Your cart has grown, and it is in your cookie. The whole text is another one, because each seal begins with new random bytes."
            }
            Did::Filled => {
                "Your cart is full. A cookie has room for 4,096 bytes, and these pots would not fit, so your cart is as it was. A shop would keep a cart of this size in a database."
            }
            Did::Rotated => {
                "The server has a new key. Your cookie came under the old one, and was sealed again under the new one. You are still logged in, since the same moment."
            }
            Did::Waited => {
                "Ten minutes have passed on the server's clock. Now run the old command once more in your terminal, not the new one below."
            }
        };
        let class = if step.did == Did::Filled {
            "notice bad"
        } else {
            "notice good"
        };
        let after = self.token.and_then(Before::of);
        html! {
            section class=(class) role="status" {
                p #notice { (text) }
                @if let Some(after) = &after {
                    table #before-after {
                        tr { th {} th { "Before" } th { "Now" } }
                        @if let Some(before) = &step.before {
                            tr { th { "Cookie" } td { code { (before.start) "…" } } td { code { (after.start) "…" } } }
                            tr { th { "Size" } td { (before.size) " bytes" } td { (after.size) " bytes, " (message) " of them for this message" } }
                            tr { th { "Key id" } td { code { (before.key) } } td { code { (after.key) } } }
                        } @else {
                            tr { th { "Cookie" } td { "none" } td { code { (after.start) "…" } } }
                            tr { th { "Size" } td { "0 bytes" } td { (after.size) " bytes, " (message) " of them for this message" } }
                        }
                    }
                }
                p.small { "This message travelled in the cookie too, as a “flash”: reload, and it is gone." }
            }
        }
    }

    fn session(&self, user: &str) -> Markup {
        html! {
            h2 #who { "You are " (user) }
            div.pair {
                section {
                    h3 { "What your browser holds" }
                    (self.cookie())
                }
                section {
                    h3 { "What the server reads in it" }
                    dl #values {
                        @for entry in &self.entries {
                            dt { (entry.key) }
                            dd { (folded(&entry.text, &html! { code { (entry.text) } })) }
                        }
                        dt { "Logged in" }
                        dd #issued { (moment(self.issued_at)) }
                        dt { "Ends" }
                        dd #expires { (moment(self.expires_at)) }
                    }
                    (self.size())
                }
            }
        }
    }

    fn cookie(&self) -> Markup {
        let Some(token) = self.token else {
            return html! { p { "The cookie is on its way with this answer. Reload to see it." } };
        };
        // Three bytes are four characters, so colours change up to one character early or late.
        let (key, rest) = token.split_at(7.min(token.len()));
        let (random, rest) = rest.split_at(32.min(rest.len()));
        let (data, proof) = rest.split_at(rest.len().saturating_sub(64));
        html! {
            p.token.long[token.len() > 1000] { code #token {
                span.k { (key) } span.r { (random) } span.d { (data) } span.p { (proof) }
            } }
            ul.legend {
                li { span.k { "Key" } " which key sealed it: " code #key-id { (self.sealed_under()) } }
                li { span.r { "Random" } " new bytes for each seal" }
                li { span.d { "Data" } " what the server reads in it, encrypted" }
                li { span.p { "Proof" } " that the server made it, and nobody changed it" }
            }
        }
    }

    fn sealed_under(&self) -> String {
        let token = self.token.and_then(|token| Token::parse(token).ok());
        token.map_or_else(String::new, |token| token.key_id().to_string())
    }

    /// What the cookie's size is made of.
    fn size(&self) -> Markup {
        let Some((text, token)) = self
            .token
            .and_then(|text| Some((text, Token::parse(text).ok()?)))
        else {
            return html! {};
        };
        let size = COOKIE_NAME.len() + text.len();
        let flash = self.step.as_ref().map_or(0, |(_, size)| *size);
        let entries: usize = self.entries.iter().map(|entry| entry.size).sum();
        let rest = token.plaintext_len().saturating_sub(entries + flash);
        html! {
            h3 { label for="size" { span #bytes { (size) } " of " (LIMIT) " bytes" } }
            meter #size min="0" max=(LIMIT) high="3300" value=(size) { (size) }
            table.sum #sizes {
                @for entry in &self.entries { tr { th { (entry.key) } td { (entry.size) } } }
                @if flash > 0 { tr { th { "the message above" } td #flash { (flash) } } }
                tr { th { "id and times" } td #rest { (rest) } }
                tr { th { "key, random, proof" } td { (FRAME) } }
                tr.total { th { "bytes" } td { (token.len()) } }
                tr { th { "as text: 4 characters for 3 bytes" } td { (text.len()) } }
                tr { th { "the name " code { (COOKIE_NAME) } } td { (COOKIE_NAME.len()) } }
                tr.total { th { "the cookie" } td { (size) } }
            }
        }
    }

    fn buttons(&self) -> Markup {
        html! {
            h2 { "Try it" }
            div.tries {
                (attempt("/cart", "add", "Add a pot to the cart", Some(1),
                    "Look for: the whole cookie is another text, and the cart is listed in its size."))
                (attempt("/cart", "add-many", "Add 20 pots", Some(20),
                    "Press it until the cookie is full. Look for: the server says no, and the cart stays as it was."))
                (attempt("/tamper", "tamper", "Tamper with the cookie", None,
                    "Changes one character in the middle, as a forger might. Look for: which one, and that you are a guest at once."))
                (attempt("/rotate", "rotate", "Rotate the app key", None,
                    "The server makes a new key. Look for: another key id, and that you stay logged in."))
                (attempt("/logout", "logout", "Log out", None,
                    "Then press Back in your browser, as often as you like. Look for: nothing of yours comes back."))
            }
        }
    }

    /// What a thief would get, and for how long.
    fn theft(&self) -> Markup {
        let is_bound = self.proven_at.is_some();
        html! {
            h2 { "Steal this session" }
            section {
                p { "No seal helps if somebody copies your cookies: to the server, the copy is you. A session that is bound to your device ends that. Your browser then keeps a key that cannot be copied, and proves every few minutes that it still has it." }
                @if let Some(proven_at) = self.proven_at {
                    p.state.good #bound { "Yours is bound to this device, which proved its key at " (moment(Some(proven_at))) "." }
                } @else {
                    p.state #unbound {
                        @if self.copied.as_ref().is_some_and(|copied| copied.is_https) {
                            "Yours is not bound: this browser does not take part in device-bound sessions, or has not registered yet. Reload to see."
                        } @else {
                            "Yours is not bound: over plain http, no browser does. It does not take part in device-bound sessions here. To see one, start the demo with " code { "cargo demo -- --https" } ", and Chromium with the command that it prints."
                        }
                    }
                }
                @if let Some(copied) = &self.copied {
                    ol {
                        li { "Be the thief: run this in a terminal. It has copies of your cookies. Look for: " b { "You are " (self.user.as_deref().unwrap_or_default()) "." }
                            (folded(&copied.command, &html! { p.token { code #copied { (copied.command) } } })) }
                        li { "Let ten minutes pass. Look for: you are still logged in here" @if is_bound { ", with a newer proof" } "."
                            (button("/later", "later", "Let ten minutes pass", None)) }
                        li { "Run the old command again: in the terminal, press ↑ and Enter. (The one above changes with your cookies.) Look for: "
                            @if is_bound { b { "You are a guest" } ". The copy has lost its value, and you noticed nothing." }
                            @else { b { "You are " (self.user.as_deref().unwrap_or_default()) "." } " The copy works until the session ends." } }
                    }
                }
            }
        }
    }

    fn keys(&self) -> Markup {
        html! {
            h2 { "The server's keys" }
            section {
                p { "The keys are the only secret, and the server shows them to nobody. A key id is a short name computed from a key. It is in the cookie, so that the server finds the right key. Nobody can get the key from it." }
                ul #ring {
                    @for (place, id) in self.ring.iter().enumerate() {
                        li { code { (id) } @if place == 0 { " seals and opens" } @else { " is an older one, and only opens" } }
                    }
                }
            }
        }
    }
}

/// A page for an error that is no visitor's doing.
pub(crate) fn broken() -> Markup {
    document(&html! {
        main { section.bad {
            h1 { "That did not work" }
            p { "The fault is ours, not yours. Nothing was changed." }
            p { a href="/" { "Back to the page" } }
        } }
    })
}

fn document(body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" type="image/svg+xml" href="/favicon.ico";
                title { "A session in a cookie" }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
}

/// A button, and what to look for before it is pressed.
fn attempt(action: &str, id: &str, text: &str, items: Option<u32>, look_for: &str) -> Markup {
    html! {
        section {
            p { (look_for) }
            (button(action, id, text, items))
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

/// A text that would push all else off a small screen is there on demand.
fn folded(text: &str, whole: &Markup) -> Markup {
    if text.len() <= 1000 {
        return whole.clone();
    }
    let start: String = text.chars().take(30).collect();
    html! { details { summary { code { (start) "…" } " all " (text.len()) " characters" } (whole) } }
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

pub(crate) const ICON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="15" fill="#0b6b58"/><path d="M10 15v-3a6 6 0 0 1 12 0v3" fill="none" stroke="#fff" stroke-width="3"/><rect x="8" y="14" width="16" height="11" rx="2" fill="#fff"/></svg>"##;

const STYLE: &str = "
:root { --ink: #1c2430; --soft: #566070; --paper: #fbfaf7; --card: #fff; --line: #d9d4c8; --accent: #0b6b58; --accent-ink: #fff; --bad: #a3261d; --bad-paper: #fdecea; --good-paper: #e5f4ef; --k: #f6d9a8; --r: #dfe3ea; --d: #cfe6f7; --p: #e2d6f5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3adba; --paper: #14171c; --card: #1d2229; --line: #39414c; --accent: #5cc7ae; --accent-ink: #08231d; --bad: #ff9a8f; --bad-paper: #3a1d1a; --good-paper: #15322b; --k: #5a431a; --r: #39414c; --d: #1c4258; --p: #432f63; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: .5rem 0; font-size: 1.7rem; } h2 { margin: 1.5rem 0 .5rem; font-size: 1.25rem; } h3 { margin: 0 0 .5rem; font-size: 1rem; } section > h2:first-child { margin-top: 0; }
p { margin: 0 0 .75rem; } header p { max-width: 44rem; } .small { color: var(--soft); font-size: .875rem; } section > :last-child { margin-bottom: 0; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; margin: 0 0 1rem; min-width: 0; }
.pair, .tries { display: grid; gap: 0 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); align-items: start; }
.tries { grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); align-items: stretch; } .tries section { display: flex; flex-direction: column; justify-content: space-between; }
.row { display: flex; flex-wrap: wrap; gap: .5rem; }
button, input { font: inherit; padding: .5rem .9rem; border-radius: .4rem; border: 1px solid var(--line); background: var(--card); color: var(--ink); min-height: 2.75rem; }
input { flex: 1 1 12rem; min-width: 0; } label { display: block; margin: .25rem 0; } h3 label { margin: 0; }
button { cursor: pointer; border-color: var(--accent); } button.main { background: var(--accent); color: var(--accent-ink); }
button:focus-visible, input:focus-visible, a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; } a { color: var(--accent); }
code { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
.token { background: var(--paper); padding: .5rem; border-radius: .4rem; }
.long { font-size: .7rem; line-height: 1.3; } .k, .r, .d, .p { border-radius: .2rem; } .k { background: var(--k); } .r { background: var(--r); } .d { background: var(--d); } .p { background: var(--p); }
.legend { list-style: none; padding: 0; } .legend span { padding: 0 .3rem; }
mark { background: var(--bad); color: var(--card); padding: .1rem .25rem; border-radius: .2rem; font-weight: 700; }
meter { width: 100%; height: 1rem; }
table { border-collapse: collapse; margin: 0 0 .75rem; } th, td { text-align: left; font-weight: 400; padding: .15rem 1rem .15rem 0; vertical-align: top; } tr:first-child th { font-weight: 600; }
.sum { width: 100%; margin: .5rem 0 0; } .sum tr:first-child th { font-weight: 400; } .sum td { text-align: right; padding-right: 0; font-variant-numeric: tabular-nums; } .total th, .total td { border-top: 1px solid var(--line); font-weight: 600 !important; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0 0 1rem; } dt { font-weight: 600; } dd { margin: 0; min-width: 0; } form + p { margin-top: .75rem; }
ul, ol { margin: 0 0 .75rem; padding-left: 1.3rem; } ol li { margin-bottom: .75rem; } ol .token, ol form { margin: .5rem 0 0; }
.good { background: var(--good-paper); } .bad { background: var(--bad-paper); } .notice p:first-child { font-weight: 600; } .state { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .75rem; }
";

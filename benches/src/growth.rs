//! Sessions of one entry to a thousand and of a hundred bytes to a mebibyte, in each store that
//! needs no server: whether a call costs what it touches, or what is there.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::SET_COOKIE;
use pollster::block_on;
use sealed_session::server::{File, Memory};
use sealed_session::{CookieStore, FileStore, MemoryStore, Session};
use tempfile::TempDir;

use crate::{request, sealing_first};

/// Where the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Cookie,
    Memory,
    File,
}

/// What the session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// So many small entries.
    Entries(usize),
    /// One small entry, and a text of so many bytes.
    Text(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Fills a new session with the entries; with a text, adds a small entry to it.
    Insert,
    /// Changes each small entry of a loaded session.
    Change,
    /// Reads each small entry of a loaded session.
    Get,
    /// From the Cookie header to one value.
    Load,
    /// Changes one small entry, and saves.
    Save,
}

enum Store {
    Cookie(CookieStore),
    Memory(MemoryStore),
    File {
        store: FileStore,
        /// Goes with the store.
        _folder: TempDir,
    },
}

/// One operation on one session.
pub struct Growth {
    store: Store,
    content: Content,
    request: HeaderMap,
    session: Session,
    response: HeaderMap,
    calls: u64,
}

impl Growth {
    pub fn new(place: Place, content: Content) -> Self {
        let store = Store::at(place);
        let session = store.load(&HeaderMap::new());
        match content {
            Content::Entries(count) => fill(&session, count, 0),
            Content::Text(size) => {
                fill(&session, 1, 0);
                session.insert("text", "x".repeat(size)).unwrap();
            }
        }
        let mut response = HeaderMap::with_capacity(8);
        store.save(&session, &mut response);
        let set_cookie = response[SET_COOKIE].to_str().unwrap();
        let (pair, _) = set_cookie.split_once(';').unwrap();
        let request = request(pair.split_once('=').unwrap().1);
        let session = store.load(&request);
        assert_eq!(session.get(key(0)).unwrap(), Some(1_u64));
        Self {
            store,
            content,
            request,
            session,
            response,
            calls: 0,
        }
    }

    /// How many entries one call of [`run`](Self::run) inserts, changes or reads.
    pub fn touched(&self, operation: Operation) -> u64 {
        match (operation, self.content) {
            (Operation::Load | Operation::Save, _) | (_, Content::Text(_)) => 1,
            (_, Content::Entries(count)) => count as u64,
        }
    }

    pub fn run(&mut self, operation: Operation) {
        self.calls += 1;
        let small = match self.content {
            Content::Entries(count) => count,
            Content::Text(_) => 1,
        };
        match (operation, self.content) {
            (Operation::Insert, Content::Entries(count)) => {
                fill(&self.store.load(&HeaderMap::new()), count, 0);
            }
            (Operation::Insert, Content::Text(_)) => {
                self.session.insert("cart", self.calls).unwrap();
                self.session.remove("cart");
            }
            (Operation::Change, _) => fill(&self.session, small, self.calls),
            (Operation::Get, _) => {
                for nth in 0..small {
                    let value = self.session.get(key(nth)).unwrap();
                    assert_eq!(value, Some(nth as u64 + 1));
                }
            }
            (Operation::Load, _) => {
                let session = self.store.load(&self.request);
                assert_eq!(session.get(key(0)).unwrap(), Some(1_u64));
            }
            (Operation::Save, _) => {
                self.session.insert(key(0), self.calls % 100).unwrap();
                self.response.clear();
                self.store.save(&self.session, &mut self.response);
            }
        }
    }
}

impl Store {
    fn at(place: Place) -> Self {
        let clock = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let keys = sealing_first(1);
        match place {
            Place::Cookie => Self::Cookie(CookieStore::builder(keys).clock(clock).build().unwrap()),
            Place::Memory => {
                let memory = Memory::builder().clock(clock).build().unwrap();
                let builder = MemoryStore::builder(keys, memory).max_size(2 << 20);
                Self::Memory(builder.clock(clock).build().unwrap())
            }
            Place::File => {
                let folder = tempfile::tempdir().unwrap();
                let file = File::builder(folder.path().join("sessions"));
                let file = file.clock(clock).build().unwrap();
                let builder = FileStore::builder(keys, file).max_size(2 << 20);
                Self::File {
                    store: builder.clock(clock).build().unwrap(),
                    _folder: folder,
                }
            }
        }
    }

    fn load(&self, request: &HeaderMap) -> Session {
        match self {
            Self::Cookie(store) => store.load(request),
            Self::Memory(store) => block_on(store.load(request)).unwrap(),
            Self::File { store, .. } => block_on(store.load(request)).unwrap(),
        }
    }

    fn save(&self, session: &Session, response: &mut HeaderMap) {
        match self {
            Self::Cookie(store) => store.save(session, response).unwrap(),
            Self::Memory(store) => block_on(store.save(session, response)).unwrap(),
            Self::File { store, .. } => block_on(store.save(session, response)).unwrap(),
        }
    }
}

fn fill(session: &Session, count: usize, more: u64) {
    for nth in 0..count {
        session.insert(key(nth), nth as u64 + 1 + more).unwrap();
    }
}

/// All keys are there before anything is counted.
fn key(nth: usize) -> &'static str {
    static KEYS: std::sync::LazyLock<Vec<String>> =
        std::sync::LazyLock::new(|| (0..1_000).map(|nth| format!("key{nth:04}")).collect());
    &KEYS[nth]
}

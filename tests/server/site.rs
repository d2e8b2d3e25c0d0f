//! A service whose sessions are on a shelf, and one visitor's browser.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use http::HeaderMap;
use sealed_session::server::conformance::{Call, Spy};
use sealed_session::server::{Behind, ServerStore};
use sealed_session::{Event, KeyRing, LoadError, SaveError, Session, StoreBuilder};

use crate::now::now;
use crate::shelf::{Incident, Shelf};
use crate::support::*;

pub(crate) type Store = ServerStore<Spy<Shelf>>;
pub(crate) type Builder = StoreBuilder<Behind<Spy<Shelf>>>;

pub(crate) struct Site {
    pub(crate) clock: Clock,
    pub(crate) shelf: Shelf,
    pub(crate) store: Store,
    pub(crate) browser: Browser,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(settings: impl FnOnce(Builder) -> Builder) -> Self {
        let clock = Clock::at(SystemTime::UNIX_EPOCH + 20_000 * DAY);
        let shelf = Shelf::new(&clock);
        Self::of(&clock, &shelf, key(), settings)
    }

    pub(crate) fn of(
        clock: &Clock,
        shelf: &Shelf,
        ring: impl Into<KeyRing>,
        settings: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let (asked, seen) = (clock.clone(), Arc::clone(&events));
        let builder = Store::builder(ring, Spy::new(shelf.clone()))
            .clock(move || asked.now())
            .on_event(move |event| seen.lock().unwrap().push(event));
        Self {
            clock: clock.clone(),
            shelf: shelf.clone(),
            store: settings(builder).build().unwrap(),
            browser: Browser::default(),
            events,
        }
    }

    /// One whose visitor has a session with some of everything.
    pub(crate) fn visited(settings: impl FnOnce(Builder) -> Builder) -> Self {
        let mut site = Self::with(settings);
        site.visit(|session| {
            session.insert("count", 1).unwrap();
            session.insert("name", "Ada").unwrap();
            session.flash("note", "hello").unwrap();
            session.set_subject("ada").unwrap();
        });
        site.calls();
        site
    }

    /// The same service with other settings; the browser stays.
    pub(crate) fn rebuilt(
        &self,
        ring: impl Into<KeyRing>,
        settings: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let mut site = Self::of(&self.clock, &self.shelf, ring, settings);
        site.browser = self.browser.clone();
        site
    }

    pub(crate) fn request(&self) -> HeaderMap {
        self.browser.send(self.clock.now())
    }

    pub(crate) fn try_load(&self) -> Result<Session, LoadError> {
        now(self.store.load(&self.request()))
    }

    /// The session of the browser's next request.
    pub(crate) fn load(&self) -> Session {
        self.try_load().unwrap()
    }

    pub(crate) fn try_save(&self, session: &Session) -> Result<HeaderMap, SaveError> {
        let mut response = HeaderMap::new();
        now(self.store.save(session, &mut response))?;
        Ok(response)
    }

    /// The headers of a response, which are still to reach the browser.
    pub(crate) fn save(&self, session: &Session) -> HeaderMap {
        self.try_save(session).unwrap()
    }

    pub(crate) fn receive(&mut self, response: &HeaderMap) {
        self.browser.receive(response, self.clock.now());
    }

    /// A request and its response; the response's headers.
    pub(crate) fn visit(&mut self, handler: impl FnOnce(&Session)) -> HeaderMap {
        let session = self.load();
        handler(&session);
        let response = self.save(&session);
        self.receive(&response);
        response
    }

    /// The names of the backend's calls since this was last asked.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.store.backend().take().iter().map(Call::name).collect()
    }

    /// The events since this was last asked.
    pub(crate) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    /// A whole request of the same browser, which comes first when a call is about to be made.
    pub(crate) fn overtaken(
        &self,
        call: &'static str,
        handler: impl FnOnce(&Session) + Send + 'static,
    ) {
        let (store, request) = (self.store.clone(), self.request());
        self.shelf.plan(
            call,
            Incident::Before(Box::new(move || {
                let session = now(store.load(&request)).unwrap();
                handler(&session);
                now(store.save(&session, &mut HeaderMap::new())).unwrap();
            })),
        );
    }
}

//! Requests on one session whose calls are interleaved at random: what was acknowledged is there,
//! and what has ended stays so.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http::HeaderMap;
use proptest::prelude::*;
use sealed_session::{Origin, SaveError, Session};

use crate::now::now;
use crate::site::Site;
use crate::support::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Handler {
    Insert,
    Remove,
    Renew,
    Destroy,
    Read,
}

fn handler() -> impl Strategy<Value = Handler> {
    prop_oneof![
        6 => Just(Handler::Insert),
        2 => Just(Handler::Remove),
        1 => Just(Handler::Renew),
        1 => Just(Handler::Destroy),
        1 => Just(Handler::Read),
    ]
}

/// What a request got, and whether its session was the one that all share.
type Answer = (bool, Result<HeaderMap, SaveError>);

type Request<'r> = Pin<Box<dyn Future<Output = Answer> + 'r>>;

/// Each has keys of its own, so that no two changes are of one entry.
async fn request(site: &Site, cookie: HeaderMap, n: usize, handler: Handler) -> Answer {
    let session = site.store.load(&cookie).await.unwrap();
    let is_shared = session.origin() == Origin::Opened;
    if is_shared {
        act(&session, n, handler);
    }
    let mut response = HeaderMap::new();
    let saved = site.store.save(&session, &mut response).await;
    (is_shared, saved.map(|()| response))
}

fn act(session: &Session, n: usize, handler: Handler) {
    match handler {
        Handler::Insert => session.insert(&format!("new {n}"), n).unwrap(),
        Handler::Remove => session.remove(&format!("old {n}")),
        Handler::Renew => {
            session.renew();
            session.insert(&format!("new {n}"), n).unwrap();
        }
        Handler::Destroy => session.destroy(),
        Handler::Read => assert!(session.contains("large")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn requests_in_any_order_keep_their_promises(
        handlers in prop::collection::vec(handler(), 2..7),
        order in prop::collection::vec(any::<prop::sample::Index>(), 60),
        small_in_cookie: bool,
    ) {
        let mut site = Site::with(|builder| match small_in_cookie {
            true => builder.small_in_cookie(),
            false => builder,
        });
        site.visit(|session| {
            for n in 0..handlers.len() {
                session.insert(&format!("old {n}"), n).unwrap();
            }
            let length = if small_in_cookie { 3000 } else { 10 };
            session.insert("large", "x".repeat(length)).unwrap();
        });
        let cookie = site.request();
        site.shelf.yields(true);
        let mut answers = Vec::new();
        {
            let requests = handlers.iter().enumerate().map(|(n, handler)| {
                let request: Request<'_> = Box::pin(request(&site, cookie.clone(), n, *handler));
                (n, request)
            });
            let mut running: Vec<_> = requests.collect();
            let mut context = Context::from_waker(Waker::noop());
            let mut order = order.iter().cycle();
            while !running.is_empty() {
                let at = order.next().unwrap().index(running.len());
                if let Poll::Ready(answer) = running[at].1.as_mut().poll(&mut context) {
                    answers.push((running[at].0, answer));
                    drop(running.remove(at));
                }
            }
        }
        site.shelf.yields(false);

        let (mut new_cookies, mut acknowledged, mut is_destroyed) = (vec![], vec![], false);
        for (n, (is_shared, saved)) in answers {
            match saved {
                Ok(headers) if !is_shared => prop_assert!(sets_no_cookie(&headers)),
                Ok(headers) if sets_no_cookie(&headers) => acknowledged.push(n),
                Ok(headers) if is_removal(set_cookie(&headers)) => {
                    is_destroyed |= handlers[n] == Handler::Destroy;
                }
                Ok(headers) => {
                    prop_assert_eq!(handlers[n], Handler::Renew);
                    new_cookies.push(cookies(&[pair(&headers)]));
                    acknowledged.push(n);
                }
                Err(error) => prop_assert!(error.to_string().contains("new id"), "{}", error),
            }
        }
        prop_assert!(new_cookies.len() <= 1, "two ids for one session");
        let has_moved = !new_cookies.is_empty();
        let old = now(site.store.load(&cookie)).unwrap();
        let session = match new_cookies.pop() {
            Some(new) => now(site.store.load(&new)).unwrap(),
            None => old.clone(),
        };
        if has_moved {
            prop_assert_ne!(old.origin(), Origin::Opened, "the old id is gone");
        }
        let origin = session.origin();
        prop_assert_eq!(origin == Origin::Opened, !is_destroyed, "it stays as it ended");
        prop_assert_eq!(site.shelf.slots().is_empty(), is_destroyed);
        if session.origin() == Origin::Opened {
            for n in acknowledged {
                let (new, old) = (format!("new {n}"), format!("old {n}"));
                match handlers[n] {
                    Handler::Insert | Handler::Renew => prop_assert!(session.contains(&new)),
                    Handler::Remove => prop_assert!(!session.contains(&old)),
                    Handler::Destroy | Handler::Read => {}
                }
            }
            prop_assert!(session.contains("large"));
        }
    }
}

//! Lifetimes that change between a session's beginning and its end, and those at the ends of time.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Fleet {
    /// A process of a deployment whose sessions live this long.
    async fn living(&self, lifetime: Duration) -> Store {
        let store = self.builder().lifetime(lifetime).build().unwrap();
        store.catch_up().await.unwrap();
        store
    }
}

async fn set_expiry(store: &Store, request: &HeaderMap, deadline: SystemTime) -> HeaderMap {
    let session = store.load(request).unwrap();
    session.set_expiry(deadline).unwrap();
    request_after(&saved(store, &session).await)
}

#[tokio::test]
async fn what_has_ended_under_a_shorter_lifetime_stays_ended_when_it_is_raised_again() {
    let fleet = Fleet::new().await;
    let before = fleet.living(30 * DAY).await;
    let request = log_in(&before).await;
    // A copy may have a later deadline than the cookie that logs out.
    let short = set_expiry(&before, &request, fleet.now() + 2 * HOUR).await;
    let other = log_in(&before).await;
    drop(before);

    fleet.forward(HOUR);
    let lowered = fleet.living(DAY).await;
    log_out(&lowered, &short).await;
    log_out(&lowered, &other).await;
    drop(lowered);

    let start = fleet.now();
    for days in [1, 2, 10, 28] {
        *fleet.now.lock().unwrap() = start + days * DAY;
        let raised = fleet.living(30 * DAY).await;
        for request in [&request, &other] {
            assert!(is_revoked(&raised, request), "{days}");
        }
    }
}

#[tokio::test]
async fn a_subject_that_has_ended_under_a_shorter_lifetime_stays_ended_too() {
    let fleet = Fleet::new().await;
    let before = fleet.living(30 * DAY).await;
    let request = log_in(&before).await;
    drop(before);
    fleet.forward(HOUR);
    let lowered = fleet.living(DAY).await;
    lowered.revoke_subject("ada", fleet.now()).await.unwrap();
    // Days on which nobody has heard of more than a day.
    for _ in 0..5 {
        fleet.forward(DAY);
        fleet.living(DAY).await;
    }
    let raised = fleet.living(30 * DAY).await;
    assert!(is_revoked(&raised, &request));
    assert!(is_alive(&raised, &log_in(&raised).await));
}

#[tokio::test]
async fn how_long_sessions_have_lived_is_known_as_long_as_one_may_be_left_and_no_longer() {
    let fleet = Fleet::new().await;
    fleet.living(8 * DAY).await;
    let start = fleet.now();
    for (day, held) in [(0, true), (5, true), (6, true), (12, false)] {
        *fleet.now.lock().unwrap() = start + day * DAY;
        let lowered = fleet.living(DAY).await;
        let subject = format!("who has ended on day {day}");
        lowered.revoke_subject(&subject, fleet.now()).await.unwrap();
        fleet.forward(2 * DAY);
        let late = fleet.living(DAY).await;
        assert_eq!(late.listed() > 0, held, "day {day}");
    }
}

#[tokio::test]
async fn sessions_of_any_lifetime_end() {
    let fleet = Fleet::new().await;
    for lifetime in [
        Duration::from_millis(1),
        400 * DAY,
        4000 * 365 * DAY,
        Duration::MAX,
    ] {
        for clock in [SystemTime::UNIX_EPOCH, fleet.now()] {
            *fleet.now.lock().unwrap() = clock;
            let _: () = fleet.ask(&["DEL", STREAM]).await;
            let store = fleet.builder().max_lifetime(lifetime);
            let store = store.lifetime(lifetime).build().unwrap();
            let never = store.load(&HeaderMap::new()).unwrap();
            never.insert("user_id", 42).unwrap();
            let request = request_after(&saved(&store, &never).await);
            assert!(store.load(&request).is_err(), "it has not caught up");
            store.catch_up().await.unwrap();
            assert!(is_alive(&store, &request), "{lifetime:?}");
            log_out(&store, &request).await;
            assert!(is_revoked(&store, &request), "{lifetime:?}");
            store.catch_up().await.unwrap();
            let late = fleet.builder().max_lifetime(lifetime).build().unwrap();
            late.catch_up().await.unwrap();
            assert!(is_revoked(&late, &request), "{lifetime:?}");
            let before: usize = fleet.ask(&["XLEN", STREAM]).await;
            late.catch_up().await.unwrap();
            let after: usize = fleet.ask(&["XLEN", STREAM]).await;
            assert_eq!(before, after, "nothing is told again and again");
        }
    }
}

#[tokio::test]
async fn no_setting_at_the_end_of_its_range_makes_a_store_panic() {
    let fleet = Fleet::new().await;
    let times = [
        SystemTime::UNIX_EPOCH - DAY,
        SystemTime::UNIX_EPOCH,
        SystemTime::now(),
        SystemTime::UNIX_EPOCH + Duration::from_millis((1 << 48) - 1),
        SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60),
    ];
    let durations = [Duration::from_millis(100), DAY, Duration::MAX];
    for now in times {
        for not_before in times {
            for duration in durations {
                *fleet.now.lock().unwrap() = now;
                let store = fleet.builder().max_lifetime(duration).lifetime(duration);
                let store = store.idle_timeout(duration).not_before(not_before);
                let store = store.max_staleness(duration).build().unwrap();
                store.catch_up().await.unwrap();
                let session = store.load(&HeaderMap::new()).unwrap();
                session.insert("user_id", 42).unwrap();
                session.set_subject("ada").unwrap();
                let answer = saved(&store, &session).await;
                if answer.contains_key(SET_COOKIE) {
                    let request = request_after(&answer);
                    let session = store.load(&request).unwrap();
                    session.destroy();
                    saved(&store, &session).await;
                    assert!(!is_alive(&store, &request));
                }
                store.revoke_all(not_before).await.unwrap();
                store.revoke_subject("ada", not_before).await.unwrap();
                store.catch_up().await.unwrap();
            }
        }
    }
}

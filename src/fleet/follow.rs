//! How a process's list follows the stream in Redis, and notices missing entries.
//!
//! The process reads new entries as they come. Each time, it also checks the stream's length and
//! last entry, which reveals lost and deleted entries. Somebody who replaces entries can hide from
//! that check. So the process also reads the whole stream again, round after round, some entries at
//! a time: an entry that does not appear in a round is missing, whatever the stream looks like.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::counts::Counts;
use super::follower::{Follower, Round};
use super::process::{Inner, NEVER, POLL};
use crate::envelope::{Token, os_random};
use crate::error::{BackendError, BackendErrorKind, Refusal};
use crate::event::Event;
use crate::policy::CLOCK_SKEW;
use crate::revocation::entry::MAX_TOKEN;
use crate::revocation::{GRACE, Revocation};
use crate::server::redis::{PAGE, Page, Position};
use crate::time::Millis;

/// How many entries a round reads in each [`POLL`].
const AUDIT: usize = 500;

/// How many pages a round reads at once when entries are known to be missing.
const HASTE: usize = 20;

/// How long the longest lifetime is remembered beyond itself, at least. A long time, so that it is
/// rarely sent.
const REMEMBERED: Duration = Duration::from_secs(3600);

impl Inner {
    pub(super) fn is_stale(&self, now: Millis) -> bool {
        let current_at = self.current_at.load(Ordering::Relaxed);
        let current = Millis::from_raw(current_at);
        current_at == NEVER || now.since(current).max(current.since(now)) > self.max_staleness
    }

    /// How long an entry may matter: as long as any session that this process has heard of, and a
    /// little longer for the record of such a lifetime.
    pub(super) fn keep(&self) -> Duration {
        kept_for(self.list.longest())
    }

    pub(super) async fn append(&self, revocations: &[Revocation]) -> Result<(), BackendError> {
        let mut tokens = Vec::with_capacity(revocations.len());
        for revocation in revocations {
            let (bytes, mut token) = (revocation.encode(), String::new());
            let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(&bytes);
            self.envelope
                .seal_into(&mut token, bytes.len(), write, &mut os_random)
                .map_err(|error| BackendError::new(BackendErrorKind::Other, error))?;
            tokens.push(token);
        }
        let at = self.feed.append(&tokens, self.keep()).await?;
        self.written(|written| *written = at.max(*written));
        Ok(())
    }

    fn written<R>(&self, look: impl FnOnce(&mut Position) -> R) -> R {
        look(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads new entries, does the work that is due, and waits a while for the next change.
    pub(super) async fn follow(&self) -> Result<(), BackendError> {
        let patience = POLL.min(self.max_staleness / 4);
        let armed = self.feed.arm().await;
        let outcome = {
            let mut follower = self.follower.lock().await;
            let read = self.read_new(&mut follower).await;
            match self.heard(read) {
                Ok(()) => self.mend(&mut follower).await.map(|()| follower.is_busy()),
                Err(error) => Err(error),
            }
        };
        if !outcome? {
            self.feed.rest(armed, patience).await;
        }
        Ok(())
    }

    /// Reads all entries, and restores those that Redis has lost.
    pub(super) async fn catch_up(&self) -> Result<(), BackendError> {
        loop {
            let mut follower = self.follower.lock().await;
            let read = self.read_new(&mut follower).await;
            self.heard(read)?;
            if let Err(error) = self.mend(&mut follower).await {
                let events = self.core.events();
                events.report(Event::BackendFailed, Some(&error));
                return Ok(());
            }
            if !follower.is_busy() {
                return Ok(());
            }
        }
    }

    /// Reads the entries since the last time. It reads the whole stream the first time, and
    /// whenever the entry where it stopped is gone.
    pub(super) async fn read_new(&self, follower: &mut Follower) -> Result<(), BackendError> {
        let written = self.written(|written| *written);
        let longest = self.list.longest();
        let (mut is_first, mut from_start, mut knows_longest) = (true, false, false);
        loop {
            if follower.read == Position::default() {
                from_start = true;
                follower.begin_again();
                self.begin_round(follower, false);
            }
            let now = self.core.now();
            self.list.tell_time(now);
            let known = [follower.read, written];
            let Some(page) = self.feed.read(follower.read, PAGE, known).await? else {
                // If the key holds no stream, no end of a session can be read from it.
                follower.is_unusable = true;
                self.current_at.store(now.raw(), Ordering::Relaxed);
                return Ok(());
            };
            if std::mem::take(&mut is_first) {
                let [has_read, has_written] = page.there;
                if !has_read && follower.read != Position::default() {
                    follower.read = Position::default();
                    continue;
                }
                if written != Position::default() {
                    follower.noticed |= !has_written;
                    self.written(|latest| {
                        if *latest == written {
                            *latest = Position::default();
                        }
                    });
                }
            }
            self.report(self.take_in(&page, &mut follower.counts, now)?);
            follower.read = page.last(follower.read);
            if page.entries.len() == PAGE {
                continue;
            }
            let has_grown = self.list.longest() > longest;
            if has_grown && from_start && !std::mem::replace(&mut knows_longest, true) {
                // Entries that seemed too old before may matter after all.
                follower.read = Position::default();
                continue;
            }
            follower.noticed |= has_grown && !from_start;
            self.current_at.store(now.raw(), Ordering::Relaxed);
            self.check(follower, &page);
            if from_start && !follower.is_unusable {
                self.end_round(follower, now);
            }
            return Ok(());
        }
    }

    fn report(&self, unreadable: Option<Refusal>) {
        if let Some(refusal) = unreadable {
            let error = BackendError::new(
                BackendErrorKind::Other,
                format_args!("an entry in the stream of revocations does not open: {refusal}"),
            );
            let events = self.core.events();
            events.report(Event::BackendFailed, Some(&error));
        }
    }

    /// Checks the stream's state after all of it was read.
    fn check(&self, follower: &mut Follower, page: &Page) {
        let trimmed = self.trimmed(page);
        follower.is_unusable = page.is_ahead(follower.read);
        follower.noticed |= !follower.counts.agree(page.length, page.first, trimmed);
        let is_due = page.length > 0 && page.first.time < trimmed;
        follower.trim = is_due.then_some(trimmed);
    }

    /// Entries from before this time of Redis's clock no longer matter. In milliseconds.
    fn trimmed(&self, page: &Page) -> u64 {
        page.trimmed(self.keep())
    }

    /// Takes a page's entries into the list, and returns why an entry could not be read, if one
    /// could not.
    ///
    /// Returns an error if this process is about to learn the key of an entry. Until it has, the
    /// list is not complete.
    fn take_in(
        &self,
        page: &Page,
        counts: &mut Counts,
        now: Millis,
    ) -> Result<Option<Refusal>, BackendError> {
        let (mut unreadable, mut awaited) = (None, None);
        for (_, token) in &page.entries {
            match self.opened_at_last(token) {
                Ok(revocation) if self.list.matters(&revocation, now) => {
                    self.list.put(revocation);
                }
                Ok(_) => {}
                Err(refusal) if self.may_open_later(token, refusal) => awaited = Some(refusal),
                Err(refusal) => unreadable = Some(refusal),
            }
        }
        if let Some(refusal) = awaited {
            let problem = format_args!("an entry of the revocations does not open yet: {refusal}");
            return Err(BackendError::new(BackendErrorKind::Unavailable, problem));
        }
        page.entries.iter().for_each(|(at, _)| counts.add(*at));
        Ok(unreadable)
    }

    fn may_open_later(&self, token: &[u8], refusal: Refusal) -> bool {
        let id = || Token::parse_bytes(token, MAX_TOKEN).map(|token| token.key_id());
        match refusal {
            Refusal::StaleKeys => true,
            Refusal::UnknownKey => id().is_ok_and(|id| self.core.kept.seek(id)),
            _ => false,
        }
    }

    fn opened_at_last(&self, token: &[u8]) -> Result<Revocation, Refusal> {
        let opened = self.opened(token);
        if !matches!(opened, Err(Refusal::UnknownKey)) {
            return opened;
        }
        // In this order: a key that comes after the second look finds the note.
        self.passed_over.store(true, Ordering::Relaxed);
        self.opened(token)
    }

    fn opened(&self, token: &[u8]) -> Result<Revocation, Refusal> {
        let opened = self.envelope.open(token, MAX_TOKEN)?;
        Revocation::decode(&opened.plaintext)
    }

    /// Does the work that is due, other than reading new entries.
    async fn mend(&self, follower: &mut Follower) -> Result<(), BackendError> {
        let outcome = self.do_what_is_due(follower).await;
        let may_be_unusable = |error: &BackendError| error.kind() == BackendErrorKind::Other;
        if outcome.as_ref().err().is_some_and(may_be_unusable) && self.rebuild(follower).await? {
            return Ok(());
        }
        outcome
    }

    async fn do_what_is_due(&self, follower: &mut Follower) -> Result<(), BackendError> {
        if let Some(before) = follower.trim.take() {
            self.feed.trim(before).await?;
        }
        let keys_changed = self.keys_changed.swap(false, Ordering::Relaxed);
        // A round that has begun has looked with other keys.
        if std::mem::take(&mut follower.noticed) && !follower.round.in_haste || keys_changed {
            self.begin_round(follower, true);
            follower.missing.clear();
        }
        if follower.is_unusable {
            self.rebuild(follower).await?;
        }
        if follower.missing.is_empty() && !follower.restores {
            self.read_again(follower).await?;
        }
        if !follower.missing.is_empty() || follower.restores {
            self.put_back(follower).await?;
        }
        self.tell_lifetime().await
    }

    pub(super) fn begin_round(&self, follower: &mut Follower, in_haste: bool) {
        self.list.begin_round();
        follower.round = Round {
            in_haste,
            next: Some(Instant::now() + POLL),
            ..Round::default()
        };
    }

    /// Reads the next entries of the round.
    async fn read_again(&self, follower: &mut Follower) -> Result<(), BackendError> {
        let Round { in_haste, next, .. } = follower.round;
        if !in_haste && next.is_some_and(|next| Instant::now() < next) {
            return Ok(());
        }
        let (pages, count) = if in_haste { (HASTE, PAGE) } else { (1, AUDIT) };
        for _ in 0..pages {
            if self.read_round(follower, count).await? {
                break;
            }
        }
        Ok(())
    }

    /// Reads one page of a round, and returns true if it was the last.
    pub(super) async fn read_round(
        &self,
        follower: &mut Follower,
        count: usize,
    ) -> Result<bool, BackendError> {
        let now = self.core.now();
        let round = &mut follower.round;
        let Some(page) = self.feed.read(round.at, count, Default::default()).await? else {
            follower.is_unusable = true;
            return Ok(true);
        };
        // Ignore unreadable entries: they were reported when they came.
        let _ = self.take_in(&page, &mut round.counts, now)?;
        round.at = page.last(round.at);
        round.next = Some(Instant::now() + POLL);
        if page.entries.len() == count {
            return Ok(false);
        }
        // The round has read everything up to here, too.
        follower.read = round.at;
        follower.counts = std::mem::take(&mut round.counts);
        self.end_round(follower, now);
        Ok(true)
    }

    /// Ends a round: entries that it has not shown are missing.
    fn end_round(&self, follower: &mut Follower, now: Millis) {
        follower.missing = self.list.unseen(now);
        if follower.missing.is_empty() {
            follower.missing_since = None;
            self.begin_round(follower, false);
            return;
        }
        follower.round.in_haste = false;
        if follower.missing_since.is_none() {
            follower.missing_since = Some(Instant::now());
            let error = BackendError::new(
                BackendErrorKind::Other,
                format_args!(
                    "{} revocations are missing in redis, and are being restored",
                    follower.missing.len()
                ),
            );
            let events = self.core.events();
            events.report(Event::BackendFailed, Some(&error));
        }
    }

    /// Appends this store's longest session lifetime to the stream, unless an entry will last long
    /// enough.
    async fn tell_lifetime(&self) -> Result<(), BackendError> {
        let (now, longest) = (self.core.now(), self.max_lifetime);
        let beyond = remembered(longest.into());
        let latest = now.plus(longest.into());
        if self.list.lifetime_until(longest) >= latest.plus(beyond / 2) {
            return Ok(());
        }
        let until = latest.plus(beyond);
        let lifetime = Revocation::Lifetime { longest, until };
        self.append(std::slice::from_ref(&lifetime)).await?;
        self.list.put(lifetime);
        Ok(())
    }
}

/// How long an entry may matter if no session lives longer than this.
pub(super) fn kept_for(longest: Duration) -> Duration {
    longest
        .saturating_add(remembered(longest))
        .saturating_add(CLOCK_SKEW + GRACE)
}

/// How long a lifetime is remembered beyond itself.
fn remembered(longest: Duration) -> Duration {
    REMEMBERED.max(longest / 8)
}

//! How a process's list and the stream in Redis become alike.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Inner, POLL, Progress};
use crate::envelope::{Token, os_random};
use crate::error::Refusal;
use crate::event::Event;
use crate::revocation::entry::MAX_TOKEN;
use crate::revocation::{Revocation, RevocationList};
use crate::server::redis::{PAGE, Position};
use crate::server::{BackendError, BackendErrorKind};
use crate::time::Millis;

impl Inner {
    pub(super) fn is_stale(&self, now: Millis) -> bool {
        let current_at = Millis::from_raw(self.current_at.load(Ordering::Relaxed));
        now.since(current_at).max(current_at.since(now)) > self.max_staleness
    }

    pub(super) fn progress<R>(&self, look: impl FnOnce(&mut Progress) -> R) -> R {
        look(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn publish(&self, revocations: &[Revocation]) -> Result<(), BackendError> {
        let mut tokens = Vec::with_capacity(revocations.len());
        for revocation in revocations {
            let (bytes, mut token) = (revocation.encode(), String::new());
            let write = |buffer: &mut Vec<u8>| buffer.extend_from_slice(&bytes);
            self.envelope
                .seal_into(&mut token, bytes.len(), write, &mut os_random)
                .map_err(|error| BackendError::new(BackendErrorKind::Other, error))?;
            tokens.push(token);
        }
        let at = self.feed.append(&tokens).await?;
        self.progress(|progress| progress.latest = progress.latest.max(at));
        Ok(())
    }

    /// Waits for what ends next, for a while.
    pub(super) async fn follow(&self) -> Result<(), BackendError> {
        self.read_all(Some(POLL.min(self.max_staleness / 4))).await
    }

    /// Reads what is new, and puts back what Redis has lost.
    pub(super) async fn read_all(
        &self,
        mut patience: Option<Duration>,
    ) -> Result<(), BackendError> {
        let before = self.progress(|progress| *progress);
        let nothing_yet = before.latest == Position::default();
        let is_whole = nothing_yet || self.feed.has(before.latest).await?;
        let (mut after, mut there) = (before.read, None);
        let (mut is_lossy, mut unreadable) = (before.is_lossy || !is_whole, None);
        if is_lossy {
            after = Position::default();
            patience = None;
            // Only one process at a time compares and puts back, or all would put back the same.
            if self.feed.may_restore().await? {
                there = Some(RevocationList::new());
            }
        }
        loop {
            let now = self.shell.now();
            self.list.tell_time(now);
            let found = match patience.take() {
                Some(patience) => self.feed.wait(after, patience).await?,
                None => self.feed.read(after).await?,
            };
            for (at, token) in &found {
                after = *at;
                match self.opened(token) {
                    Ok(revocation) if self.list.matters(&revocation, now) => {
                        if let Some(there) = &there {
                            there.put(revocation.clone());
                        }
                        self.list.put(revocation);
                    }
                    Ok(_) => {}
                    Err(Refusal::UnknownKey) if self.may_open_later(token) => {
                        // Whoever sealed it has a key that this process is about to hear of: until
                        // it has, the list is not current.
                        return Err(BackendError::new(
                            BackendErrorKind::Unavailable,
                            "an entry of the revocations is under a key that is not known yet",
                        ));
                    }
                    Err(refusal) => unreadable = Some(refusal),
                }
            }
            if found.len() < PAGE {
                self.current_at.store(now.raw(), Ordering::Relaxed);
                break;
            }
        }
        if let Some(refusal) = unreadable {
            let error = BackendError::new(
                BackendErrorKind::Other,
                format_args!("an entry of the revocations is not ours: {refusal}"),
            );
            self.shell
                .events()
                .report(Event::BackendFailed, Some(&error));
        }
        if let Some(there) = there {
            let missing = self.list.beyond(&there, self.shell.now());
            for page in missing.chunks(PAGE) {
                self.publish(page).await?;
            }
            self.feed.is_restored().await?;
            is_lossy = false;
        }
        self.progress(|progress| {
            progress.is_lossy = is_lossy;
            // Otherwise the keys were exchanged, and all is to be read again.
            if progress.read == before.read {
                progress.read = after;
            }
            // Otherwise this process has written since.
            if progress.latest == before.latest {
                progress.latest = after;
            }
        });
        Ok(())
    }

    fn may_open_later(&self, token: &[u8]) -> bool {
        let token = std::str::from_utf8(token).ok();
        let token = token.and_then(|token| Token::parse(token).ok());
        token.is_some_and(|token| self.shell.kept.seek(token.key_id()))
    }

    fn opened(&self, token: &[u8]) -> Result<Revocation, Refusal> {
        let opened = self.envelope.open(token, MAX_TOKEN)?;
        Revocation::decode(&opened.plaintext)
    }
}

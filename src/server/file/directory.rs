//! The operations on a directory of sessions. They get the time as an argument.
//!
//! ```text
//! 91/                      readers share its lock, a writer has it alone
//! 91/91…64 digits…7c       a session, named by the hash of its id
//! 91/new-…32 digits…       a file that is being written, locked by its writer
//! tags/                    the index of each subject's sessions
//! ```
//!
//! Lock order: a thread that has locked a session's directory may lock a directory of tags, never
//! the other way round.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::backend::{Entry, Outcome, StoreKey, Tag, Value};
use super::dir::{self, Dir, Found, try_lock};
use super::format::{self, Content, Header, MAX_VALUE};
use super::tags::{self, shard, shard_of};
use crate::envelope::os_random;
use crate::time::Millis;

pub(super) const UNFINISHED: &str = "new-";

#[derive(Debug)]
pub(super) struct Directory {
    root: Dir,
    path: PathBuf,
}

/// The result of looking up a session's name.
enum There {
    Nothing,
    Session(Content),
    /// Not a session's file. Nothing ever overwrites it.
    Strange,
}

impl Directory {
    /// Opens the directory at a path that may contain links, and creates it if it does not exist.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::at(dir::real_path(path)?)
    }

    /// Opens the directory at the same path again, with the same checks, and follows no link.
    pub(super) fn anew(&self) -> io::Result<Self> {
        Self::at(self.path.clone())
    }

    fn at(path: PathBuf) -> io::Result<Self> {
        let root = Dir::root(&path)?;
        Ok(Self { root, path })
    }

    /// Returns whether this directory is still at the path where it was opened.
    pub(super) fn is_there(&self) -> io::Result<bool> {
        self.root.is_at(&self.path)
    }

    /// Returns the value, expired or not, and its expiry.
    pub(super) fn load(&self, key: &StoreKey) -> io::Result<Option<(Value, Millis)>> {
        let Some(shard) = self.shard(key)? else {
            return Ok(None);
        };
        shard.lock_shared()?;
        let Found::File(file) = shard.file(&key.to_string())? else {
            return Ok(None);
        };
        let content = format::read(&file)?;
        Ok(content.map(Content::into_stored))
    }

    pub(super) fn put(&self, key: &StoreKey, entry: &Entry, now: Millis) -> io::Result<Outcome> {
        let length = entry.value.as_str().len();
        if length > MAX_VALUE {
            let problem =
                format!("a value of {length} bytes is more than the {MAX_VALUE} of a file");
            return Err(io::Error::other(problem));
        }
        let header = Header {
            expires: now.plus(entry.ttl),
            tag: entry.tag,
            sid_tag: entry.sid_tag,
        };
        let shard = self.root.dir_or_new(&shard(key.as_bytes()))?;
        let unfinished = Unfinished::write(&shard, &header, &entry.value)?;
        shard.lock()?;
        let there = match there(&shard, key)? {
            There::Strange => return Ok(Outcome::Conflict),
            There::Nothing => None,
            There::Session(content) => Some(content),
        };
        let alive = there.as_ref().filter(|there| there.header.expires > now);
        let outcome = entry.when.outcome(alive.map(|alive| alive.value.as_str()));
        if outcome == Outcome::Stored {
            // Add the tags first, so that no session is ever without them.
            for tag in entry.tags() {
                tags::ensure(&self.root, &tag, key)?;
            }
            unfinished.finish(key)?;
            let was = there.iter().flat_map(|there| there.header.tags());
            for tag in was.filter(|was| entry.tags().all(|tag| tag != *was)) {
                self.untag(key, &tag);
            }
            shard.unlock()?;
            shard.sync()?;
        }
        Ok(outcome)
    }

    pub(super) fn touch(&self, key: &StoreKey, ttl: Duration, now: Millis) -> io::Result<()> {
        let Some(shard) = self.shard(key)? else {
            return Ok(());
        };
        shard.lock()?;
        if let Found::File(file) = shard.file_to_write(&key.to_string())? {
            let content = format::read_head(&file)?;
            if content.is_some_and(|content| content.header.expires > now) {
                format::write_expiry(&file, now.plus(ttl))?;
            }
        }
        Ok(())
    }

    /// Removes the session, and returns its value, expired or not, and its expiry.
    pub(super) fn remove(&self, key: &StoreKey) -> io::Result<Option<(Value, Millis)>> {
        let Some(shard) = self.shard(key)? else {
            return Ok(None);
        };
        shard.lock()?;
        let content = match shard.file(&key.to_string())? {
            Found::Nothing => return Ok(None),
            Found::Strange => None,
            Found::File(file) => format::read(&file)?,
        };
        match &content {
            None => shard.unlink(&key.to_string())?,
            Some(content) => self.forget(&shard, key, content)?,
        }
        shard.unlock()?;
        shard.sync()?;
        Ok(content.map(Content::into_stored))
    }

    /// Returns up to `at_most` keys in order, starting at `from`, and the key to continue from.
    pub(super) fn keys_from(
        &self,
        from: StoreKey,
        at_most: usize,
    ) -> io::Result<(Vec<StoreKey>, Option<StoreKey>)> {
        for first in first_byte(&from)..=u8::MAX {
            let mut keys = BTreeSet::new();
            if let Some(shard) = self.root.dir(&shard_of(first))? {
                for name in shard.names()? {
                    let key = StoreKey::from_hex(&name?).filter(|key| first_byte(key) == first);
                    keys.extend(key.filter(|key| *key >= from));
                    if keys.len() > at_most + 1 {
                        keys.pop_last();
                    }
                }
            }
            if !keys.is_empty() {
                let next = if keys.len() > at_most {
                    keys.pop_last()
                } else {
                    first.checked_add(1).map(|first| {
                        let mut bytes = [0; 32];
                        bytes[0] = first;
                        StoreKey::from_bytes(bytes)
                    })
                };
                return Ok((keys.into_iter().collect(), next));
            }
        }
        Ok((Vec::new(), None))
    }

    pub(super) fn tagged(&self, tag: &Tag) -> io::Result<Vec<StoreKey>> {
        if !tags::are_there(&self.root)? {
            // Somebody has swept the tags away, or no session has had one yet.
            for first in 0..=u8::MAX {
                self.clean_up(first, Millis::from_raw(0))?;
            }
            tags::make(&self.root)?;
        }
        tags::keys(&self.root, tag)
    }

    /// Removes expired sessions and abandoned files whose names begin with this byte, and returns
    /// the number of sessions removed. Live sessions get their tags back if these were swept away.
    pub(super) fn clean_up(&self, first: u8, now: Millis) -> io::Result<usize> {
        let Some(shard) = self.root.dir(&shard_of(first))? else {
            return Ok(0);
        };
        let mut removed = 0;
        each(shard.names()?, |name| {
            let name = name?;
            if let Some(key) = StoreKey::from_hex(&name) {
                shard.lock()?;
                let outcome = self.look_after(&shard, &key, now);
                shard.unlock()?;
                removed += usize::from(outcome?);
            } else if name.starts_with(UNFINISHED) {
                remove_if_abandoned(&shard, &name)?;
            }
            Ok(())
        })?;
        Ok(removed)
    }

    /// Removes a session that has expired, and returns whether it has. A live one gets its tags
    /// back.
    fn look_after(&self, shard: &Dir, key: &StoreKey, now: Millis) -> io::Result<bool> {
        match there(shard, key)? {
            There::Session(content) if content.header.expires <= now => {
                self.forget(shard, key, &content)?;
                Ok(true)
            }
            There::Session(content) => {
                for tag in content.header.tags() {
                    tags::ensure(&self.root, &tag, key)?;
                }
                Ok(false)
            }
            There::Nothing | There::Strange => Ok(false),
        }
    }

    /// Removes keys without a session from tags that begin with this byte. A process leaves such a
    /// key behind if it ends between two steps.
    pub(super) fn clean_up_tags(&self, first: u8) -> io::Result<()> {
        each(tags::in_shard(&self.root, first)?, |tag| {
            each(tags::keys(&self.root, &tag)?, |key| {
                // A writer creates and locks the session's directory first, so lock it here too.
                let shard = self.root.dir_or_new(&shard(key.as_bytes()))?;
                shard.lock()?;
                let is_tagged = match there(&shard, &key)? {
                    There::Session(content) => content.header.tags().any(|its| its == tag),
                    _ => false,
                };
                if is_tagged {
                    Ok(())
                } else {
                    tags::remove(&self.root, &tag, &key)
                }
            })?;
            tags::remove_if_empty(&self.root, &tag)
        })
    }

    /// Opens the directory for this key's session, if it exists.
    fn shard(&self, key: &StoreKey) -> io::Result<Option<Dir>> {
        self.root.dir(&shard(key.as_bytes()))
    }

    /// Removes the session. The caller has the directory's exclusive lock.
    fn forget(&self, shard: &Dir, key: &StoreKey, content: &Content) -> io::Result<()> {
        shard.unlink(&key.to_string())?;
        for tag in content.header.tags() {
            self.untag(key, &tag);
        }
        Ok(())
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) {
        // A key without a session is harmless, and the clean-up tries again.
        let _ = tags::remove(&self.root, tag, key);
    }
}

/// Does the work for each of them, whether it fails for others or not, and returns the first error.
fn each<T>(
    all: impl IntoIterator<Item = T>,
    mut work: impl FnMut(T) -> io::Result<()>,
) -> io::Result<()> {
    let mut outcome = Ok(());
    for one in all {
        outcome = outcome.and(work(one));
    }
    outcome
}

/// Looks up a session. The caller has locked the directory.
fn there(shard: &Dir, key: &StoreKey) -> io::Result<There> {
    Ok(match shard.file(&key.to_string())? {
        Found::Nothing => There::Nothing,
        Found::Strange => There::Strange,
        Found::File(file) => format::read_head(&file)?.map_or(There::Strange, There::Session),
    })
}

fn first_byte(key: &StoreKey) -> u8 {
    let [first, ..] = *key.as_bytes();
    first
}

/// A session's complete file on the disk, still under a temporary name. Dropping it removes the
/// file.
struct Unfinished<'d> {
    shard: &'d Dir,
    name: String,
    /// Locked, so that others see that its writer is at work.
    file: fs::File,
}

impl<'d> Unfinished<'d> {
    /// Writes the file. Afterwards the directory is unlocked, so that nobody else waits for the
    /// disk.
    fn write(shard: &'d Dir, header: &Header, value: &Value) -> io::Result<Self> {
        let mut random = [0; 16];
        os_random(&mut random).map_err(io::Error::other)?;
        let name = format!("{UNFINISHED}{:032x}", u128::from_ne_bytes(random));
        // The clean-up locks the directory exclusively before it removes abandoned files. This lock
        // keeps it away until the new file has its own lock.
        shard.lock_shared()?;
        let file = shard.create(&name)?;
        let unfinished = Self { shard, name, file };
        try_lock(&unfinished.file)?;
        shard.unlock()?;
        format::write(&unfinished.file, header, value)?;
        unfinished.file.sync_all()?;
        Ok(unfinished)
    }

    /// Renames the file to the session's name, and replaces the current file.
    fn finish(mut self, key: &StoreKey) -> io::Result<()> {
        self.shard.rename(&self.name, &key.to_string())?;
        self.name.clear();
        Ok(())
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // The clean-up removes it if this fails.
            let _ = self.shard.unlink(&self.name);
        }
    }
}

fn remove_if_abandoned(shard: &Dir, name: &str) -> io::Result<()> {
    shard.lock()?;
    if let Found::File(file) = shard.file(name)?
        && try_lock(&file)?
    {
        shard.unlink(name)?;
    }
    shard.unlock()
}

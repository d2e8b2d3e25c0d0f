//! A directory of sessions, as functions of the time they are told.
//!
//! ```text
//! 91/                      readers lock it together, writers alone
//! 91/91…64 digits…7c       a session: the hash of its id
//! 91/new-…32 digits…       one that is being written, locked by whoever writes it
//! tags/                    which sessions belong to one subject
//! ```
//!
//! Whoever has locked a session's directory may lock one of tags, and never the other way round.

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

/// What is under a session's name.
enum There {
    Nothing,
    Session(Content),
    /// Not a session's file. Nothing is ever written over it.
    Strange,
}

impl Directory {
    /// The directory that a path leads to, by links or not; made if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::at(dir::real_path(path)?)
    }

    /// The one that is there now, where this was: with the same checks, and no link is followed.
    pub(super) fn anew(&self) -> io::Result<Self> {
        Self::at(self.path.clone())
    }

    fn at(path: PathBuf) -> io::Result<Self> {
        let root = Dir::root(&path)?;
        Ok(Self { root, path })
    }

    /// Whether this is still where it was opened.
    pub(super) fn is_there(&self) -> io::Result<bool> {
        self.root.is_at(&self.path)
    }

    /// What is there, expired or not, and when it expires.
    pub(super) fn load(&self, key: &StoreKey) -> io::Result<Option<(Value, Millis)>> {
        let Some(shard) = self.shard(key)? else {
            return Ok(None);
        };
        shard.lock_shared()?;
        let Found::File(file) = shard.file(&key.to_string())? else {
            return Ok(None);
        };
        let content = format::read(&file)?;
        Ok(content.map(|content| (Value::new(content.value), content.header.expires)))
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
            let was = there.and_then(|there| there.header.tag);
            // First the tag, so that no session is ever without.
            if let Some(tag) = entry.tag {
                tags::ensure(&self.root, &tag, key)?;
            }
            unfinished.finish(key)?;
            self.untag(key, was.filter(|_| was != entry.tag));
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

    pub(super) fn remove(&self, key: &StoreKey) -> io::Result<Option<Value>> {
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
        Ok(content.map(|content| Value::new(content.value)))
    }

    /// Keys in their order from this one on, at most so many, and the one to go on from.
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
            // Somebody has swept them away, or there never were any.
            for first in 0..=u8::MAX {
                self.clean_up(first, Millis::from_raw(0))?;
            }
            tags::make(&self.root)?;
        }
        tags::keys(&self.root, tag)
    }

    /// Removes, among those whose names begin with this byte, sessions that have expired and
    /// files that nobody finishes any more; tells how many sessions. Those that are alive get
    /// their tags back if these were swept away.
    pub(super) fn clean_up(&self, first: u8, now: Millis) -> io::Result<usize> {
        let Some(shard) = self.root.dir(&shard_of(first))? else {
            return Ok(0);
        };
        let mut removed = 0;
        for name in shard.names()? {
            let name = name?;
            if let Some(key) = StoreKey::from_hex(&name) {
                shard.lock()?;
                match there(&shard, &key)? {
                    There::Session(content) if content.header.expires <= now => {
                        self.forget(&shard, &key, &content)?;
                        removed += 1;
                    }
                    There::Session(content) => {
                        if let Some(tag) = content.header.tag {
                            tags::ensure(&self.root, &tag, &key)?;
                        }
                    }
                    There::Nothing | There::Strange => {}
                }
                shard.unlock()?;
            } else if name.starts_with(UNFINISHED) {
                remove_if_abandoned(&shard, &name)?;
            }
        }
        Ok(removed)
    }

    /// Removes, from tags that begin with this byte, keys without a session, which a process
    /// leaves behind if it ends between two steps.
    pub(super) fn clean_up_tags(&self, first: u8) -> io::Result<()> {
        for tag in tags::in_shard(&self.root, first)? {
            for key in tags::keys(&self.root, &tag)? {
                // Whoever writes the session makes its directory first, and locks that.
                let shard = self.root.dir_or_new(&shard(key.as_bytes()))?;
                shard.lock()?;
                let is_tagged = match there(&shard, &key)? {
                    There::Session(content) => content.header.tag == Some(tag),
                    _ => false,
                };
                if !is_tagged {
                    tags::remove(&self.root, &tag, &key)?;
                }
            }
            tags::remove_if_empty(&self.root, &tag)?;
        }
        Ok(())
    }

    /// The directory in which a session with this key would be.
    fn shard(&self, key: &StoreKey) -> io::Result<Option<Dir>> {
        self.root.dir(&shard(key.as_bytes()))
    }

    /// In a directory that the caller has locked alone.
    fn forget(&self, shard: &Dir, key: &StoreKey, content: &Content) -> io::Result<()> {
        shard.unlink(&key.to_string())?;
        self.untag(key, content.header.tag);
        Ok(())
    }

    fn untag(&self, key: &StoreKey, tag: Option<Tag>) {
        if let Some(tag) = tag {
            // A key without a session does no harm, and the clean-up tries again.
            let _ = tags::remove(&self.root, &tag, key);
        }
    }
}

/// In a directory that the caller has locked.
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

/// A session's file under a name of its own, whole and on the disk. It goes if it is dropped.
struct Unfinished<'d> {
    shard: &'d Dir,
    name: String,
    /// Locked, so that others see that somebody is at it.
    file: fs::File,
}

impl<'d> Unfinished<'d> {
    /// Leaves the directory unlocked: nobody else waits for the disk.
    fn write(shard: &'d Dir, header: &Header, value: &Value) -> io::Result<Self> {
        let mut random = [0; 16];
        os_random(&mut random).map_err(io::Error::other)?;
        let name = format!("{UNFINISHED}{:032x}", u128::from_ne_bytes(random));
        // Whoever removes abandoned files locks the directory alone, and sees no file of which
        // the lock is still to come.
        shard.lock_shared()?;
        let file = shard.create(&name)?;
        let unfinished = Self { shard, name, file };
        try_lock(&unfinished.file)?;
        shard.unlock()?;
        format::write(&unfinished.file, header, value)?;
        unfinished.file.sync_all()?;
        Ok(unfinished)
    }

    /// Gives it the session's name, in the place of what has it now.
    fn finish(mut self, key: &StoreKey) -> io::Result<()> {
        self.shard.rename(&self.name, &key.to_string())?;
        self.name.clear();
        Ok(())
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // What cannot be removed now is left to the clean-up.
            let _ = self.shard.unlink(&self.name);
        }
    }
}

fn remove_if_abandoned(shard: &Dir, name: &str) -> io::Result<()> {
    shard.lock()?;
    if let Found::File(file) = shard.file(name)? {
        if try_lock(&file)? {
            shard.unlink(name)?;
        }
    }
    shard.unlock()
}

//! The index of tags: a directory for each tag, with an empty file for each key that has the tag.
//!
//! ```text
//! tags/3f/3f…64 digits…a0/91…64 digits…7c
//! ```
//!
//! Only a thread that has locked the directory of a session may create or remove its key's files.

use std::io;

use rustix::io::Errno;

use super::super::backend::{StoreKey, Tag};
use super::dir::Dir;

const TAGS: &str = "tags";

/// The first two digits of a key or tag. They name one of 256 directories.
pub(super) fn shard(of: &[u8; 32]) -> String {
    let [first, ..] = of;
    shard_of(*first)
}

pub(super) fn shard_of(first: u8) -> String {
    format!("{first:02x}")
}

pub(super) fn are_there(root: &Dir) -> io::Result<bool> {
    root.has(TAGS)
}

/// Creates the directory of all tags, empty.
pub(super) fn make(root: &Dir) -> io::Result<()> {
    root.dir_or_new(TAGS).map(drop)
}

/// Adds the key to the tag if it is missing, and waits until that is on the disk.
pub(super) fn ensure(root: &Dir, tag: &Tag, key: &StoreKey) -> io::Result<()> {
    let dir = match shard_if_there(root, &shard(tag.as_bytes()))? {
        Some(shard) => shard.dir(&tag.to_string())?,
        None => None,
    };
    match dir {
        Some(dir) if dir.has(&key.to_string())? => Ok(()),
        _ => add(root, tag, key),
    }
}

fn add(root: &Dir, tag: &Tag, key: &StoreKey) -> io::Result<()> {
    let shard = root.dir_or_new(TAGS)?.dir_or_new(&shard(tag.as_bytes()))?;
    // Without the lock, another process could remove the new directory while it is still empty.
    shard.lock()?;
    let dir = shard.dir_or_new(&tag.to_string())?;
    match dir.create(&key.to_string()) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    dir.sync()
}

/// Removes the key from the tag. It does not wait for the disk, because a key that stays is
/// harmless.
pub(super) fn remove(root: &Dir, tag: &Tag, key: &StoreKey) -> io::Result<()> {
    let Some(shard) = shard_if_there(root, &shard(tag.as_bytes()))? else {
        return Ok(());
    };
    let name = tag.to_string();
    shard.lock()?;
    if let Some(dir) = shard.dir(&name)? {
        dir.unlink(&key.to_string())?;
    }
    shard.remove_if_empty(&name)
}

pub(super) fn keys(root: &Dir, tag: &Tag) -> io::Result<Vec<StoreKey>> {
    let Some(shard) = shard_if_there(root, &shard(tag.as_bytes()))? else {
        return Ok(Vec::new());
    };
    let Some(dir) = shard.dir(&tag.to_string())? else {
        return Ok(Vec::new());
    };
    let mut keys = Vec::new();
    for name in dir.names()? {
        keys.extend(StoreKey::from_hex(&name?));
    }
    Ok(keys)
}

/// Removes the tag's directory if it has no keys.
pub(super) fn remove_if_empty(root: &Dir, tag: &Tag) -> io::Result<()> {
    let Some(shard) = shard_if_there(root, &shard(tag.as_bytes()))? else {
        return Ok(());
    };
    shard.lock()?;
    shard.remove_if_empty(&tag.to_string())
}

/// Lists the tags in a shard.
pub(super) fn in_shard(root: &Dir, first: u8) -> io::Result<Vec<Tag>> {
    let Some(shard) = shard_if_there(root, &shard_of(first))? else {
        return Ok(Vec::new());
    };
    let mut tags = Vec::new();
    for name in shard.names()? {
        tags.extend(Tag::from_hex(&name?));
    }
    Ok(tags)
}

fn shard_if_there(root: &Dir, shard: &str) -> io::Result<Option<Dir>> {
    match root.dir(TAGS)? {
        Some(tags) => tags.dir(shard),
        None => Ok(None),
    }
}

//! A small map: a sorted list that allocates nothing while it is empty, and once while it is small.

/// Values under keys, sorted by the keys' bytes.
#[derive(Clone, Debug)]
pub(super) struct Sorted<T>(Vec<(String, T)>);

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Sorted<T> {
    pub(super) fn get(&self, key: &str) -> Option<&T> {
        let at = self.position(key.as_bytes()).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.position(key).is_ok()
    }

    /// Sets the value under `key`, and returns the one before.
    pub(super) fn insert(&mut self, key: &str, value: T) -> Option<T> {
        match self.position(key.as_bytes()) {
            Ok(at) => {
                let (_, present) = self.0.get_mut(at)?;
                Some(std::mem::replace(present, value))
            }
            Err(at) => {
                self.0.insert(at, (key.to_owned(), value));
                None
            }
        }
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<T> {
        let at = self.position(key.as_bytes()).ok()?;
        Some(self.0.remove(at).1)
    }

    #[cfg(feature = "server")]
    pub(super) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.0.retain(|(key, _)| is_kept(key));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> + Clone {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    fn position(&self, key: &[u8]) -> Result<usize, usize> {
        self.0.binary_search_by(|(at, _)| at.as_bytes().cmp(key))
    }
}

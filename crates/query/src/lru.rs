//! A cache bounded by bytes; what was not used for the longest time goes first.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values that are cheap to clone, as many as fit.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    max_bytes: usize,
    state: Mutex<State<K, V>>,
}

#[derive(Debug)]
struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// The entries' keys in the order of their last use.
    order: BTreeMap<u64, K>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    last_use: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Lru<K, V> {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            state: Mutex::new(State {
                entries: HashMap::new(),
                order: BTreeMap::new(),
                uses: 0,
                bytes: 0,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        // What a panic leaves is a cache that is a little off, and no wrong answer.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let state = &mut *self.state();
        state.uses += 1;
        let entry = state.entries.get_mut(key)?;
        if let Some(key) = state.order.remove(&entry.last_use) {
            state.order.insert(state.uses, key);
        }
        entry.last_use = state.uses;
        Some(entry.value.clone())
    }

    /// Keeps a value of about so many bytes. One that alone is more than the bound goes at once.
    pub(crate) fn insert(&self, key: K, value: V, bytes: usize) {
        let state = &mut *self.state();
        state.uses += 1;
        let last_use = state.uses;
        state.order.insert(last_use, key.clone());
        state.bytes += bytes;
        let entry = Entry {
            value,
            bytes,
            last_use,
        };
        if let Some(before) = state.entries.insert(key, entry) {
            state.order.remove(&before.last_use);
            state.bytes -= before.bytes;
        }
        while state.bytes > self.max_bytes
            && let Some((_, oldest)) = state.order.pop_first()
        {
            if let Some(entry) = state.entries.remove(&oldest) {
                state.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let cache: Lru<&str, u32> = Lru::new(10);
        cache.insert("a", 1, 4);
        cache.insert("b", 2, 4);
        assert_eq!(cache.get("a"), Some(1));
        cache.insert("c", 3, 4);
        assert_eq!(
            (cache.get("a"), cache.get("b"), cache.get("c")),
            (Some(1), None, Some(3))
        );
        cache.insert("a", 4, 5);
        assert_eq!((cache.get("a"), cache.get("c")), (Some(4), Some(3)));
        cache.insert("d", 5, 11);
        assert_eq!(
            (cache.get("a"), cache.get("c"), cache.get("d")),
            (None, None, None)
        );
    }
}

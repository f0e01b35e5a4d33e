//! What the catalog said of keys and tenants, believed for a short time.
//!
//! Half of its time over, an entry is asked for again by one of the requests that use it, while the others go on; so a
//! key in use costs the catalog one look-up in seconds, and no request waits for another's. While the catalog does not
//! answer, what it said last holds for the grace.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use logmill_catalog::{Error, Result};
use parking_lot::Mutex;

/// Longest wait for the catalog where an older answer would do.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    entries: Mutex<HashMap<K, Entry<V>>>,
    ttl: Duration,
    grace: Duration,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    loaded: Instant,
    /// Until when nobody else need ask.
    quiet_until: Instant,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(crate) fn new(ttl: Duration, grace: Duration, capacity: usize) -> Self {
        Self {
            entries: Mutex::default(),
            ttl,
            grace: grace.max(ttl),
            capacity: capacity.max(1),
        }
    }

    /// The value of a key: remembered, or as `load` says. What is not there is not remembered.
    pub(crate) async fn get(
        &self,
        key: &K,
        load: impl Future<Output = Result<Option<V>>>,
    ) -> Result<Option<V>> {
        if let Some(value) = self.remembered(key) {
            return Ok(Some(value));
        }
        let loaded = tokio::time::timeout(PATIENCE, load)
            .await
            .unwrap_or_else(|_elapsed| {
                Err(Error::TimedOut {
                    operation: "asking about access",
                    after: PATIENCE,
                })
            });
        match loaded {
            Ok(Some(value)) => {
                self.insert(key, value.clone());
                Ok(Some(value))
            }
            Ok(None) => {
                self.forget(key);
                Ok(None)
            }
            Err(error) => match self.in_grace(key) {
                Some(value) => {
                    tracing::warn!(%error, "the catalog does not answer: what it said last holds");
                    Ok(Some(value))
                }
                None => Err(error),
            },
        }
    }

    /// Whether the key was good lately.
    pub(crate) fn knows(&self, key: &K) -> bool {
        self.entries.lock().contains_key(key)
    }

    /// The next look goes to the catalog.
    pub(crate) fn forget(&self, key: &K) {
        self.entries.lock().remove(key);
    }

    /// A value that need not be asked for; who gets none is the one to ask.
    fn remembered(&self, key: &K) -> Option<V> {
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(key)?;
        let now = Instant::now();
        if now < entry.quiet_until {
            return Some(entry.value.clone());
        }
        entry.quiet_until = entry.loaded + self.ttl;
        None
    }

    fn insert(&self, key: &K, value: V) {
        let now = Instant::now();
        let entry = Entry {
            value,
            loaded: now,
            quiet_until: now + self.ttl / 2,
        };
        let mut entries = self.entries.lock();
        if entries.len() >= self.capacity && !entries.contains_key(key) {
            entries.retain(|_, entry| now < entry.loaded + self.ttl);
            if entries.len() >= self.capacity
                && let Some(any) = entries.keys().next().cloned()
            {
                entries.remove(&any);
            }
        }
        entries.insert(key.clone(), entry);
    }

    /// What was said last, if that is not too long ago; then nobody need ask for a while.
    fn in_grace(&self, key: &K) -> Option<V> {
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(key)?;
        let now = Instant::now();
        if now >= entry.loaded + self.grace {
            return None;
        }
        entry.quiet_until = now + self.ttl / 2;
        Some(entry.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_millis(200);

    fn fails() -> Result<Option<u32>> {
        Err(Error::TimedOut {
            operation: "a test",
            after: PATIENCE,
        })
    }

    #[tokio::test]
    async fn an_answer_is_believed_for_its_time_and_no_longer() {
        let cache = Cache::new(TTL, Duration::ZERO, 10);
        assert_eq!(cache.get(&1, async { Ok(Some(7)) }).await.unwrap(), Some(7));
        assert_eq!(cache.get(&1, async { Ok(Some(8)) }).await.unwrap(), Some(7));
        tokio::time::sleep(TTL).await;
        assert_eq!(cache.get(&1, async { Ok(Some(8)) }).await.unwrap(), Some(8));
        tokio::time::sleep(TTL).await;
        assert_eq!(cache.get(&1, async { Ok(None) }).await.unwrap(), None);
        assert!(!cache.knows(&1));
    }

    #[tokio::test]
    async fn one_asks_again_while_the_others_go_on() {
        let cache = Cache::new(TTL, Duration::ZERO, 10);
        cache.get(&1, async { Ok(Some(7)) }).await.unwrap();
        tokio::time::sleep(TTL * 3 / 5).await;
        let (slow, quick) = tokio::join!(
            cache.get(&1, async {
                tokio::task::yield_now().await;
                Ok(Some(8))
            }),
            cache.get(&1, async { unreachable!("another is asking") }),
        );
        assert_eq!((slow.unwrap(), quick.unwrap()), (Some(8), Some(7)));
    }

    #[tokio::test]
    async fn an_outage_is_bridged_for_the_grace() {
        let cache = Cache::new(TTL, TTL * 3, 10);
        assert!(cache.get(&1, async { fails() }).await.is_err());
        cache.get(&1, async { Ok(Some(7)) }).await.unwrap();
        tokio::time::sleep(TTL).await;
        assert_eq!(cache.get(&1, async { fails() }).await.unwrap(), Some(7));
        tokio::time::sleep(TTL * 2).await;
        assert!(cache.get(&1, async { fails() }).await.is_err());
    }

    #[tokio::test]
    async fn the_table_is_bounded() {
        let cache = Cache::new(TTL, TTL, 3);
        for key in 0..10 {
            cache.get(&key, async { Ok(Some(key)) }).await.unwrap();
        }
        assert_eq!(cache.entries.lock().len(), 3);
        assert!(cache.knows(&9));
    }
}

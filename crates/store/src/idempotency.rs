//! The memory of requests that were answered.

use std::sync::Arc;

use logmill_catalog::IdempotencyRow;
use logmill_model::TenantId;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;

use crate::{Error, Result};

/// A request's key against double storing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The `Idempotency-Key` header.
    pub key: String,
    /// xxh3-128 of the body (and of what else decides the answer), big-endian.
    pub fingerprint: [u8; 16],
}

/// The answer to an append, as the server encoded it; opaque to the store.
pub type Answer = Vec<u8>;

/// What is known of a key.
#[derive(Debug)]
pub enum IdempotencyOutcome {
    /// Nothing: go on, and append with this permit. Other requests with the key wait for it.
    New(IdempotencyPermit),
    /// The request was answered before, with this.
    Replay(Answer),
    /// The key was used for another body.
    Mismatch,
}

/// The right to use a key. Dropped unused, the key is free again.
#[derive(Debug)]
pub struct IdempotencyPermit {
    registry: Arc<Registry>,
    tenant: TenantId,
    key: IdempotencyKey,
    done: bool,
}

/// All keys that are remembered or in use.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: Mutex<FxHashMap<(TenantId, String), Entry>>,
    limit: u64,
}

#[derive(Debug)]
enum Entry {
    /// A request with the key is under way; the semaphore is closed when it is done.
    InFlight(Arc<Semaphore>),
    Done {
        fingerprint: [u8; 16],
        answer: Arc<Answer>,
        received_at_ns: i64,
    },
}

impl Registry {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            limit,
        })
    }

    /// See [`Store::begin_idempotent`](crate::Store::begin_idempotent).
    pub(crate) async fn begin(
        self: &Arc<Self>,
        tenant: &TenantId,
        key: IdempotencyKey,
    ) -> Result<IdempotencyOutcome> {
        loop {
            let under_way = {
                let mut entries = self.entries.lock();
                let length = entries.len() as u64;
                match entries.get(&(tenant.clone(), key.key.clone())) {
                    Some(Entry::InFlight(done)) => done.clone(),
                    Some(Entry::Done { fingerprint, .. }) if *fingerprint != key.fingerprint => {
                        return Ok(IdempotencyOutcome::Mismatch);
                    }
                    Some(Entry::Done { answer, .. }) => {
                        metrics::counter!("logmill_idempotent_replays_total").increment(1);
                        return Ok(IdempotencyOutcome::Replay(answer.as_ref().clone()));
                    }
                    None if length >= self.limit => {
                        return Err(Error::LimitReached {
                            what: "idempotency keys",
                            limit: self.limit,
                        });
                    }
                    None => {
                        let done = Arc::new(Semaphore::new(0));
                        entries.insert((tenant.clone(), key.key.clone()), Entry::InFlight(done));
                        return Ok(IdempotencyOutcome::New(IdempotencyPermit {
                            registry: self.clone(),
                            tenant: tenant.clone(),
                            key,
                            done: false,
                        }));
                    }
                }
            };
            // The semaphore never has a permit: this returns when it is closed.
            let _closed = under_way.acquire().await;
        }
    }

    /// Remembers an answer from the catalog or the log.
    pub(crate) fn restore(&self, row: IdempotencyRow) {
        let entry = Entry::Done {
            fingerprint: row.fingerprint,
            answer: Arc::new(row.answer),
            received_at_ns: row.received_at_ns,
        };
        self.entries.lock().insert((row.tenant, row.key), entry);
    }

    /// Forgets the answers to requests received before.
    pub(crate) fn expire(&self, before_ns: i64) {
        let mut entries = self.entries.lock();
        entries.retain(|_, entry| match entry {
            Entry::InFlight(_) => true,
            Entry::Done { received_at_ns, .. } => *received_at_ns >= before_ns,
        });
        #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("logmill_idempotency_keys").set(entries.len() as f64);
    }
}

impl IdempotencyPermit {
    pub(crate) fn key(&self) -> &str {
        &self.key.key
    }

    pub(crate) const fn fingerprint(&self) -> [u8; 16] {
        self.key.fingerprint
    }

    /// The row that carries the answer through the log into the catalog.
    pub(crate) fn row(&self, answer: Answer, received_at_ns: i64) -> IdempotencyRow {
        IdempotencyRow {
            tenant: self.tenant.clone(),
            key: self.key.key.clone(),
            fingerprint: self.key.fingerprint,
            answer,
            received_at_ns,
        }
    }

    /// The request is durable: remembers its answer, and lets those that wait have it.
    pub(crate) fn complete(mut self, answer: Answer, received_at_ns: i64) {
        self.done = true;
        let entry = Entry::Done {
            fingerprint: self.key.fingerprint,
            answer: Arc::new(answer),
            received_at_ns,
        };
        let before = self.registry.entries.lock().insert(self.entry_key(), entry);
        wake(before);
    }

    fn entry_key(&self) -> (TenantId, String) {
        (self.tenant.clone(), self.key.key.clone())
    }
}

impl Drop for IdempotencyPermit {
    fn drop(&mut self) {
        if !self.done {
            let before = self.registry.entries.lock().remove(&self.entry_key());
            wake(before);
        }
    }
}

fn wake(entry: Option<Entry>) {
    if let Some(Entry::InFlight(done)) = entry {
        done.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fingerprint: u8) -> IdempotencyKey {
        IdempotencyKey {
            key: "k".to_owned(),
            fingerprint: [fingerprint; 16],
        }
    }

    #[tokio::test]
    async fn a_second_request_waits_for_the_first() {
        let registry = Registry::new(10);
        let tenant = TenantId::default_tenant();
        let IdempotencyOutcome::New(permit) = registry.begin(&tenant, key(1)).await.unwrap() else {
            panic!("the key is new")
        };
        let waiting = {
            let (registry, tenant) = (registry.clone(), tenant.clone());
            tokio::spawn(async move { registry.begin(&tenant, key(1)).await.unwrap() })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        permit.complete(b"answer".to_vec(), 5);
        let outcome = waiting.await.unwrap();
        assert!(matches!(outcome, IdempotencyOutcome::Replay(answer) if answer == b"answer"));
        let other = registry.begin(&tenant, key(2)).await.unwrap();
        assert!(matches!(other, IdempotencyOutcome::Mismatch));
        registry.expire(6);
        let again = registry.begin(&tenant, key(2)).await.unwrap();
        assert!(matches!(again, IdempotencyOutcome::New(_)));
    }

    #[tokio::test]
    async fn a_failed_request_frees_its_key() {
        let registry = Registry::new(1);
        let tenant = TenantId::default_tenant();
        let first = registry.begin(&tenant, key(1)).await.unwrap();
        let other = IdempotencyKey {
            key: "other".to_owned(),
            fingerprint: [0; 16],
        };
        let full = registry.begin(&tenant, other).await;
        assert!(matches!(full, Err(Error::LimitReached { limit: 1, .. })));
        drop(first);
        let again = registry.begin(&tenant, key(2)).await.unwrap();
        assert!(matches!(again, IdempotencyOutcome::New(_)));
    }
}

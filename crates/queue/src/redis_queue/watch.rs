//! Looks at Redis from time to time: its configuration, its memory, how much waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use logmill_retry::RetryPolicy;
use parking_lot::RwLock;
use redis::{RedisResult, Value};
use serde::Serialize;

use super::connection::Live;
use super::facts::{Facts, read_info};
use super::{Durability, Inner, RedisOptions};
use crate::{Error, FullReason, QueueStatus, Result, Sequence};

/// Nodes of a stream that are measured to estimate its memory.
const MEMORY_SAMPLES: u32 = 5;

/// What only a queue in Redis has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RedisStatus {
    /// Redis's version.
    pub version: String,
    /// What the settings demand of its configuration.
    pub durability_demanded: Durability,
    /// What its configuration promises; `None` when it does not say.
    pub durability: Option<Durability>,
    /// Replicas that are connected to it.
    pub replicas: u64,
    /// Replicas that have to confirm an entry.
    pub wait_replicas: u32,
    /// Bytes of memory it uses.
    pub memory_bytes: u64,
    /// Its `maxmemory`; 0: no limit.
    pub memory_max_bytes: u64,
    /// Entries in all partitions: those that wait, and those consumed a moment ago.
    pub entries: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Which bound is reached, so that appends are refused as full.
    pub full: Option<String>,
}

/// What was seen last, and what was appended since.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: RwLock<Seen>,
    /// Payload bytes that this process appended to each partition since.
    appended: Vec<AtomicU64>,
    /// The largest sequence that this process knows of.
    last: AtomicU64,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    facts: Facts,
    /// Why Redis was not seen this time, or is not fit.
    failure: Option<String>,
    /// Why nothing is appended, though Redis would do it.
    unfit: Option<String>,
}

impl Watch {
    pub(crate) fn new(partitions: u32) -> Self {
        Self {
            seen: RwLock::new(Seen {
                at: Instant::now(),
                facts: Facts::default(),
                failure: None,
                unfit: None,
            }),
            appended: (0..partitions).map(|_| AtomicU64::new(0)).collect(),
            last: AtomicU64::new(0),
        }
    }

    /// Redis's clock now, milliseconds since 1970.
    pub(crate) fn redis_now_ms(&self) -> u64 {
        let seen = self.seen.read();
        let since = u64::try_from(seen.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        seen.facts.clock_ms.saturating_add(since)
    }

    /// Whether an append may be tried: Redis is fit and has room, as far as is known.
    pub(crate) fn admit(&self, partition: u32, options: &RedisOptions) -> Result<()> {
        let seen = self.seen.read();
        if let Some(unfit) = &seen.unfit {
            return Err(Error::Unfit(unfit.clone()));
        }
        let full = self.memory_full(&seen, options);
        match full.or_else(|| self.partition_full(&seen, partition, options)) {
            Some(reason) => Err(Error::Full(reason)),
            None => Ok(()),
        }
    }

    fn memory_full(&self, seen: &Seen, options: &RedisOptions) -> Option<FullReason> {
        let since: u64 = self
            .appended
            .iter()
            .map(|bytes| bytes.load(Ordering::Relaxed))
            .sum();
        let used = seen.facts.memory_bytes.saturating_add(since);
        let limit = seen.facts.memory_max_bytes / 100 * u64::from(options.memory_max_percent);
        (limit > 0 && used >= limit).then_some(FullReason::Memory { used, limit })
    }

    fn partition_full(
        &self,
        seen: &Seen,
        partition: u32,
        options: &RedisOptions,
    ) -> Option<FullReason> {
        let at = partition as usize;
        let since = self.appended.get(at)?.load(Ordering::Relaxed);
        let bytes = seen.facts.partition_bytes.get(at)?.saturating_add(since);
        let limit = options.partition_max_bytes;
        (bytes >= limit).then_some(FullReason::Bytes {
            partition,
            bytes,
            limit,
        })
    }

    /// An entry was appended.
    pub(crate) fn appended(&self, partition: u32, sequence: Sequence, bytes: u64) {
        self.last.fetch_max(sequence.0, Ordering::Relaxed);
        if let Some(appended) = self.appended.get(partition as usize) {
            appended.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// A sequence was seen.
    pub(crate) fn saw(&self, sequence: Sequence) {
        self.last.fetch_max(sequence.0, Ordering::Relaxed);
    }

    pub(crate) fn status(&self, options: &RedisOptions) -> QueueStatus {
        let seen = self.seen.read();
        let facts = &seen.facts;
        let partitions = 0..u32::try_from(self.appended.len()).unwrap_or(u32::MAX);
        let full = self.memory_full(&seen, options).or_else(|| {
            partitions
                .into_iter()
                .find_map(|partition| self.partition_full(&seen, partition, options))
        });
        QueueStatus {
            failure: seen.failure.clone(),
            next_sequence: Sequence(self.last.load(Ordering::Relaxed)).next(),
            bytes: facts.partition_bytes.iter().sum(),
            files: 0,
            redis: Some(RedisStatus {
                version: facts.version.clone(),
                durability_demanded: options.durability,
                durability: facts.durability(),
                replicas: facts.replicas,
                wait_replicas: options.wait_replicas,
                memory_bytes: facts.memory_bytes,
                memory_max_bytes: facts.memory_max_bytes,
                entries: facts.entries,
                dead_letters: facts.dead_letters,
                full: full.map(|reason| reason.to_string()),
            }),
        }
    }

    fn failed(&self, error: &Error) {
        self.seen.write().failure = Some(error.to_string());
    }

    fn see(&self, facts: Facts, options: &RedisOptions) -> Result<()> {
        let unfit = facts.check(options).err();
        let failure = match &unfit {
            Some(reason) => Some(Error::Unfit(reason.clone()).to_string()),
            None if facts.is_replica => {
                Some("Redis is a replica, which takes no entries".to_owned())
            }
            None => None,
        };
        report(&facts);
        *self.seen.write() = Seen {
            at: Instant::now(),
            facts,
            failure,
            unfit: unfit.clone(),
        };
        // What was appended while Redis was being asked may be forgotten here; the next look finds it.
        for appended in &self.appended {
            appended.store(0, Ordering::Relaxed);
        }
        unfit.map_or(Ok(()), |reason| Err(Error::Unfit(reason)))
    }
}

impl Inner {
    /// Looks at Redis now; an error if it is not there or not fit.
    pub(crate) async fn look(&self) -> Result<()> {
        self.look_within(&self.options.retry).await
    }

    async fn look_within(&self, retry: &RetryPolicy) -> Result<()> {
        let asked = self
            .link
            .call_within(retry, "looking at Redis", |live| self.ask(live));
        match asked.await {
            Ok(facts) => self.watch.see(facts, &self.options),
            Err(error) => {
                self.watch.failed(&error);
                Err(error)
            }
        }
    }

    async fn ask(&self, mut live: Live) -> RedisResult<Facts> {
        let mut questions = redis::pipe();
        questions.cmd("TIME").cmd("INFO");
        questions.cmd("CONFIG").arg("GET").arg("appendfsync");
        questions.cmd("XLEN").arg(self.keys.dead());
        for partition in 0..self.partitions {
            let stream = self.keys.stream(partition);
            questions.cmd("XLEN").arg(&stream);
            questions
                .cmd("MEMORY")
                .arg("USAGE")
                .arg(&stream)
                .arg("SAMPLES")
                .arg(MEMORY_SAMPLES);
        }
        let count = 4 + 2 * self.partitions as usize;
        // Answers are taken apart one by one: a managed Redis may refuse CONFIG or MEMORY and answer the rest.
        let answers = live
            .connection
            .send_packed_commands(&questions, 0, count)
            .await?;
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let (seconds, micros): (u64, u64) = redis::from_redis_value(next().extract_error()?)?;
        let info: String = redis::from_redis_value(next().extract_error()?)?;
        let append_fsync = next();
        let append_fsync = redis::from_redis_value::<HashMap<String, String>>(append_fsync);
        let mut facts = Facts {
            clock_ms: seconds * 1_000 + micros / 1_000,
            append_fsync: append_fsync
                .ok()
                .and_then(|mut config| config.remove("appendfsync")),
            dead_letters: redis::from_redis_value(next().extract_error()?)?,
            ..read_info(&info)
        };
        for _ in 0..self.partitions {
            facts.entries += redis::from_redis_value::<u64>(next().extract_error()?)?;
            let bytes = redis::from_redis_value::<Option<u64>>(next());
            facts
                .partition_bytes
                .push(bytes.ok().flatten().unwrap_or(0));
        }
        Ok(facts)
    }
}

/// Looks again and again, until the queue is gone.
async fn keep_watching(inner: Weak<Inner>) {
    loop {
        let interval = match inner.upgrade() {
            Some(inner) => Duration::from_millis(inner.options.watch_interval_ms),
            None => return,
        };
        tokio::time::sleep(interval).await;
        let Some(inner) = inner.upgrade() else { return };
        let before = inner.watch.seen.read().failure.clone();
        // Twice: a connection that was closed while it was idle says nothing, and a Redis that is gone is to be known soon.
        let retry = RetryPolicy {
            tries_max: 2,
            ..inner.options.retry
        };
        let failure = inner
            .look_within(&retry)
            .await
            .err()
            .map(|error| error.to_string());
        match (before, failure) {
            (None, Some(reason)) => tracing::warn!(reason, "the queue in Redis does not work"),
            (Some(_), None) => tracing::info!("the queue in Redis works again"),
            _ => {}
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; below 2^53 it is exact"
)]
fn report(facts: &Facts) {
    metrics::gauge!("logmill_queue_entries").set(facts.entries as f64);
    metrics::gauge!("logmill_queue_bytes").set(facts.partition_bytes.iter().sum::<u64>() as f64);
    metrics::gauge!("logmill_redis_memory_bytes").set(facts.memory_bytes as f64);
    metrics::gauge!("logmill_redis_memory_max_bytes").set(facts.memory_max_bytes as f64);
    metrics::gauge!("logmill_dead_letters").set(facts.dead_letters as f64);
}

/// A watch for a queue; it ends with the queue.
pub(crate) fn start(inner: &Arc<Inner>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(keep_watching(Arc::downgrade(inner)))
}

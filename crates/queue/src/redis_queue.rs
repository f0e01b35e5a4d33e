//! The queue in Redis Streams: one stream a partition, no consumer groups.
//!
//! Any process appends, any process reads; how far a partition is consumed is kept by the consumer, in the catalog, and never
//! here. An append is one script call that is repeated until its outcome is known, and carries a token, so that an entry is
//! there once however often it was tried. `docs/queue.md` has keys, scripts and what happens when Redis dies.
//!
//! One Redis with its replicas, not Redis Cluster: a read spans partitions.

mod append;
mod buckets;
mod connection;
mod dead_letters;
mod facts;
mod keys;
mod options;
mod reader;
mod scripts;
mod values;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use redis::{Client, Value};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use self::append::Replicas;
use self::connection::Link;
use self::keys::Keys;
use self::scripts::Script;
use self::watch::Watch;
use crate::{Appended, Entry, Error, OnDurable, Queue, QueueStatus, Result, Sequence};

pub use self::buckets::BucketBounds;
pub use self::dead_letters::{DeadLetter, DeadLetterSummary};
pub use self::options::{Durability, RedisOptions};
pub use self::reader::{ReadEntry, ReadLimits, RedisReader};
pub use self::watch::RedisStatus;

/// A queue in Redis.
pub struct RedisQueue {
    inner: Arc<Inner>,
    watching: JoinHandle<()>,
}

/// What the queue, its appends and its readers share.
pub(crate) struct Inner {
    options: RedisOptions,
    partitions: u32,
    keys: Keys,
    client: Client,
    link: Link,
    watch: Watch,
    replicas: Replicas,
    pending: Arc<Semaphore>,
    pending_permits: u32,
    closed: AtomicBool,
}

/// What is remembered of a client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRequest {
    /// Hash of what was sent.
    pub fingerprint: [u8; 16],
    /// What was answered.
    pub answer: Vec<u8>,
}

impl RedisQueue {
    /// Connects to `redis://` or `rediss://` (TLS) and refuses a Redis that is not fit: too old, less durable than demanded, or one
    /// that would evict entries. `partitions`: how many there are, numbered from 0.
    pub async fn open(url: &str, options: RedisOptions, partitions: u32) -> Result<Self> {
        options.check()?;
        let client = connection::client(url, &options)?;
        let link = Link::for_calls(client.clone(), &options);
        let permits = u32::try_from(options.pending_max_bytes).unwrap_or(u32::MAX);
        let permits = permits.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        let inner = Arc::new(Inner {
            keys: Keys {
                prefix: options.prefix.clone(),
            },
            client,
            link,
            watch: Watch::new(partitions),
            replicas: Replicas::default(),
            pending: Arc::new(Semaphore::new(permits as usize)),
            pending_permits: permits,
            closed: AtomicBool::new(false),
            options,
            partitions,
        });
        inner.look().await?;
        let watching = watch::start(&inner);
        Ok(Self { inner, watching })
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u32 {
        self.inner.partitions
    }

    /// Whether an append waits for replicas to confirm it.
    pub fn waits_for_replicas(&self) -> bool {
        self.inner.options.wait_replicas > 0
    }

    /// A reader with a connection of its own.
    pub fn reader(&self) -> RedisReader {
        RedisReader::new(self.inner.clone())
    }

    /// What is remembered of a client's request, to be asked before the work of decoding is done. That nothing is known now does
    /// not mean that the append will find it new. With `wait_replicas`, append a known request all the same: only that waits for them.
    pub async fn find_request(
        &self,
        partition: u32,
        scope: &str,
        key: &str,
    ) -> Result<Option<KnownRequest>> {
        self.inner.check_partition(partition)?;
        let key = self.inner.keys.request(partition, scope, key);
        let mut command = redis::cmd("GET");
        command.arg(&key);
        match self
            .inner
            .link
            .command("looking for a request", &command)
            .await?
        {
            Value::Nil => Ok(None),
            known => append::known_request(&key, known).map(Some),
        }
    }

    /// The position of the last entry that was ever appended to a partition, also when it is gone; `None` before the first one.
    pub async fn last_sequence(&self, partition: u32) -> Result<Option<Sequence>> {
        self.inner.check_partition(partition)?;
        let stream = self.inner.keys.stream(partition);
        let command = self.inner.link.script(Script::Last, &[&stream]);
        let id = self
            .inner
            .link
            .command("looking for the last entry", &command)
            .await?;
        let last = keys::sequence(&stream, &values::bytes(&stream, id)?)?;
        self.inner.watch.saw(last);
        Ok((last != Sequence(0)).then_some(last))
    }

    /// Makes sure that new entries of a partition come at `sequence` (its watermark) or behind; to be called by whoever begins to consume it.
    ///
    /// It is so anyway, unless Redis lost entries *and* its clock is behind: then new entries would come before the watermark and
    /// be taken for consumed. Returns how many entries the stream held when it was behind, `None` if it was not: they are older than
    /// the watermark and will not be read.
    pub async fn advance_to(&self, partition: u32, sequence: Sequence) -> Result<Option<u64>> {
        self.inner.check_partition(partition)?;
        let stream = self.inner.keys.stream(partition);
        let mut command = self.inner.link.script(Script::Advance, &[&stream]);
        command.arg(keys::id_before(sequence));
        match self
            .inner
            .link
            .command("advancing a partition", &command)
            .await?
        {
            Value::Int(entries) => Ok(u64::try_from(entries).ok()),
            _ => Ok(None),
        }
    }

    /// The entries that a partition holds.
    pub async fn length(&self, partition: u32) -> Result<u64> {
        self.inner.check_partition(partition)?;
        let mut command = redis::cmd("XLEN");
        command.arg(self.inner.keys.stream(partition));
        let length = self
            .inner
            .link
            .command("counting entries", &command)
            .await?;
        match length {
            Value::Int(length) => Ok(u64::try_from(length).unwrap_or(0)),
            _ => Ok(0),
        }
    }

    /// Looks at Redis now instead of within `watch_interval_ms`; an error if it is not there or not fit.
    pub async fn check(&self) -> Result<()> {
        self.inner.look().await
    }
}

#[async_trait]
impl Queue for RedisQueue {
    fn remembers_requests(&self) -> bool {
        true
    }

    async fn append(&self, entry: Entry, on_durable: OnDurable) -> Result<Appended> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        // A task of its own: an append whose caller went away must still come to its end.
        let appending = tokio::spawn(self.inner.clone().append(entry, on_durable));
        appending.await.unwrap_or(Err(Error::Closed))
    }

    async fn truncate_before(&self, partition: u32, sequence: Sequence) -> Result<()> {
        self.inner.check_partition(partition)?;
        let mut command = redis::cmd("XTRIM");
        command
            .arg(self.inner.keys.stream(partition))
            .arg("MINID")
            .arg(keys::id(sequence));
        self.inner
            .link
            .command("letting go of entries", &command)
            .await?;
        Ok(())
    }

    fn status(&self) -> QueueStatus {
        self.inner.watch.status(&self.inner.options)
    }

    async fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
        // The semaphore is fair: when all permits are here, every append before has ended.
        let all = self
            .inner
            .pending
            .acquire_many(self.inner.pending_permits)
            .await;
        drop(all);
        self.inner.pending.close();
        self.watching.abort();
    }
}

impl Drop for RedisQueue {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Inner {
    fn check_partition(&self, partition: u32) -> Result<()> {
        let partitions = self.partitions;
        if partition < partitions {
            return Ok(());
        }
        Err(Error::NoPartition {
            partition,
            partitions,
        })
    }
}

impl fmt::Debug for RedisQueue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client: its address may have a password in it.
        formatter
            .debug_struct("RedisQueue")
            .field("options", &self.inner.options)
            .field("partitions", &self.inner.partitions)
            .finish_non_exhaustive()
    }
}

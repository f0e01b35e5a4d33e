//! What a producer needs of either queue.

use std::fmt;

use async_trait::async_trait;
use serde::Serialize;

use crate::{RedisStatus, Result};

/// Position of an entry in its partition. It only grows; a consumer may take it for a number and nothing else.
///
/// In a [`LocalLog`](crate::LocalLog): 0, 1, 2, … without holes. In a [`RedisQueue`](crate::RedisQueue): Redis's own id
/// `<ms>-<n>` packed as `ms << 20 | n`, which has holes, and goes on growing after Redis was emptied.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize,
)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The first position behind this one: where to read on, and the watermark once this one is consumed.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Runs once the entry is durable, before `append` answers, also when the future of `append` was dropped.
///
/// In a [`LocalLog`](crate::LocalLog) it runs on the log's own thread, in the order of sequences, so it is the place where an
/// entry becomes visible to readers. In a [`RedisQueue`](crate::RedisQueue), which other processes append to as well, the order of
/// callbacks says nothing; the order of entries is that in which they are read. It must be short and must not block.
pub type OnDurable = Box<dyn FnOnce(Sequence) + Send>;

/// A batch to append.
pub struct Entry {
    /// The partition, from 0 on; a [`LocalLog`](crate::LocalLog) has only 0.
    pub partition: u32,
    /// Opaque to the queue.
    pub payload: Vec<u8>,
    /// The client's request, when it named one: the queue then takes the entry once however often it comes.
    pub request: Option<Request>,
    /// Where the append belongs in a trace, as text that whoever reads the entry understands. A queue that only its own process
    /// reads does not keep it.
    pub trace: Option<String>,
}

impl Entry {
    /// An entry without a request of a client.
    pub const fn new(partition: u32, payload: Vec<u8>) -> Self {
        Self {
            partition,
            payload,
            request: None,
            trace: None,
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            payload,
            request,
            trace,
        } = self;
        formatter
            .debug_struct("Entry")
            .field("partition", partition)
            .field("payload_bytes", &payload.len())
            .field("request", request)
            .field("trace", trace)
            .finish()
    }
}

/// A request that its client may send again, by the key that the client gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whose key: the tenant. Equal keys of two scopes have nothing to do with each other.
    pub scope: String,
    /// The `Idempotency-Key`.
    pub key: String,
    /// Hash of what was sent, to find out a key that is used for something else.
    pub fingerprint: [u8; 16],
    /// What to answer when the request comes again; opaque to the queue.
    pub answer: Vec<u8>,
}

/// What became of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The entry is durable, at this position.
    New(Sequence),
    /// The request was appended before; this is its answer. Nothing was appended, `on_durable` did not run.
    Replayed(Vec<u8>),
    /// The key was used for something else before. Nothing was appended, `on_durable` did not run.
    KeyReused,
}

/// What a queue says of itself, from memory: asking costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueStatus {
    /// Why the queue refuses to append, if it does for good (a failed fsync) or for now (a full disk, no Redis).
    pub failure: Option<String>,
    /// The sequence that the next entry of a [`LocalLog`](crate::LocalLog) gets; of a Redis, one behind the last one known.
    pub next_sequence: Sequence,
    /// Bytes of the entries: on disk, or in Redis's memory.
    pub bytes: u64,
    /// Files on disk; 0 in Redis.
    pub files: u64,
    /// What only a queue in Redis has to say.
    pub redis: Option<RedisStatus>,
}

/// A durable queue, as its producers see it, and those who let go of what is consumed.
///
/// How entries come back differs: a log replays them when it is opened, before anything is appended
/// ([`LocalLog::open`](crate::LocalLog::open)); Redis is read at any time by any process
/// ([`RedisReader`](crate::RedisReader)).
#[async_trait]
pub trait Queue: Send + Sync + fmt::Debug {
    /// Whether [`Entry::request`] is understood. Where it is not, such entries are refused as
    /// [`Unsupported`](crate::Error::Unsupported) and the caller remembers requests itself.
    fn remembers_requests(&self) -> bool;

    /// Appends an entry; done when it is durable and `on_durable` has run.
    ///
    /// Once first polled, dropping the future changes nothing: the entry is appended (or given up for the queue's own
    /// reasons), and `on_durable` runs.
    async fn append(&self, entry: Entry, on_durable: OnDurable) -> Result<Appended>;

    /// Lets go of the entries of a partition before `sequence`; a log keeps some of them longer.
    async fn truncate_before(&self, partition: u32, sequence: Sequence) -> Result<()>;

    /// What the queue says of itself.
    fn status(&self) -> QueueStatus;

    /// Brings the appends under way to their end, then refuses further ones as [`Closed`](crate::Error::Closed).
    async fn close(&self);
}

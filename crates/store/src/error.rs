//! What can go wrong in the store.

use logmill_model::ErrorKind;

/// The result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The durable queue failed.
    #[error(transparent)]
    Queue(#[from] logmill_queue::Error),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] logmill_catalog::Error),
    /// A segment could not be written or read.
    #[error(transparent)]
    Segment(#[from] logmill_segment::Error),
    /// The object store failed.
    #[error("object store: {operation} {path}: {source}")]
    Object {
        /// What was tried.
        operation: &'static str,
        /// On which object.
        path: String,
        /// Why not.
        source: object_store::Error,
    },
    /// A setting of the object storage makes no sense.
    #[error("object_storage.{setting}: {reason}")]
    ObjectStorage {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it; never a secret.
        reason: String,
    },
    /// The memtable's budget is used up until the next flush is done.
    #[error("the memtable holds {used} of {limit} bytes; retry when the running flush is done")]
    MemtableFull {
        /// Bytes held.
        used: u64,
        /// The budget.
        limit: u64,
    },
    /// Flushes make segments faster than compaction merges them.
    #[error("{debt} segments wait for compaction, more than {limit}; retry when it has caught up")]
    CompactionBehind {
        /// Segments that wait.
        debt: u64,
        /// The bound.
        limit: u64,
    },
    /// A batch alone is more than the memtable ever holds.
    #[error(
        "the records take {bytes} bytes in memory; the memtable holds {limit}: send smaller batches"
    )]
    BatchTooLarge {
        /// What the batch takes.
        bytes: u64,
        /// The budget.
        limit: u64,
    },
    /// One more tenant or idempotency key than the bound.
    #[error("{what}: the limit of {limit} is reached")]
    LimitReached {
        /// What there are too many of.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// The workers did not bring everything into segments in time.
    #[error("partitions {partitions} were not flushed within {after:?}: is there a worker?")]
    NotFlushed {
        /// Which.
        partitions: String,
        /// How long that was waited for.
        after: std::time::Duration,
    },
    /// A row of the table does not read back as what was written.
    #[error("a row of log_entries: {0}")]
    Row(String),
    /// A payload of the queue does not decode.
    #[error("queue payload: {0}")]
    Payload(String),
    /// The store is shutting down.
    #[error("the store is shutting down")]
    Closed,
    /// The operating system refused.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A bug of ours.
    #[error("internal: {0}")]
    Internal(String),
}

impl Error {
    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Queue(source) => source.kind(),
            Self::Catalog(source) => source.kind(),
            Self::Segment(source) => source.kind(),
            Self::Object { .. } | Self::Io { .. } | Self::NotFlushed { .. } => {
                ErrorKind::Unavailable
            }

            Self::ObjectStorage { .. } => ErrorKind::Invalid,
            Self::BatchTooLarge { .. } => ErrorKind::TooLarge,
            Self::MemtableFull { .. }
            | Self::CompactionBehind { .. }
            | Self::LimitReached { .. } => ErrorKind::Overloaded,
            Self::Payload(_) | Self::Row(_) => ErrorKind::Corrupt,
            Self::Closed => ErrorKind::Closed,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }
}

//! What can go wrong with the queue.

use std::path::PathBuf;

use logmill_model::ErrorKind;

/// The result of a queue operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the queue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{operation} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Bytes in the middle of the log are not what was written.
    #[error("{path} is damaged at byte {offset}: {detail}; intact entries follow it, so it is not a torn tail. \
             `logmill doctor --data-dir DIR` shows what is lost and `--repair` sets it aside", path = path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong there.
        detail: String,
    },
    /// An earlier fsync failed, so nothing more can be promised until a restart.
    #[error("the write-ahead log is poisoned: {0}; restart after checking the disk")]
    Poisoned(String),
    /// The disk, or a quota of it, is full. Nothing was written; a later entry may be taken.
    #[error("no space left for the write-ahead log: {0}")]
    DiskFull(String),
    /// The system refused a write for another reason. Nothing was written; a later entry may be taken.
    #[error("the write-ahead log cannot be written: {0}")]
    WriteFailed(String),
    /// The payload is longer than one entry may be.
    #[error("an entry of {bytes} bytes is longer than the limit of {limit}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The queue is shut down.
    #[error("the queue is closed")]
    Closed,
    /// The queue takes nothing more until its consumers have let go of something. Nothing was appended.
    #[error("the queue is full: {0}; retry when it has been worked off")]
    Full(FullReason),
    /// Redis does not do what it was asked, also after retries. Whether an append came through is unknown unless
    /// Redis refused it; appending again with the same [`Request`](crate::Request) is safe.
    #[error("Redis: {operation}: {source}")]
    Redis {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: redis::RedisError,
    },
    /// Redis has the entry, but fewer replicas than demanded confirmed it in time. Appending again with the same
    /// [`Request`](crate::Request) is safe: it waits for the replicas anew.
    #[error("{confirmed} of {wanted} replicas confirmed the entry in time")]
    TooFewReplicas {
        /// Replicas that have it.
        confirmed: u64,
        /// Replicas that should.
        wanted: u64,
    },
    /// Redis came to an append only after its deadline and left it alone. Nothing was appended.
    #[error("Redis came to the append only after its deadline")]
    Late,
    /// Redis answers, but its version or its configuration is such that nothing can be promised.
    #[error("this Redis will not do: {0}")]
    Unfit(String),
    /// A setting makes no sense.
    #[error("queue settings: {0}")]
    Settings(String),
    /// There is no such partition.
    #[error("partition {partition} is not one of {partitions}")]
    NoPartition {
        /// The one that was named.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// A value in Redis is not one that Logmill wrote.
    #[error("{key} in Redis: {detail}")]
    Foreign {
        /// Its key.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The caller asked a queue for what this kind of queue does not do.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Another process has the directory.
    #[error("{path} is in use by another process", path = path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The consumer of replayed entries refused one.
    #[error("entry {sequence} of {path} cannot be replayed: {detail}", path = path.display())]
    Replay {
        /// The file.
        path: PathBuf,
        /// The entry.
        sequence: u64,
        /// Why.
        detail: String,
    },
}

impl Error {
    /// What the caller should do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. }
            | Self::Poisoned(_)
            | Self::DiskFull(_)
            | Self::WriteFailed(_)
            | Self::Locked { .. } => ErrorKind::Unavailable,
            Self::Corrupt { .. } | Self::Replay { .. } => ErrorKind::Corrupt,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Full(_) => ErrorKind::Overloaded,
            Self::Redis { .. } | Self::TooFewReplicas { .. } | Self::Late | Self::Unfit(_) => {
                ErrorKind::Unavailable
            }
            Self::Settings(_) => ErrorKind::Invalid,
            Self::Foreign { .. } => ErrorKind::Corrupt,
            Self::NoPartition { .. } | Self::Unsupported(_) => ErrorKind::Internal,
            Self::Closed => ErrorKind::Closed,
        }
    }
}

/// Which bound of a queue is reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FullReason {
    /// Too many entries of a partition wait.
    #[error("{entries} entries of partition {partition} wait, the limit is {limit}")]
    Entries {
        /// The partition.
        partition: u32,
        /// Entries that wait.
        entries: u64,
        /// The limit.
        limit: u64,
    },
    /// The entries of a partition take too much memory.
    #[error("the entries of partition {partition} take {bytes} bytes, the limit is {limit}")]
    Bytes {
        /// The partition.
        partition: u32,
        /// What they take.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Redis has little memory left.
    #[error("Redis uses {used} of {limit} bytes of memory")]
    Memory {
        /// Bytes it uses.
        used: u64,
        /// The share of its `maxmemory` that may be used.
        limit: u64,
    },
    /// Redis refused for want of memory.
    #[error("Redis is out of memory")]
    OutOfMemory,
    /// The entries on their way to the queue take too much memory of this process.
    #[error("the entries on their way to the queue hold {limit} bytes")]
    Pending {
        /// The limit.
        limit: u64,
    },
    /// Too many dead letters were not looked at.
    #[error("there are {limit} dead letters; retry or drop some")]
    DeadLetters {
        /// The limit.
        limit: u64,
    },
}

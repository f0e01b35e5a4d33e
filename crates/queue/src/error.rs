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
    /// The log is shut down.
    #[error("the write-ahead log is closed")]
    Closed,
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
            Self::Closed => ErrorKind::Closed,
        }
    }
}

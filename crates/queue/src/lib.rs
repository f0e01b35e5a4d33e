//! The durable queue: what is appended and answered for is on stable storage.
//!
//! Payloads are opaque bytes. Today there is one implementation, [`LocalLog`], a write-ahead log with group
//! commit; `docs/wal-format.md` has its byte layout.

mod doctor;
mod error;
mod files;
mod format;
mod local;
mod opening;
mod recovery;
#[cfg(test)]
mod simulation;
mod writer;

pub use doctor::{DamageReport, FileReport, RepairReport, Report, inspect, repair};
pub use error::{Error, Result};
pub use local::{LocalLog, LocalLogOptions};

/// Position of an entry in a queue: 0, 1, 2, … without holes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// Runs once the entry is on stable storage, before `append` answers, in the order of sequences.
///
/// It runs on the log's own thread, also when the future of `append` was dropped, so it is the place where
/// an entry becomes visible to readers. It must be short and must not block.
pub type OnDurable = Box<dyn FnOnce(Sequence) + Send>;

/// Takes the entries that a log replays, in order; an error stops the replay.
pub type Replay<'a> = dyn FnMut(Sequence, &[u8]) -> std::result::Result<(), String> + 'a;

/// What a queue says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// Why the queue refuses to append, if it does for good (a failed fsync) or for now (a full disk).
    pub failure: Option<String>,
    /// The sequence that the next entry gets.
    pub next_sequence: Sequence,
    /// Bytes on disk.
    pub bytes: u64,
    /// Segment files on disk.
    pub files: u64,
}

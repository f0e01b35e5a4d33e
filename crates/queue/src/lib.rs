//! The durable queue: what is appended and answered for is kept until its consumer lets it go.
//!
//! Payloads are opaque bytes. There are two implementations of [`Queue`]: [`LocalLog`], a write-ahead log with group
//! commit for one process (`docs/wal-format.md` has its byte layout), and [`RedisQueue`], Redis Streams for many
//! (`docs/queue.md` has its keys and what happens when Redis dies).

mod doctor;
mod error;
mod files;
mod format;
mod local;
mod opening;
mod queue;
mod recovery;
mod redis_queue;
#[cfg(test)]
mod simulation;
mod writer;

pub use doctor::{DamageReport, FileReport, RepairReport, Report, inspect, repair};
pub use error::{Error, FullReason, Result};
pub use local::{LocalLog, LocalLogOptions};
pub use queue::{Appended, Entry, OnDurable, Queue, QueueStatus, Request, Sequence};
pub use redis_queue::{
    BucketBounds, DeadLetter, DeadLetterSummary, Durability, KnownRequest, ReadEntry, ReadLimits,
    RedisOptions, RedisQueue, RedisReader, RedisStatus,
};

/// Takes the entries that a log replays, in order; an error stops the replay.
pub type Replay<'a> = dyn FnMut(Sequence, &[u8]) -> std::result::Result<(), String> + 'a;

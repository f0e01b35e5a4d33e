//! The embedded storage engine: an appended batch is in the write-ahead log and in the memtable, later in a
//! segment, in the end deleted by retention. A reader's [`Snapshot`] sees memtable and segments as one.
//!
//! Invariants:
//! - A batch is visible exactly once, from the moment `append` answers until retention removes it.
//! - A segment and the watermark that lets go of its log entries commit in one catalog transaction.
//! - A segment's object lives until its last reader is gone.

mod admission;
mod append;
mod error;
mod options;
mod snapshot;
mod store;

pub use admission::ColumnAdmission;
pub use append::{
    Answer, AppendRequest, Appended, IdempotencyKey, IdempotencyOutcome, IdempotencyPermit,
};
pub use error::{Error, Result};
pub use options::{RetentionOptions, StoreOptions};
pub use snapshot::{SegmentHandle, Snapshot};
pub use store::{ComponentHealth, Store, StoreStatus};

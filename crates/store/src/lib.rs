//! The embedded storage engine: an appended batch is in the write-ahead log and in the memtable, later in a
//! segment, in the end deleted by retention. A reader's [`Snapshot`] sees memtable and segments as one.
//!
//! Invariants:
//! - A batch is visible exactly once, from the moment `append` answers until retention removes it.
//! - A segment and the watermark that lets go of its log entries commit in one catalog transaction.
//! - A segment's object lives until its last reader is gone.

mod admission;
mod append;
mod background;
mod compaction;
mod delete;
mod doctor;
mod error;
mod fleet;
mod flush;
mod idempotency;
mod in_use;
mod log;
mod memtable;
pub mod object_storage;
mod objects;
mod options;
mod payload;
mod recovery;
mod retention;
mod snapshot;
mod store;
mod sweep;
mod table;
mod taps;
mod tasks;

pub use admission::ColumnAdmission;
pub use append::{AppendRequest, Committed, Prepared};
pub use compaction::CompactionOptions;
pub use delete::{DeleteFilter, DeleteMatcher, PendingDelete};
pub use doctor::{CatalogReport, Remedy, SegmentProblem, verify};
pub use error::{Error, Result};
pub use fleet::{FleetOptions, FleetParts, FleetStatus, Role};
pub use idempotency::{Answer, IdempotencyKey, IdempotencyOutcome, IdempotencyPermit};
/// What the catalog keeps of deletes and processes.
pub use logmill_catalog::{DeleteId, DeleteRow, JobRun, LeaseRow, Member};
/// The table that has the logs where it is not segments.
pub use logmill_catalog::{
    Deletion, LogTable, RowColumn, RowCondition, RowOrder, RowSelection, RowStream,
};
/// Entries of the queue that are no batches.
pub use logmill_queue::{DeadLetter, DeadLetterSummary};
/// Whose tokens the doctor looks for.
pub use logmill_segment::Depth;
pub use memtable::Following;
pub use options::{RetentionOptions, RetentionRule, StoreKind, StoreOptions, TenantRetention};
pub use payload::check_payload;
pub use snapshot::{MemtableBatch, SegmentHandle, Snapshot};
pub use store::{ComponentHealth, Store, StoreStatus};
pub use table::{RowDecoder, plain_text, row_column};
pub use taps::{Followed, Follower, Position};

/// The name of the embedded queue's partition in the catalog.
pub const LOCAL_PARTITION: &str = "local";

/// The number of that partition in memory.
pub(crate) const LOCAL: u32 = 0;

//! Metadata of the store: which segments there are, how far the queue is consumed, which requests were
//! answered, who works on what, who may do what, in one SQL database.
//!
//! Invariant: what belongs together (segments, watermark, idempotency keys) changes in one transaction.
//! SQLite serves one process, Postgres any number; the SQL is the same, and [`Catalog`]'s contract too.

mod access;
mod error;
mod fleet;
mod log_table;
mod migrations;
mod rows;
mod sql;
mod sql_catalog;

use std::time::Duration;

use async_trait::async_trait;
use logmill_model::TenantId;

pub use access::{
    Access, ApiKey, AuditEntry, AuditFilter, AuditRow, KeyId, KeyRow, KeyState, NAME_MAX_BYTES,
    NewKey, Reach, ReachError, RetentionOverride, Scope, ScopeError, Scopes, TenantQuotas,
    TenantRow, issue_key,
};
pub use error::{Error, Result};
pub use fleet::{Changes, JobRun, Lease, LeaseRow, Member, PendingDeletes};
pub use log_table::{
    ANY_WORD, Deletion, ExpiredRows, LogTable, LogTableOptions, NewRows, PostgresLogTable,
    RowColumn, RowCondition, RowKey, RowOrder, RowSelection, RowStream,
};
pub use migrations::{MigrationState, MigrationStatus, Schema};
pub use rows::{
    DeleteId, DeleteRow, Fence, FlushCommit, IdempotencyRow, Replacement, SegmentColumn, SegmentId,
    SegmentRow,
};
pub use sql::{PostgresCatalog, PostgresOptions, SqliteCatalog};
pub use sql_catalog::SqlCatalog;

/// Names of obsolete objects that one call returns at most.
pub const OBSOLETE_OBJECTS_MAX: usize = 1_000;

/// The store's view of its metadata. Every implementation passes the same contract suite.
#[async_trait]
pub trait Catalog: Send + Sync + std::fmt::Debug {
    /// Entries of the queue `partition` before this sequence are in segments; 0 for an unknown partition.
    async fn watermark(&self, partition: &str) -> Result<u64>;

    /// The watermarks of all partitions that have one, ordered by name.
    async fn watermarks(&self) -> Result<Vec<(String, u64)>>;

    /// All visible segments, of every tenant, ordered by id.
    async fn segments(&self) -> Result<Vec<SegmentRow>>;

    /// Makes segments visible and moves the watermark, all or nothing. [`Error::Fenced`] when the partition's lease has
    /// not the given epoch; [`Error::WatermarkMoved`] when the watermark is not the expected one: somebody else
    /// consumed the partition.
    async fn commit_flush(&self, commit: FlushCommit) -> Result<()>;

    /// Forgets segments (retention); returns how many there were. With `keep_objects` their objects become obsolete, to be
    /// deleted later.
    async fn remove_segments(
        &self,
        ids: &[SegmentId],
        now_ns: i64,
        keep_objects: bool,
    ) -> Result<u64>;

    /// Segments take the place of others (compaction), and deletes are settled. [`Error::SegmentGone`] when one of
    /// those to remove is not there any more; [`Error::Fenced`] as for [`Catalog::commit_flush`].
    async fn replace_segments(&self, replacement: Replacement) -> Result<()>;

    /// The number of the catalog's state: grows with every change of segments, watermarks and pending deletes.
    async fn version(&self) -> Result<u64>;

    /// What changed since the state `since`; 0 for all there is. Costs what changed, not what is there.
    async fn changes(&self, since: u64) -> Result<Changes>;

    /// Paths of objects whose segments were removed at least this long ago, by the database's clock; the oldest
    /// [`OBSOLETE_OBJECTS_MAX`].
    async fn obsolete_objects(&self, older_than: Duration) -> Result<Vec<String>>;

    /// These obsolete objects are deleted.
    async fn forget_objects(&self, paths: &[String]) -> Result<()>;

    /// Keeps a delete, to be applied to these segments. [`Error::SegmentGone`] when one of them is not there any more.
    async fn begin_delete(&self, delete: DeleteRow, segments: &[SegmentId]) -> Result<()>;

    /// All deletes, or those of one tenant, ordered by id.
    async fn deletes(&self, tenant: Option<&TenantId>) -> Result<Vec<DeleteRow>>;

    /// The tenant's delete of this id; none where it is unknown or another tenant's.
    async fn delete(&self, tenant: &TenantId, id: &DeleteId) -> Result<Option<DeleteRow>>;

    /// Forgets deletes that were finished before `before_ns`; returns how many there were.
    async fn expire_deletes(&self, before_ns: i64) -> Result<u64>;

    /// Which deletes are still to be applied to which segments.
    async fn pending_deletes(&self) -> Result<Vec<(SegmentId, DeleteId)>>;

    /// Answers given to requests with an idempotency key, received at or after `since_ns`.
    async fn idempotency_since(&self, since_ns: i64) -> Result<Vec<IdempotencyRow>>;

    /// Forgets the answers received before `before_ns`; returns how many there were.
    async fn expire_idempotency(&self, before_ns: i64) -> Result<u64>;

    /// Takes the lease `name` where it is free or expired (the epoch grows), or extends it where `holder` has it already,
    /// expired or not (the epoch stays); none while another holder has it. Until `ttl` from now, by the database's clock.
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>>;

    /// Gives a lease back before it expires; `false` when it is not this holder's with this epoch any more.
    async fn release(&self, name: &str, holder: &str, epoch: u64) -> Result<bool>;

    /// The leases whose names begin with `prefix`, also those that are free, ordered by name.
    async fn leases(&self, prefix: &str) -> Result<Vec<LeaseRow>>;

    /// Says that a process is there, until `ttl` from now; `description` is JSON. Returns all that are, ordered by id, this
    /// one among them.
    async fn heartbeat(
        &self,
        member_id: &str,
        role: &str,
        description: &str,
        ttl: Duration,
    ) -> Result<Vec<Member>>;

    /// The process goes.
    async fn leave(&self, member_id: &str) -> Result<()>;

    /// Keeps a run of a background job in the place of the one before.
    async fn record_job(&self, run: JobRun) -> Result<()>;

    /// The last run of every job, ordered by name.
    async fn job_runs(&self) -> Result<Vec<JobRun>>;

    /// The bytes kept under `name`; `initial` is kept and returned if there are none yet.
    async fn setting(&self, name: &str, initial: &[u8]) -> Result<Vec<u8>>;

    /// Tenants that have segments.
    async fn tenants(&self) -> Result<Vec<TenantId>>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<()>;
}

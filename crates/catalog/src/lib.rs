//! Metadata of the store: which segments there are, how far the queue is consumed, which requests were
//! answered, who may do what, in one SQL database.
//!
//! Invariant: what belongs together (segments, watermark, idempotency keys) changes in one transaction.

mod access;
mod error;
mod migrations;
mod rows;
mod sqlite;

use async_trait::async_trait;
use logmill_model::TenantId;

pub use access::{
    Access, ApiKey, AuditEntry, AuditFilter, AuditRow, KeyId, KeyRow, KeyState, NAME_MAX_BYTES,
    NewKey, Reach, ReachError, RetentionOverride, Scope, ScopeError, Scopes, TenantQuotas,
    TenantRow, issue_key,
};
pub use error::{Error, Result};
pub use migrations::{MigrationState, MigrationStatus};
pub use rows::{
    DeleteId, DeleteRow, FlushCommit, IdempotencyRow, Replacement, SegmentColumn, SegmentId,
    SegmentRow,
};
pub use sqlite::SqliteCatalog;

/// The store's view of its metadata. Every implementation passes the same contract suite.
#[async_trait]
pub trait Catalog: Send + Sync + std::fmt::Debug {
    /// Entries of the queue `partition` before this sequence are in segments; 0 for an unknown partition.
    async fn watermark(&self, partition: &str) -> Result<u64>;

    /// All visible segments, of every tenant, ordered by id.
    async fn segments(&self) -> Result<Vec<SegmentRow>>;

    /// Makes segments visible and moves the watermark, all or nothing. `Conflict` when the watermark is not
    /// the expected one: somebody else consumed the partition.
    async fn commit_flush(&self, commit: FlushCommit) -> Result<()>;

    /// Forgets segments (retention); returns how many there were.
    async fn remove_segments(&self, ids: &[SegmentId], now_ns: i64) -> Result<u64>;

    /// Segments take the place of others (compaction), and deletes are settled. [`Error::SegmentGone`] when one of
    /// those to remove is not there any more.
    async fn replace_segments(&self, replacement: Replacement) -> Result<()>;

    /// Keeps a delete, to be applied to these segments.
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

    /// The bytes kept under `name`; `initial` is kept and returned if there are none yet.
    async fn setting(&self, name: &str, initial: &[u8]) -> Result<Vec<u8>>;

    /// Tenants that have segments.
    async fn tenants(&self) -> Result<Vec<TenantId>>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<()>;
}

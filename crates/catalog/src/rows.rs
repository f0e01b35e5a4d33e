//! What the catalog keeps.

use logmill_model::TenantId;
use logmill_schema::ColumnType;
use serde::{Deserialize, Serialize};

/// A segment's name: a ULID, so that names sort by creation. Its object is
/// `tenants/<tenant>/segments/<yyyy-mm-dd>/<id>.parquet` under the store's prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId(pub String);

/// A column of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentColumn {
    /// Its name.
    pub name: String,
    /// What its values are.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
}

/// A visible segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// Its name.
    pub id: SegmentId,
    /// Whose records.
    pub tenant: TenantId,
    /// Its object's path in the object store.
    pub path: String,
    /// Number of records.
    pub rows: u64,
    /// Length of the object.
    pub bytes: u64,
    /// Oldest record.
    pub min_timestamp_ns: i64,
    /// Newest record.
    pub max_timestamp_ns: i64,
    /// Its columns.
    pub columns: Vec<SegmentColumn>,
    /// xxh3-64 of the object's bytes.
    pub checksum: u64,
    /// Compaction level: 0 for a flush.
    pub level: u32,
    /// When it was made.
    pub created_at_ns: i64,
}

/// The answer a request with an idempotency key got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRow {
    /// Whose request.
    pub tenant: TenantId,
    /// The `Idempotency-Key`.
    pub key: String,
    /// xxh3-128 of the request's body, big-endian, to tell a retry from another request.
    pub fingerprint: [u8; 16],
    /// The answer, as the server encoded it.
    pub answer: Vec<u8>,
    /// When the request was received.
    pub received_at_ns: i64,
}

/// One flush, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushCommit {
    /// The queue's partition; `local` for the embedded log.
    pub partition: String,
    /// The watermark before.
    pub expected_watermark: u64,
    /// The watermark after.
    pub new_watermark: u64,
    /// The segments that now hold the entries between.
    pub segments: Vec<SegmentRow>,
    /// The answers that those entries carried.
    pub idempotency: Vec<IdempotencyRow>,
    /// The epoch of the lease `partition/<partition>` that the caller has, where partitions are leased. A lease that
    /// expired is as good while nobody took it over.
    pub epoch: Option<u64>,
}

/// A delete's name: a ULID, so that names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeleteId(pub String);

/// A delete by query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRow {
    /// Its name.
    pub id: DeleteId,
    /// Whose records.
    pub tenant: TenantId,
    /// The question whose records go, as JSON.
    pub predicate: String,
    /// When it was asked for.
    pub requested_at_ns: i64,
    /// When the last of its segments was rewritten.
    pub finished_at_ns: Option<i64>,
    /// Segments that may have had such records.
    pub segments: u64,
    /// Segments that are still to be rewritten.
    pub segments_left: u64,
    /// Records that are gone from the disk.
    pub rows_deleted: u64,
}

/// Segments that take the place of others, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replacement {
    /// Segments that go.
    pub removed: Vec<SegmentId>,
    /// Segments that come. They inherit the deletes of those that go, but for the settled ones.
    pub added: Vec<SegmentRow>,
    /// Deletes whose records are in none of the added segments, or that found none in a segment that stays.
    pub settled: Vec<(SegmentId, DeleteId)>,
    /// How many records a delete took away.
    pub deleted_rows: Vec<(DeleteId, u64)>,
    /// When.
    pub now_ns: i64,
    /// The objects of the removed segments become obsolete, to be deleted later: readers elsewhere may hold them.
    pub keep_objects: bool,
    /// The lease that the caller must have, where partitions are leased.
    pub fence: Option<Fence>,
}

/// A partition's lease, by the epoch that a process believes to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The queue's partition.
    pub partition: String,
    /// The epoch of the lease `partition/<partition>`.
    pub epoch: u64,
}

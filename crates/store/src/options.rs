//! Settings of the store.

use std::collections::BTreeMap;

use logmill_segment::SegmentOptions;
use serde::{Deserialize, Serialize};

use crate::CompactionOptions;

/// Where the logs are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// In segments: Parquet files of the object store.
    #[default]
    Segments,
    /// In a table of Postgres, beside the catalog.
    Postgres,
}

impl StoreKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Segments => "segments",
            Self::Postgres => "postgres",
        }
    }
}

/// Settings of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreOptions {
    /// Where the logs are.
    pub kind: StoreKind,
    /// Memory of all records not yet in segments; beyond it writers get 429.
    pub memtable_max_bytes: u64,
    /// The memtable is flushed once it holds this much.
    pub flush_bytes: u64,
    /// The memtable is flushed once its oldest record is this old.
    pub flush_interval_ms: u64,
    /// Columns of a tenant; further attributes go to the overflow column.
    pub columns_max: u64,
    /// Tenants.
    pub tenants_max: u64,
    /// How long an `Idempotency-Key` is remembered.
    pub idempotency_ttl_ms: u64,
    /// Keys remembered at most; beyond it requests with a new key get 429.
    pub idempotency_max_keys: u64,
    /// How long a delete by query can be asked for once it is finished.
    pub finished_deletes_ttl_ms: u64,
    /// A file of the write-ahead log is closed at this length.
    pub wal_file_max_bytes: u64,
    /// How often to look for objects that the catalog does not know; 0 for never but at the start.
    pub orphan_check_interval_ms: u64,
    /// Objects younger than this are left alone, whoever wrote them.
    pub orphan_min_age_ms: u64,
    /// Level of zstd of segments.
    pub zstd_level: i32,
    /// How segments are merged.
    pub compaction: CompactionOptions,
    /// What is deleted when.
    pub retention: RetentionOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            kind: StoreKind::default(),
            memtable_max_bytes: 96 << 20,
            flush_bytes: 40 << 20,
            flush_interval_ms: 60_000,
            columns_max: 1_000,
            tenants_max: 1_000,
            idempotency_ttl_ms: 24 * 3_600_000,
            idempotency_max_keys: 1_000_000,
            finished_deletes_ttl_ms: 30 * 24 * 3_600_000,
            wal_file_max_bytes: 64 << 20,
            orphan_check_interval_ms: 3_600_000,
            orphan_min_age_ms: 3_600_000,
            zstd_level: 1,
            compaction: CompactionOptions::default(),
            retention: RetentionOptions::default(),
        }
    }
}

impl StoreOptions {
    pub(crate) fn segment_options(&self) -> SegmentOptions {
        SegmentOptions {
            zstd_level: self.zstd_level,
            ..SegmentOptions::default()
        }
    }
}

/// What is deleted when: whole segments, oldest first, and records that a rule names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionOptions {
    /// Segments whose newest record is older than this are deleted; 0 keeps them for ever.
    pub max_age_ms: u64,
    /// The oldest segments are deleted while all segments together are longer than this; 0 means no bound.
    pub max_bytes: u64,
    /// How often to look.
    pub check_interval_ms: u64,
    /// Tenants with bounds of their own: the age takes the place of `max_age_ms`, the bytes are the tenant's alone.
    pub tenants: BTreeMap<String, TenantRetention>,
    /// Streams whose records are kept for a shorter time than others.
    pub rules: Vec<RetentionRule>,
}

impl Default for RetentionOptions {
    fn default() -> Self {
        Self {
            max_age_ms: 0,
            max_bytes: 0,
            check_interval_ms: 60_000,
            tenants: BTreeMap::new(),
            rules: Vec::new(),
        }
    }
}

/// A tenant's own bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantRetention {
    /// Segments whose newest record is older than this are deleted; 0 keeps them for ever.
    pub max_age_ms: u64,
    /// The tenant's oldest segments are deleted while all of its segments are longer than this; 0 means no bound.
    pub max_bytes: u64,
}

/// Records that are deleted sooner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// Whose records; every tenant's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Which records, as the `filters` of `POST /query` say it.
    pub filters: serde_json::Map<String, serde_json::Value>,
    /// They go with the segments whose newest record is older than this.
    pub max_age_ms: u64,
}

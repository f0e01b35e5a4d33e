//! The bounds that every query has.

use serde::{Deserialize, Serialize};

/// Settings: what one query may use, and how many may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryLimits {
    /// Longest run of one query, milliseconds.
    pub timeout_ms: u64,
    /// Memory one query may hold in its operators, bytes.
    pub memory_max_bytes: u64,
    /// Rows a `/sql` answer or a streamed `/query` answer may have.
    pub max_rows: u64,
    /// Largest `limit` of a `/query` page.
    pub page_max_rows: u64,
    /// Values that a subquery in a filter of LogsQL, `in(…)`, may have.
    pub subquery_max_values: u64,
    /// Queries that may run at once.
    pub max_concurrent: u64,
    /// Queries that may wait for one of these to end, for as long as their own time; further ones are refused.
    pub max_queued: u64,
    /// Of these, queries of one tenant.
    pub max_queued_per_tenant: u64,
    /// Threads that run queries; 0 means one for each processor.
    pub threads: u64,
    /// Memory for footers and indexes of segments that were read, bytes.
    pub metadata_cache_bytes: u64,
    /// Memory for which rows of segments satisfied a condition, so that it need not be asked of them again, bytes.
    pub match_cache_bytes: u64,
    /// Of what a log page draws.
    pub views: ViewLimits,
    /// Of live records.
    pub tail: TailLimits,
}

/// Settings: how much a log page may draw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewLimits {
    /// Buckets of a histogram.
    pub histogram_max_buckets: u64,
    /// Values of a field that an answer may have, patterns, and series of a histogram.
    pub max_values: u64,
    /// Different values of a field beyond which a facet leaves the field out.
    pub facet_max_values: u64,
    /// Length of a value, bytes, beyond which a facet leaves the field out.
    pub facet_value_max_bytes: u64,
    /// Fields whose values are counted at once.
    pub facet_max_fields: u64,
    /// Fields of an answer that are in the overflow column.
    pub max_overflow_fields: u64,
    /// Patterns that are held at once while messages are looked at; beyond it the rarest go.
    pub max_patterns: u64,
}

impl Default for ViewLimits {
    fn default() -> Self {
        Self {
            histogram_max_buckets: 5_000,
            max_values: 1_000,
            facet_max_values: 1_000,
            facet_value_max_bytes: 256,
            facet_max_fields: 20,
            max_overflow_fields: 10_000,
            max_patterns: 20_000,
        }
    }
}

/// Settings: live records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TailLimits {
    /// Tails of a tenant at once.
    pub max_per_tenant: u64,
    /// Bytes of records that wait for a slow reader; further ones are missed, and it is told how many.
    pub queue_bytes: u64,
    /// A tail without records says so often that it is still there, milliseconds.
    pub keep_alive_ms: u64,
}

impl Default for TailLimits {
    fn default() -> Self {
        Self {
            max_per_tenant: 32,
            queue_bytes: 8 << 20,
            keep_alive_ms: 15_000,
        }
    }
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            timeout_ms: 30_000,
            memory_max_bytes: 512 << 20,
            max_rows: 1_000_000,
            page_max_rows: 10_000,
            subquery_max_values: 100_000,
            max_concurrent: 16,
            max_queued: 256,
            max_queued_per_tenant: 64,
            threads: 0,
            metadata_cache_bytes: 256 << 20,
            match_cache_bytes: 64 << 20,
            views: ViewLimits::default(),
            tail: TailLimits::default(),
        }
    }
}

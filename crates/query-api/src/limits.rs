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
    /// Queries that may run at once.
    pub max_concurrent: u64,
    /// Threads that run queries; 0 means one for each processor.
    pub threads: u64,
    /// Memory for footers and indexes of segments that were read, bytes.
    pub metadata_cache_bytes: u64,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            timeout_ms: 30_000,
            memory_max_bytes: 512 << 20,
            max_rows: 1_000_000,
            page_max_rows: 10_000,
            max_concurrent: 16,
            threads: 0,
            metadata_cache_bytes: 256 << 20,
        }
    }
}

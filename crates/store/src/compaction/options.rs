//! Settings of compaction.

use serde::{Deserialize, Serialize};

/// How segments are merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompactionOptions {
    /// Whether segments are merged, and deletes carried out.
    pub enabled: bool,
    /// So many segments of one size (within a factor of it) of a tenant and day are merged.
    pub fan_in: u64,
    /// Segments are merged up to this length.
    pub segment_max_bytes: u64,
    /// Segments of a day are merged also when they are few, once none was written for so long.
    pub quiet_after_ms: u64,
    /// Records in memory while small row groups are written anew.
    pub memory_bytes: u64,
    /// Writers get 429 while more segments than this wait to be merged.
    pub debt_max_segments: u64,
}

impl Default for CompactionOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            fan_in: 8,
            segment_max_bytes: 1 << 30,
            quiet_after_ms: 600_000,
            memory_bytes: 64 << 20,
            debt_max_segments: 500,
        }
    }
}

//! Settings of a process among many.

use serde::{Deserialize, Serialize};

/// What a process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes records in: validates and enqueues them.
    Api,
    /// Brings records from the queue into segments, merges and deletes.
    Worker,
    /// Answers questions.
    Query,
    /// All of it.
    #[default]
    All,
}

impl Role {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Query => "query",
            Self::All => "all",
        }
    }

    /// Whether it takes records in.
    pub const fn ingests(self) -> bool {
        matches!(self, Self::Api | Self::All)
    }

    /// Whether it leases partitions and writes segments.
    pub const fn flushes(self) -> bool {
        matches!(self, Self::Worker | Self::All)
    }

    /// Whether it answers questions.
    pub const fn answers(self) -> bool {
        matches!(self, Self::Query | Self::All)
    }
}

/// Settings of a process among many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetOptions {
    /// Partitions of the queue. The first process of a fleet decides, and the catalog keeps it.
    pub partitions: u32,
    /// How long a worker that says nothing keeps its partitions; they are extended four times as often.
    pub lease_ttl_ms: u64,
    /// How often to ask the catalog what changed.
    pub sync_interval_ms: u64,
    /// How long entries stay in the queue after they are in segments: the longest that a follower may be without the
    /// catalog and see everything all the same.
    pub trim_delay_ms: u64,
    /// How long the objects of segments that were merged or expired stay, for those who still read them; longer than any
    /// query may take.
    pub obsolete_objects_ttl_ms: u64,
    /// How long a flush, or a delete, waits for the workers to have everything in segments.
    pub flush_wait_ms: u64,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            partitions: 16,
            lease_ttl_ms: 6_000,
            sync_interval_ms: 250,
            trim_delay_ms: 10_000,
            obsolete_objects_ttl_ms: 15 * 60_000,
            flush_wait_ms: 60_000,
        }
    }
}

//! What processes that share a catalog know of each other, and of what changed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{DeleteId, DeleteRow, SegmentId, SegmentRow};

/// A lease that its holder has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What is leased: `partition/<partition>`, `job/<name>`.
    pub name: String,
    /// Who has it.
    pub holder: String,
    /// Grows with every new holder, for ever: the fencing token.
    pub epoch: u64,
    /// From the database's answer on.
    pub expires_in: Duration,
}

/// A lease as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// What is leased.
    pub name: String,
    /// Who has it, or had it until it expired; none when it was released.
    pub holder: Option<String>,
    /// The fencing token of the last holder.
    pub epoch: u64,
    /// Zero: it has, and anybody may take it.
    pub expires_in: Duration,
}

/// A process that said lately that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, unique among all that live.
    pub id: String,
    /// What it does: `api`, `worker`, …
    pub role: String,
    /// More about it, as JSON.
    pub description: String,
    /// From the database's answer on.
    pub expires_in: Duration,
}

/// What changed in the catalog since a version: one consistent state.
///
/// Apply removals before additions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The version of this state; ask for what came since this one next.
    pub version: u64,
    /// This is all there is, not what is new: the version asked about is too old, or of another catalog.
    pub complete: bool,
    /// Segments that came and are still there, ordered by id.
    pub segments_added: Vec<SegmentRow>,
    /// Segments that went. Some may never have been seen, as they came and went in between.
    pub segments_removed: Vec<SegmentId>,
    /// Partitions whose watermark moved, and where to; ordered by name.
    pub watermarks: Vec<(String, u64)>,
    /// All deletes that are not finished; none when they are the same as before.
    pub pending_deletes: Option<PendingDeletes>,
}

/// Deletes whose records are still in segments, where readers leave them out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingDeletes {
    /// The deletes, ordered by id.
    pub deletes: Vec<DeleteRow>,
    /// Which is still to be applied to which segment.
    pub segments: Vec<(SegmentId, DeleteId)>,
}

/// The last run of a background job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRun {
    /// The job.
    pub name: String,
    /// The process that ran it.
    pub holder: String,
    /// When it began.
    pub started_at_ns: i64,
    /// When it ended.
    pub finished_at_ns: i64,
    /// `succeeded`, `failed`, …
    pub outcome: String,
    /// What it did, or why it failed.
    pub detail: String,
}

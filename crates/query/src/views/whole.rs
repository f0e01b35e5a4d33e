//! Segments all of whose records are selected: what they say of themselves need not be read from their rows.

use std::sync::Arc;

use logmill_query_api::{QueryStats, Selection};
use logmill_store::{SegmentHandle, Snapshot};

use super::View;

impl View<'_> {
    /// The segments of which every record is selected, and everything else that may have some.
    pub(super) fn whole_segments(
        &self,
        selection: &Selection,
    ) -> (Vec<Arc<SegmentHandle>>, Snapshot) {
        let mut rest = self.session.table.snapshot().clone();
        if !selection.is_of_time_alone() || self.session.table.is_in_postgres() {
            return (Vec::new(), rest);
        }
        let range = selection.range;
        let segments = std::mem::take(&mut rest.segments);
        let mut whole = Vec::new();
        for handle in segments {
            let row = handle.row();
            if !range.overlaps_inclusive(row.min_timestamp_ns, row.max_timestamp_ns) {
                continue;
            }
            let in_range =
                range.contains(row.min_timestamp_ns) && range.contains(row.max_timestamp_ns);
            if in_range && handle.deletes().is_empty() {
                whole.push(handle);
            } else {
                rest.segments.push(handle);
            }
        }
        (whole, rest)
    }
}

/// What is left to be read, if anything is.
pub(super) fn unless_empty(rest: Snapshot) -> Option<Snapshot> {
    let is_left = !rest.segments.is_empty() || !rest.memtable.is_empty();
    is_left.then_some(rest)
}

/// What a question took that read twice.
pub(super) fn with_scan(one: QueryStats, other: &QueryStats) -> QueryStats {
    QueryStats {
        elapsed_us: one.elapsed_us.max(other.elapsed_us),
        rows_scanned: one.rows_scanned + other.rows_scanned,
        bytes_scanned: one.bytes_scanned + other.bytes_scanned,
        granules_read: one.granules_read + other.granules_read,
        ..one
    }
}

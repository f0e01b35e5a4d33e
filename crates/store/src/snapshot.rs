//! What a reader sees.

use std::sync::Arc;

use arrow_array::RecordBatch;
use logmill_catalog::SegmentRow;
use logmill_schema::TableSchema;

/// A tenant's records at one moment. Holding it keeps the objects of its segments alive.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The union of all columns.
    pub schema: Arc<TableSchema>,
    /// Records not yet in segments; each batch with the columns it came with.
    pub memtable: Vec<RecordBatch>,
    /// Segments, newest first (by newest record).
    pub segments: Vec<Arc<SegmentHandle>>,
}

/// A segment that lives as long as somebody reads it.
#[derive(Debug)]
pub struct SegmentHandle {
    row: SegmentRow,
}

impl SegmentHandle {
    /// The catalog's row.
    pub fn row(&self) -> &SegmentRow {
        &self.row
    }
}

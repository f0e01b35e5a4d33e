//! Record batches to a segment.

use arrow_array::RecordBatch;
use logmill_schema::ColumnType;

use crate::Result;

/// Settings of the encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentOptions {
    /// Rows of a data page.
    pub granule_rows: usize,
    /// Most rows of a row group.
    pub row_group_rows: usize,
    /// Level of zstd.
    pub zstd_level: i32,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            granule_rows: crate::GRANULE_ROWS,
            row_group_rows: 1 << 20,
            zstd_level: 1,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Number of records.
    pub rows: u64,
    /// Length of the segment.
    pub bytes: u64,
    /// Oldest record.
    pub min_timestamp_ns: i64,
    /// Newest record.
    pub max_timestamp_ns: i64,
    /// Columns that have a value, and their types, in the file's order.
    pub columns: Vec<(String, ColumnType)>,
    /// xxh3-64 of the segment's bytes.
    pub checksum: u64,
}

/// Encodes the rows of `batches` (each with `timestamp`; other columns may differ) into `out`, which is cleared
/// first. Rows are sorted by time, stably.
pub fn encode(
    batches: &[RecordBatch],
    options: &SegmentOptions,
    out: &mut Vec<u8>,
) -> Result<SegmentSummary> {
    let _ = (batches, options, out);
    unimplemented!("helper")
}

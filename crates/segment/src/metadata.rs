//! The key-value metadata that makes a Parquet file a segment.

use logmill_schema::ColumnType;

/// What a segment says of itself in its Parquet footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentMetadata {
    /// Version of the format.
    pub format_version: u32,
    /// Number of records.
    pub rows: u64,
    /// Oldest record.
    pub min_timestamp_ns: i64,
    /// Newest record.
    pub max_timestamp_ns: i64,
    /// Columns and their types, in the file's order.
    pub columns: Vec<(String, ColumnType)>,
}

impl SegmentMetadata {
    /// Reads the metadata of a whole segment's bytes.
    pub fn read(bytes: &bytes::Bytes) -> crate::Result<Self> {
        let _ = bytes;
        unimplemented!("helper")
    }
}

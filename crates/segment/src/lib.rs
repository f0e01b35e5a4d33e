//! A segment: records of one tenant in one immutable Parquet file.
//!
//! Invariant: bytes in, bytes out. No async, no paths, no query engine. Readers that know nothing of Logmill
//! read a segment as the plain Parquet file it is.

mod column;
mod embedded;
mod encoding;
mod error;
mod gather;
mod index;
mod metadata;
mod newest;
mod order;
mod read;
mod rollup;
mod summary;
mod text_chunk;
mod values;
mod verify;
mod write;

pub use column::{ColumnChunk, Page};
pub use embedded::BlockLocation;
pub use error::{Error, Result};
pub use index::{ColumnSeed, GranuleSet, IndexLocation, TokenIndex, token_hash, token_hashes};
pub use metadata::SegmentMetadata;
pub use newest::{NEWEST_ROWS, Newest, NewestLocation};
pub use order::{Position, ordered, positions, timestamps};
pub use read::{RowGroupBytes, SegmentFile, decode};
pub use rollup::{Cell, ROLLUP_CELLS_MAX, Rollup};
pub use summary::{BatchCounts, BatchValues};
pub use values::{ColumnValues, VALUE_BYTES_MAX, VALUES_MAX, ValueCounts};
pub use verify::{Depth, Part, Problem, verify};
pub use write::{Blocks, SegmentOptions, SegmentSummary, SegmentWriter, encode, encode_rows};

/// Rows of a granule: the unit of data pages, of the page index and of the token index.
pub const GRANULE_ROWS: usize = 8_192;

/// Version of the segment format that this crate writes.
pub const FORMAT_VERSION: u32 = 2;

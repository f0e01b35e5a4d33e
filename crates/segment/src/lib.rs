//! A segment: records of one tenant in one immutable Parquet file.
//!
//! Invariant: bytes in, bytes out. No async, no paths, no query engine. Readers that know nothing of Logmill
//! read a segment as the plain Parquet file it is.

mod error;
mod metadata;
mod read;
mod write;

pub use error::{Error, Result};
pub use metadata::SegmentMetadata;
pub use read::decode;
pub use write::{SegmentOptions, SegmentSummary, encode, sort_by_time, timestamps};

/// Rows of a granule: the unit of data pages, of the page index and (from format 2 on) of the token index.
pub const GRANULE_ROWS: usize = 8_192;

/// Version of the segment format that this crate writes.
pub const FORMAT_VERSION: u32 = 1;

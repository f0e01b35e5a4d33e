//! Segments as queries read them: opened once, kept in memory within a bound, read where they are.

mod cache;
mod open;
mod reader;
mod source;

pub(crate) use cache::SegmentCache;
pub(crate) use open::OpenSegment;
pub(crate) use reader::{ColumnId, PageReader, PlannedScan, ScanCounts};
pub(crate) use source::{Objects, Source};

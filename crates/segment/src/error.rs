//! What can go wrong with a segment.

use logmill_model::ErrorKind;

/// The result of a segment operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure to write or read a segment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are no rows.
    #[error("a segment needs at least one row")]
    Empty,
    /// Batches could not be brought to one schema.
    #[error("segment: {0}")]
    Adapt(#[from] logmill_schema::AdaptError),
    /// An Arrow kernel failed.
    #[error("segment: {operation}: {source}")]
    Arrow {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: arrow_schema::ArrowError,
    },
    /// The Parquet writer or reader failed.
    #[error("segment: {operation}: {source}")]
    Parquet {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: parquet::errors::ParquetError,
    },
    /// The token index cannot be made or read.
    #[error("segment: the token index: {0}")]
    Index(String),
    /// The rollup cannot be made or read.
    #[error("segment: the rollup: {0}")]
    Rollup(String),
    /// The block of the newest records cannot be made or read.
    #[error("segment: the newest records: {0}")]
    Newest(String),
    /// The counts of values cannot be made or read.
    #[error("segment: the counts of values: {0}")]
    Values(String),
    /// The bytes are not a segment of ours.
    #[error("not a segment: {0}")]
    NotASegment(String),
    /// The bytes were written by a newer Logmill.
    #[error(
        "segment format {found} is newer than {known}, the newest this binary reads: upgrade logmill"
    )]
    TooNew {
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
}

impl Error {
    /// What the caller should do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Empty | Self::Adapt(_) | Self::Arrow { .. } => ErrorKind::Internal,
            Self::Parquet { .. }
            | Self::NotASegment(_)
            | Self::Index(_)
            | Self::Rollup(_)
            | Self::Newest(_)
            | Self::Values(_) => ErrorKind::Corrupt,
            Self::TooNew { .. } => ErrorKind::Internal,
        }
    }
}

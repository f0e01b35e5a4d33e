//! What can go wrong with the catalog.

use logmill_model::{ErrorKind, TenantId};

/// The result of a catalog operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the catalog.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused.
    #[error("catalog: {operation}: {source}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("catalog: migrating: {0}")]
    Migrate(String),
    /// The database was written by a newer Logmill.
    #[error(
        "the catalog has schema version {found}, newer than {known}, the newest this binary knows: upgrade logmill"
    )]
    TooNew {
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The watermark is not the expected one.
    #[error("partition {partition} is at {found}, not at {expected}: another process consumed it")]
    WatermarkMoved {
        /// The partition.
        partition: String,
        /// What the caller believed.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// A segment that was to be replaced is not there any more.
    #[error("segment {0} is not in the catalog any more: another process replaced or removed it")]
    SegmentGone(String),
    /// No tenant has this name.
    #[error("there is no tenant {0}")]
    UnknownTenant(TenantId),
    /// A tenant has this name already.
    #[error("there is a tenant {0} already")]
    TenantExists(TenantId),
    /// A key that was to be made is not as keys are.
    #[error("{0}")]
    InvalidKey(String),
    /// The database did not answer in time.
    #[error("catalog: {0} did not come in time")]
    Timeout(&'static str),
    /// A row does not read back as what was written.
    #[error("catalog: {table} row {row}: {detail}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// Its key.
        row: String,
        /// What is wrong.
        detail: String,
    },
}

impl Error {
    /// What the caller should do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Database { .. } | Self::Timeout(_) => ErrorKind::Unavailable,
            Self::Migrate(_) | Self::TooNew { .. } => ErrorKind::Internal,
            Self::WatermarkMoved { .. } | Self::SegmentGone(_) | Self::TenantExists(_) => {
                ErrorKind::Conflict
            }
            Self::UnknownTenant(_) => ErrorKind::NotFound,
            Self::InvalidKey(_) => ErrorKind::Invalid,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
        }
    }
}

//! What can go wrong with the catalog.

use std::time::Duration;

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
    /// The database did not answer; whether it did what was asked is unknown.
    #[error("catalog: {operation}: no answer within {after:?}")]
    TimedOut {
        /// What was tried.
        operation: &'static str,
        /// How long the answer was waited for.
        after: Duration,
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
    /// Another process has the partition's lease, or had it since.
    #[error(
        "partition {partition} was leased with epoch {epoch}, but is at {found:?}: another process took it over"
    )]
    Fenced {
        /// The partition.
        partition: String,
        /// The epoch that the caller has.
        epoch: u64,
        /// The lease's epoch; none where nobody ever leased the partition.
        found: Option<u64>,
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
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Database { source, .. } => kind_of(source),
            Self::TimedOut { .. } => ErrorKind::Unavailable,
            Self::Migrate(_) | Self::TooNew { .. } => ErrorKind::Internal,
            Self::WatermarkMoved { .. }
            | Self::Fenced { .. }
            | Self::SegmentGone(_)
            | Self::TenantExists(_) => ErrorKind::Conflict,
            Self::UnknownTenant(_) => ErrorKind::NotFound,
            Self::InvalidKey(_) => ErrorKind::Invalid,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
        }
    }

    /// Whether the same call may succeed later. It may have succeeded already, when the connection was lost with the
    /// answer: a flush is then [`Error::WatermarkMoved`] to its own watermark, a replacement [`Error::SegmentGone`].
    pub fn is_retryable(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }
}

fn kind_of(source: &sqlx::Error) -> ErrorKind {
    match source {
        sqlx::Error::Database(error) => {
            if error.is_unique_violation() {
                return ErrorKind::Conflict;
            }
            match error.code() {
                Some(code) if is_sqlstate(&code) && !is_passing(&code) => ErrorKind::Internal,
                // SQLite's are about the file: locked, full, unreadable.
                _ => ErrorKind::Unavailable,
            }
        }
        sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::Configuration(_)
        | sqlx::Error::RowNotFound => ErrorKind::Internal,
        // Connections: lost, refused, none free.
        _ => ErrorKind::Unavailable,
    }
}

/// Postgres's codes have five characters; SQLite's are numbers of up to four digits.
fn is_sqlstate(code: &str) -> bool {
    code.len() == 5
}

/// Whether an error of this SQLSTATE passes by itself (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn is_passing(code: &str) -> bool {
    const CLASSES: [&str; 5] = [
        "08", // connection exception
        "40", // transaction rollback: serialization failure, deadlock
        "53", // insufficient resources: connections, disk, memory
        "57", // operator intervention: shutdown, crash, starting up, statement timeout
        "58", // system error
    ];
    const CODES: [&str; 4] = [
        "55P03", // lock not available
        "25006", // read-only: a standby that is not promoted yet
        "25P02", // the transaction failed before
        "25P03", // idle in transaction for too long
    ];
    CLASSES.iter().any(|class| code.starts_with(class)) || CODES.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for code in [
            "08006", "40001", "40P01", "53300", "57P03", "57014", "55P03",
        ] {
            assert!(is_sqlstate(code) && is_passing(code), "{code}");
        }
        for code in ["42601", "42P01", "23514", "22P05", "25001"] {
            assert!(is_sqlstate(code) && !is_passing(code), "{code}");
        }
        assert!(!is_sqlstate("2067"));
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(kind_of(&lost.into()), ErrorKind::Unavailable);
        assert_eq!(kind_of(&sqlx::Error::PoolTimedOut), ErrorKind::Unavailable);
        assert_eq!(kind_of(&sqlx::Error::RowNotFound), ErrorKind::Internal);
    }
}

//! SQLite: one file, one process.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Connection, Pool};

use crate::sql::{Connections, backend, database};
use crate::{Result, SqlCatalog, migrations};

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Readers beside the one writer that SQLite allows.
const CONNECTIONS_MAX: u32 = 4;

// IMMEDIATE takes the write lock at once, so that what is read in the transaction cannot change before the commit.
backend!(
    Sqlite, SqliteRow,
    now: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    change: "BEGIN IMMEDIATE",
    snapshot: "BEGIN DEFERRED"
);

/// A [`crate::Catalog`] in a SQLite file.
pub type SqliteCatalog = SqlCatalog<Sqlite>;

impl SqliteCatalog {
    /// Opens (or makes) the file and applies pending migrations. A file that a newer Logmill wrote is
    /// [`crate::Error::TooNew`].
    pub async fn open(path: &Path) -> Result<Self> {
        let pool = open(path).await?;
        let mut connection = pool.acquire().await.map_err(database("opening"))?;
        migrations::SQLITE.up(&mut *connection, None).await?;
        drop(connection);
        Ok(Self::new(Connections::new(pool, None)))
    }
}

async fn open(path: &Path) -> Result<Pool<Sqlite>> {
    // A committed flush lets go of its log entries, so a commit must be on disk when it returns: FULL.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    SqlitePoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        // On a full disk SQLite ends a transaction by itself; sqlx's ROLLBACK then fails and its connection
        // believes for good to be in one. One that cannot begin is closed, and another opened.
        .before_acquire(|connection, _| {
            Box::pin(async move {
                connection.begin_with("BEGIN").await?.rollback().await?;
                Ok(true)
            })
        })
        .connect_with(options)
        .await
        .map_err(database("opening"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_transaction_that_sqlite_ended_by_itself_does_not_break_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let pool = open(&folder.path().join("catalog.db")).await.unwrap();
        let connections = Connections::new(pool, None);
        for _ in 0..=CONNECTIONS_MAX {
            let mut transaction = connections.begin().await.unwrap();
            transaction
                .execute("ending it", "ROLLBACK", &[])
                .await
                .unwrap();
            drop(transaction);
        }
        let transaction = connections.begin().await.unwrap();
        transaction.commit("committing").await.unwrap();
    }
}

//! The catalog in one SQLite file.

mod access;

use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use logmill_model::TenantId;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Connection, Row, Sqlite, Transaction};

use crate::{
    Catalog, DeleteId, DeleteRow, Error, FlushCommit, IdempotencyRow, MigrationState,
    MigrationStatus, Replacement, Result, SegmentId, SegmentRow,
};

static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Readers beside the one writer that SQLite allows.
const CONNECTIONS_MAX: u32 = 4;

/// A [`Catalog`] in a SQLite file.
#[derive(Debug)]
pub struct SqliteCatalog {
    pool: SqlitePool,
}

/// Names the operation that failed.
fn database(operation: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Database { operation, source }
}

impl SqliteCatalog {
    /// Opens (or makes) the file and applies pending migrations. A file that a newer Logmill wrote is
    /// [`Error::TooNew`].
    pub async fn open(path: &Path) -> Result<Self> {
        // A committed flush lets go of its log entries, so a commit must be on disk when it returns: FULL.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
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
            .map_err(database("opening"))?;
        if let Some(found) = applied(&pool).await?.into_iter().max()
            && found > newest()
        {
            return Err(Error::TooNew {
                found,
                known: newest(),
            });
        }
        MIGRATOR
            .run(&pool)
            .await
            .map_err(|error| Error::Migrate(error.to_string()))?;
        Ok(Self { pool })
    }

    /// The migrations this binary knows, and which of them the file has; the file is not made.
    pub async fn migration_status(path: &Path) -> Result<Vec<MigrationStatus>> {
        let applied = if path.exists() {
            let options = SqliteConnectOptions::new().filename(path).read_only(true);
            let pool = SqlitePool::connect_with(options)
                .await
                .map_err(database("opening"))?;
            applied(&pool).await?
        } else {
            HashSet::new()
        };
        let status = MIGRATOR.iter().map(|migration| MigrationStatus {
            version: migration.version,
            description: migration.description.to_string(),
            state: if applied.contains(&migration.version) {
                MigrationState::Applied
            } else {
                MigrationState::Pending
            },
        });
        Ok(status.collect())
    }

    async fn begin(&self) -> Result<Transaction<'_, Sqlite>> {
        // IMMEDIATE: takes the write lock at once, so that what is read in it cannot change before the commit.
        self.pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(database("beginning a transaction"))
    }
}

fn newest() -> i64 {
    MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

/// Versions of the migrations that a database has.
async fn applied(pool: &SqlitePool) -> Result<HashSet<i64>> {
    let operation = "reading the applied migrations";
    let table = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    let exists: i64 = sqlx::query_scalar(table)
        .fetch_one(pool)
        .await
        .map_err(database(operation))?;
    if exists == 0 {
        return Ok(HashSet::new());
    }
    let versions: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations")
        .fetch_all(pool)
        .await
        .map_err(database(operation))?;
    Ok(versions.into_iter().collect())
}

/// Deletes with the number of segments they are still to be applied to; a macro, as queries are literals.
macro_rules! select_deletes {
    () => {
        "SELECT deletes.*, (SELECT count(*) FROM segment_deletes WHERE delete_id = deletes.id) \
         AS segments_left FROM deletes"
    };
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn watermark(&self, partition: &str) -> Result<u64> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT watermark FROM partitions WHERE name = ?")
                .bind(partition)
                .fetch_optional(&self.pool)
                .await
                .map_err(database("reading the watermark"))?;
        unsigned("partitions", partition, found.unwrap_or(0))
    }

    async fn segments(&self) -> Result<Vec<SegmentRow>> {
        let rows = sqlx::query("SELECT * FROM segments ORDER BY id")
            .fetch_all(&self.pool)
            .await
            .map_err(database("reading the segments"))?;
        rows.iter().map(segment_row).collect()
    }

    async fn commit_flush(&self, commit: FlushCommit) -> Result<()> {
        let mut transaction = self.begin().await?;
        move_watermark(&mut transaction, &commit).await?;
        for segment in &commit.segments {
            insert_segment(&mut transaction, segment).await?;
        }
        for row in &commit.idempotency {
            let insert = "INSERT OR REPLACE INTO idempotency (tenant, key, fingerprint, answer, received_at_ns) \
                          VALUES (?, ?, ?, ?, ?)";
            sqlx::query(insert)
                .bind(row.tenant.as_str())
                .bind(&row.key)
                .bind(&row.fingerprint[..])
                .bind(&row.answer)
                .bind(row.received_at_ns)
                .execute(&mut *transaction)
                .await
                .map_err(database("keeping an idempotency key"))?;
        }
        transaction
            .commit()
            .await
            .map_err(database("committing a flush"))
    }

    async fn remove_segments(&self, ids: &[SegmentId], now_ns: i64) -> Result<u64> {
        let mut transaction = self.begin().await?;
        let mut removed = 0;
        for id in ids {
            removed += delete_segment(&mut transaction, id).await?;
        }
        finish_deletes(&mut transaction, now_ns).await?;
        transaction
            .commit()
            .await
            .map_err(database("removing segments"))?;
        Ok(removed)
    }

    async fn replace_segments(&self, replacement: Replacement) -> Result<()> {
        let operation = "replacing segments";
        let mut transaction = self.begin().await?;
        for (segment, delete) in &replacement.settled {
            sqlx::query("DELETE FROM segment_deletes WHERE segment = ? AND delete_id = ?")
                .bind(&segment.0)
                .bind(&delete.0)
                .execute(&mut *transaction)
                .await
                .map_err(database(operation))?;
        }
        for segment in &replacement.added {
            insert_segment(&mut transaction, segment).await?;
            for removed in &replacement.removed {
                let inherit = "INSERT OR IGNORE INTO segment_deletes (segment, delete_id) \
                               SELECT ?, delete_id FROM segment_deletes WHERE segment = ?";
                sqlx::query(inherit)
                    .bind(&segment.id.0)
                    .bind(&removed.0)
                    .execute(&mut *transaction)
                    .await
                    .map_err(database(operation))?;
            }
        }
        for removed in &replacement.removed {
            if delete_segment(&mut transaction, removed).await? != 1 {
                return Err(Error::SegmentGone(removed.0.clone()));
            }
        }
        for (delete, rows) in &replacement.deleted_rows {
            sqlx::query("UPDATE deletes SET rows_deleted = rows_deleted + ? WHERE id = ?")
                .bind(signed("deletes", &delete.0, *rows)?)
                .bind(&delete.0)
                .execute(&mut *transaction)
                .await
                .map_err(database(operation))?;
        }
        finish_deletes(&mut transaction, replacement.now_ns).await?;
        transaction.commit().await.map_err(database(operation))
    }

    async fn begin_delete(&self, delete: DeleteRow, segments: &[SegmentId]) -> Result<()> {
        let operation = "keeping a delete";
        let id = &delete.id.0;
        let mut transaction = self.begin().await?;
        let insert = "INSERT INTO deletes (id, tenant, predicate, requested_at_ns, segments, rows_deleted) \
                      VALUES (?, ?, ?, ?, ?, 0)";
        sqlx::query(insert)
            .bind(id)
            .bind(delete.tenant.as_str())
            .bind(&delete.predicate)
            .bind(delete.requested_at_ns)
            .bind(signed("deletes", id, segments.len() as u64)?)
            .execute(&mut *transaction)
            .await
            .map_err(database(operation))?;
        for segment in segments {
            sqlx::query("INSERT INTO segment_deletes (segment, delete_id) VALUES (?, ?)")
                .bind(&segment.0)
                .bind(id)
                .execute(&mut *transaction)
                .await
                .map_err(database(operation))?;
        }
        finish_deletes(&mut transaction, delete.requested_at_ns).await?;
        transaction.commit().await.map_err(database(operation))
    }

    async fn deletes(&self, tenant: Option<&TenantId>) -> Result<Vec<DeleteRow>> {
        let rows = match tenant {
            Some(tenant) => {
                sqlx::query(concat!(select_deletes!(), " WHERE tenant = ? ORDER BY id"))
                    .bind(tenant.as_str())
                    .fetch_all(&self.pool)
            }
            None => sqlx::query(concat!(select_deletes!(), " ORDER BY id")).fetch_all(&self.pool),
        };
        let rows = rows.await.map_err(database("reading the deletes"))?;
        rows.iter().map(delete_row).collect()
    }

    async fn delete(&self, tenant: &TenantId, id: &DeleteId) -> Result<Option<DeleteRow>> {
        let select = concat!(select_deletes!(), " WHERE tenant = ? AND id = ?");
        let row = sqlx::query(select)
            .bind(tenant.as_str())
            .bind(&id.0)
            .fetch_optional(&self.pool)
            .await
            .map_err(database("reading a delete"))?;
        row.as_ref().map(delete_row).transpose()
    }

    async fn expire_deletes(&self, before_ns: i64) -> Result<u64> {
        let done = sqlx::query("DELETE FROM deletes WHERE finished_at_ns < ?")
            .bind(before_ns)
            .execute(&self.pool)
            .await
            .map_err(database("forgetting finished deletes"))?;
        Ok(done.rows_affected())
    }

    async fn pending_deletes(&self) -> Result<Vec<(SegmentId, DeleteId)>> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT segment, delete_id FROM segment_deletes ORDER BY 1, 2")
                .fetch_all(&self.pool)
                .await
                .map_err(database("reading the deletes of segments"))?;
        Ok(rows
            .into_iter()
            .map(|(segment, delete)| (SegmentId(segment), DeleteId(delete)))
            .collect())
    }

    async fn idempotency_since(&self, since_ns: i64) -> Result<Vec<IdempotencyRow>> {
        let rows = sqlx::query("SELECT * FROM idempotency WHERE received_at_ns >= ?")
            .bind(since_ns)
            .fetch_all(&self.pool)
            .await
            .map_err(database("reading the idempotency keys"))?;
        rows.iter().map(idempotency_row).collect()
    }

    async fn expire_idempotency(&self, before_ns: i64) -> Result<u64> {
        let done = sqlx::query("DELETE FROM idempotency WHERE received_at_ns < ?")
            .bind(before_ns)
            .execute(&self.pool)
            .await
            .map_err(database("forgetting idempotency keys"))?;
        Ok(done.rows_affected())
    }

    async fn setting(&self, name: &str, initial: &[u8]) -> Result<Vec<u8>> {
        let operation = "reading a setting";
        let mut transaction = self.begin().await?;
        sqlx::query("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(initial)
            .execute(&mut *transaction)
            .await
            .map_err(database(operation))?;
        let value = sqlx::query_scalar("SELECT value FROM settings WHERE name = ?")
            .bind(name)
            .fetch_one(&mut *transaction)
            .await
            .map_err(database(operation))?;
        transaction.commit().await.map_err(database(operation))?;
        Ok(value)
    }

    async fn tenants(&self) -> Result<Vec<TenantId>> {
        let names: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT tenant FROM segments ORDER BY tenant")
                .fetch_all(&self.pool)
                .await
                .map_err(database("reading the tenants"))?;
        names
            .iter()
            .map(|name| tenant("segments", name, name))
            .collect()
    }

    async fn ping(&self) -> Result<()> {
        let answer = sqlx::query("SELECT 1").execute(&self.pool).await;
        answer.map(|_| ()).map_err(database("pinging"))
    }
}

async fn move_watermark(
    transaction: &mut Transaction<'_, Sqlite>,
    commit: &FlushCommit,
) -> Result<()> {
    let operation = "moving the watermark";
    let partition = &commit.partition;
    let found: Option<i64> = sqlx::query_scalar("SELECT watermark FROM partitions WHERE name = ?")
        .bind(partition)
        .fetch_optional(&mut **transaction)
        .await
        .map_err(database(operation))?;
    let found = unsigned("partitions", partition, found.unwrap_or(0))?;
    if found != commit.expected_watermark {
        return Err(Error::WatermarkMoved {
            partition: partition.clone(),
            expected: commit.expected_watermark,
            found,
        });
    }
    let moved = "INSERT INTO partitions (name, watermark) VALUES (?, ?) \
                 ON CONFLICT (name) DO UPDATE SET watermark = excluded.watermark";
    sqlx::query(moved)
        .bind(partition)
        .bind(signed("partitions", partition, commit.new_watermark)?)
        .execute(&mut **transaction)
        .await
        .map_err(database(operation))?;
    Ok(())
}

/// Forgets a segment and what was to be deleted from it; returns how many there were, 0 or 1.
async fn delete_segment(transaction: &mut Transaction<'_, Sqlite>, id: &SegmentId) -> Result<u64> {
    let operation = "removing a segment";
    sqlx::query("DELETE FROM segment_deletes WHERE segment = ?")
        .bind(&id.0)
        .execute(&mut **transaction)
        .await
        .map_err(database(operation))?;
    let done = sqlx::query("DELETE FROM segments WHERE id = ?")
        .bind(&id.0)
        .execute(&mut **transaction)
        .await
        .map_err(database(operation))?;
    Ok(done.rows_affected())
}

/// Deletes of which no segment is left are finished.
async fn finish_deletes(transaction: &mut Transaction<'_, Sqlite>, now_ns: i64) -> Result<()> {
    let finished = "UPDATE deletes SET finished_at_ns = ? WHERE finished_at_ns IS NULL \
                    AND id NOT IN (SELECT delete_id FROM segment_deletes)";
    sqlx::query(finished)
        .bind(now_ns)
        .execute(&mut **transaction)
        .await
        .map_err(database("finishing deletes"))?;
    Ok(())
}

async fn insert_segment(
    transaction: &mut Transaction<'_, Sqlite>,
    segment: &SegmentRow,
) -> Result<()> {
    let id = &segment.id.0;
    let columns = serde_json::to_string(&segment.columns)
        .map_err(|error| corrupt("segments", id, &error.to_string()))?;
    let insert = "INSERT INTO segments (id, tenant, path, rows, bytes, min_timestamp_ns, max_timestamp_ns, columns, \
                  checksum, level, created_at_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(insert)
        .bind(id)
        .bind(segment.tenant.as_str())
        .bind(&segment.path)
        .bind(signed("segments", id, segment.rows)?)
        .bind(signed("segments", id, segment.bytes)?)
        .bind(segment.min_timestamp_ns)
        .bind(segment.max_timestamp_ns)
        .bind(columns)
        .bind(segment.checksum.cast_signed())
        .bind(i64::from(segment.level))
        .bind(segment.created_at_ns)
        .execute(&mut **transaction)
        .await
        .map_err(database("making a segment visible"))?;
    Ok(())
}

fn segment_row(row: &SqliteRow) -> Result<SegmentRow> {
    let column = |error| Error::Database {
        operation: "reading a segment",
        source: error,
    };
    let id: String = row.try_get("id").map_err(column)?;
    let name: String = row.try_get("tenant").map_err(column)?;
    let columns: String = row.try_get("columns").map_err(column)?;
    let checksum: i64 = row.try_get("checksum").map_err(column)?;
    let level: i64 = row.try_get("level").map_err(column)?;
    Ok(SegmentRow {
        tenant: tenant("segments", &id, &name)?,
        path: row.try_get("path").map_err(column)?,
        rows: unsigned("segments", &id, row.try_get("rows").map_err(column)?)?,
        bytes: unsigned("segments", &id, row.try_get("bytes").map_err(column)?)?,
        min_timestamp_ns: row.try_get("min_timestamp_ns").map_err(column)?,
        max_timestamp_ns: row.try_get("max_timestamp_ns").map_err(column)?,
        columns: serde_json::from_str(&columns)
            .map_err(|error| corrupt("segments", &id, &format!("columns: {error}")))?,
        checksum: checksum.cast_unsigned(),
        level: u32::try_from(level)
            .map_err(|_out_of_range| corrupt("segments", &id, &format!("level {level}")))?,
        created_at_ns: row.try_get("created_at_ns").map_err(column)?,
        id: SegmentId(id),
    })
}

fn delete_row(row: &SqliteRow) -> Result<DeleteRow> {
    let column = |error| Error::Database {
        operation: "reading a delete",
        source: error,
    };
    let id: String = row.try_get("id").map_err(column)?;
    let name: String = row.try_get("tenant").map_err(column)?;
    let count = |name: &str| unsigned("deletes", &id, row.try_get(name).map_err(column)?);
    Ok(DeleteRow {
        tenant: tenant("deletes", &id, &name)?,
        predicate: row.try_get("predicate").map_err(column)?,
        requested_at_ns: row.try_get("requested_at_ns").map_err(column)?,
        finished_at_ns: row.try_get("finished_at_ns").map_err(column)?,
        segments: count("segments")?,
        segments_left: count("segments_left")?,
        rows_deleted: count("rows_deleted")?,
        id: DeleteId(id),
    })
}

fn idempotency_row(row: &SqliteRow) -> Result<IdempotencyRow> {
    let column = |error| Error::Database {
        operation: "reading an idempotency key",
        source: error,
    };
    let key: String = row.try_get("key").map_err(column)?;
    let name: String = row.try_get("tenant").map_err(column)?;
    let fingerprint: Vec<u8> = row.try_get("fingerprint").map_err(column)?;
    Ok(IdempotencyRow {
        tenant: tenant("idempotency", &key, &name)?,
        fingerprint: fingerprint
            .try_into()
            .map_err(|_wrong_length| corrupt("idempotency", &key, "fingerprint"))?,
        answer: row.try_get("answer").map_err(column)?,
        received_at_ns: row.try_get("received_at_ns").map_err(column)?,
        key,
    })
}

fn tenant(table: &'static str, row: &str, name: &str) -> Result<TenantId> {
    TenantId::from_str(name)
        .map_err(|error| corrupt(table, row, &format!("tenant {name:?}: {error}")))
}

fn corrupt(table: &'static str, row: &str, detail: &str) -> Error {
    Error::Corrupt {
        table,
        row: row.to_owned(),
        detail: detail.to_owned(),
    }
}

/// SQLite's integers are signed.
fn unsigned(table: &'static str, row: &str, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_negative| corrupt(table, row, &format!("{value} is negative")))
}

fn signed(table: &'static str, row: &str, value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_too_large| corrupt(table, row, &format!("{value} is too large")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_transaction_that_sqlite_ended_by_itself_does_not_break_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = SqliteCatalog::open(&folder.path().join("catalog.db"))
            .await
            .unwrap();
        for _ in 0..=CONNECTIONS_MAX {
            let mut transaction = catalog.begin().await.unwrap();
            sqlx::query("ROLLBACK")
                .execute(&mut *transaction)
                .await
                .unwrap();
            drop(transaction);
        }
        let transaction = catalog.begin().await.unwrap();
        transaction.commit().await.unwrap();
    }
}

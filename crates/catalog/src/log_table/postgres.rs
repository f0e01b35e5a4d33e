//! The table in Postgres.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use logmill_model::{Clock, time::DAY_NS};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions, Postgres};
use sqlx::{AssertSqlSafe, Executor};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::deletion::{PostgresDeletion, copy_out};
use super::{
    Deletion, ExpiredRows, LogTable, LogTableOptions, NewRows, RowColumn, RowSelection, RowStream,
    days,
};
use crate::sql::{Fields, Transaction, database, parse_url, values};
use crate::sql_catalog::{changes, segments};
use crate::{Error, FlushCommit, PostgresCatalog, PostgresOptions, Result};

/// Bytes that are handed to a reader at once, and how many times as many may wait for it.
const READ_BYTES: usize = 256 << 10;
const READ_WAITING: usize = 4;

/// Settings of connections that read rows: what a query needs no more is not read on, also while nothing is sent.
const READER_SETTINGS: [&str; 2] = [
    "SET client_connection_check_interval = 1000",
    // A query that ends early would pay for more than it gets.
    "SET jit = off",
];

/// A [`LogTable`] in the database of a [`PostgresCatalog`].
#[derive(Debug)]
pub struct PostgresLogTable {
    catalog: Arc<PostgresCatalog>,
    readers: PgPool,
    options: LogTableOptions,
    clock: Arc<dyn Clock>,
    /// Connections belong to the threads they were opened on.
    runtime: Handle,
}

impl PostgresLogTable {
    /// The table beside `catalog`, which was connected to the same `url`. Opens no connection yet.
    pub fn new(
        url: &str,
        catalog: Arc<PostgresCatalog>,
        connections: &PostgresOptions,
        options: LogTableOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let timeout = options.statement_timeout_ms.to_string();
        let readers = PgPoolOptions::new()
            .max_connections(options.read_connections_max.max(1))
            .acquire_timeout(Duration::from_millis(connections.acquire_timeout_ms))
            .after_connect(move |connection, _| {
                let timeout = timeout.clone();
                Box::pin(async move {
                    let set = sqlx::query("SELECT set_config('statement_timeout', $1, false)");
                    connection.execute(set.bind(timeout)).await?;
                    for setting in READER_SETTINGS {
                        connection.execute(setting).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(parse_url(url)?);
        Ok(Self {
            catalog,
            readers,
            options,
            clock,
            runtime: Handle::current(),
        })
    }

    fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.options.statement_timeout_ms)
    }

    /// A transaction whose statements may take as long as rows need, and whose locks may not.
    async fn begin(&self) -> Result<Transaction<Postgres>> {
        let operation = "beginning a transaction of rows";
        let mut transaction = self.catalog.connections().begin().await?;
        let connection = transaction.connection();
        days::bound_statements(connection, self.statement_timeout())
            .await
            .map_err(database(operation))?;
        Ok(transaction)
    }

    async fn begin_with_locks(&self) -> Result<Transaction<Postgres>> {
        let mut transaction = self.begin().await?;
        let limit = Duration::from_millis(self.options.lock_timeout_ms);
        days::bound_lock_wait(transaction.connection(), limit)
            .await
            .map_err(database("beginning a transaction of rows"))?;
        Ok(transaction)
    }

    /// Makes the partitions that rows of these days want. Without them, the rows have their place too.
    async fn make_partitions(&self, wanted: &[i64]) {
        let today = self.clock.now_ns().div_euclid(DAY_NS);
        for day in wanted {
            if !days::has_partition(*day, today, &self.options) {
                continue;
            }
            if let Err(error) = self.make_partition(*day).await {
                tracing::warn!(%error, partition = days::name(*day), "a partition is made later; its rows are in log_entries_other until then");
            }
        }
    }

    async fn make_partition(&self, day: i64) -> Result<()> {
        let operation = "making a partition";
        let mut transaction = self.begin_with_locks().await?;
        let connection = transaction.connection();
        if !days::exists(connection, &days::name(day))
            .await
            .map_err(database(operation))?
        {
            days::make(connection, day)
                .await
                .map_err(database(operation))?;
            tracing::info!(partition = days::name(day), "made a partition");
        }
        transaction.commit(operation).await
    }

    /// Deletes what expired of one day. The table is locked before the catalog, as flushes do.
    async fn expire_day(&self, day: i64, expired: &[ExpiredRows]) -> Result<()> {
        let operation = "deleting a day";
        let failed = database(operation);
        let (start, end) = days::bounds(day);
        let name = days::name(day);
        let mut transaction = self.begin_with_locks().await?;
        let connection = transaction.connection();
        let partition = days::exists(connection, &name).await.map_err(&failed)?;
        let all = expired.iter().flat_map(|rows| &rows.segments);
        let known: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM segments WHERE min_timestamp_ns < $1 AND max_timestamp_ns >= $2",
        )
        .bind(end)
        .bind(start)
        .fetch_one(&mut *connection)
        .await
        .map_err(&failed)?;
        let whole = usize::try_from(known).is_ok_and(|known| known <= all.clone().count());
        if partition && whole {
            // The table before its partition, as whoever reads or writes; dropping needs both.
            for table in ["ONLY log_entries", &name] {
                let lock = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
                connection
                    .execute(AssertSqlSafe(lock))
                    .await
                    .map_err(&failed)?;
            }
        }
        let version = changes::begin(&mut transaction).await?;
        for segment in all {
            segments::remove(&mut transaction, version, segment, false).await?;
        }
        // Who wrote to the partition before it was locked, has said so in the catalog by now.
        let select = "SELECT count(*) AS segments FROM segments WHERE min_timestamp_ns < $1 AND max_timestamp_ns >= $2";
        let left = transaction
            .fetch(operation, select, values![end, start])
            .await?;
        let left = left
            .first()
            .map_or(Ok(0), |row| row.integer("segments"))
            .map_err(&failed)?;
        if partition && whole && left == 0 {
            let drop = format!("DROP TABLE {name}");
            let connection = transaction.connection();
            connection
                .execute(AssertSqlSafe(drop))
                .await
                .map_err(&failed)?;
            tracing::info!(partition = name, "dropped a partition");
        } else {
            for rows in expired {
                let delete = "DELETE FROM log_entries WHERE tenant = $1 AND timestamp_ns >= $2 AND timestamp_ns < $3 \
                              AND sequence < $4";
                let before = i64::try_from(rows.before).unwrap_or(i64::MAX);
                sqlx::query(delete)
                    .bind(rows.tenant.as_str())
                    .bind(start)
                    .bind(end)
                    .bind(before)
                    .execute(transaction.connection())
                    .await
                    .map_err(&failed)?;
            }
        }
        changes::prune(&mut transaction).await?;
        transaction.commit(operation).await
    }
}

#[async_trait]
impl LogTable for PostgresLogTable {
    async fn commit_flush(&self, commit: FlushCommit, rows: NewRows) -> Result<()> {
        self.make_partitions(&rows.days).await;
        let mut transaction = self.begin().await?;
        let columns = RowColumn::ALL.map(RowColumn::name).join(", ");
        let copy = format!("COPY log_entries ({columns}) FROM STDIN (FORMAT binary)");
        for part in &rows.parts {
            let limit = self.statement_timeout();
            let written = write(transaction.connection(), &copy, part);
            let written = tokio::time::timeout(limit, written).await;
            written
                .map_err(|_elapsed| Error::TimedOut {
                    operation: "writing rows",
                    after: limit,
                })?
                .map_err(database("writing rows"))?;
        }
        segments::commit_flush(&mut transaction, &commit).await?;
        transaction.commit("committing a flush of rows").await
    }

    async fn read(&self, selection: &RowSelection) -> Result<RowStream> {
        let copy = copy_out(selection, false);
        let readers = self.readers.clone();
        let (send, receive) = mpsc::channel(READ_WAITING);
        self.runtime.spawn(async move {
            let failed = database("reading rows");
            match readers.acquire().await {
                Ok(connection) => {
                    if let Err(error) = send_rows(connection, &copy, &send).await {
                        let _ = send.send(Err(failed(error))).await;
                    }
                }
                Err(error) => {
                    let _ = send.send(Err(failed(error))).await;
                }
            }
        });
        let next = |mut receive: mpsc::Receiver<Result<Bytes>>| async move {
            receive.recv().await.map(|bytes| (bytes, receive))
        };
        Ok(futures::stream::unfold(receive, next).boxed())
    }

    async fn begin_deletion(&self) -> Result<Box<dyn Deletion>> {
        let operation = "beginning a delete";
        let transaction = self
            .catalog
            .connections()
            .pool()
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ")
            .await;
        let mut transaction = transaction.map_err(database(operation))?;
        days::bound_statements(&mut transaction, self.statement_timeout())
            .await
            .map_err(database(operation))?;
        Ok(Box::new(PostgresDeletion(transaction)))
    }

    async fn expire(&self, expired: Vec<ExpiredRows>) -> Result<()> {
        let mut by_day: BTreeMap<i64, Vec<ExpiredRows>> = BTreeMap::new();
        for rows in expired {
            by_day.entry(rows.day).or_default().push(rows);
        }
        let mut outcome = Ok(());
        for (day, expired) in &by_day {
            outcome = outcome.and(self.expire_day(*day, expired).await);
        }
        outcome
    }
}

async fn write(connection: &mut PgConnection, copy: &str, part: &Bytes) -> sqlx::Result<()> {
    let mut rows = connection.copy_in_raw(copy).await?;
    for bytes in part.chunks(READ_BYTES) {
        rows.send(bytes).await?;
    }
    rows.finish().await?;
    Ok(())
}

/// Sends what a statement reads until there is no more, or nobody wants it.
async fn send_rows(
    mut connection: PoolConnection<Postgres>,
    copy: &str,
    send: &mpsc::Sender<Result<Bytes>>,
) -> sqlx::Result<()> {
    let finished = send_all(&mut connection, copy, send).await;
    if !matches!(finished, Ok(true)) {
        // What it still sends would have to be read before it is of use again.
        drop(connection.detach());
    }
    finished.map(|_| ())
}

/// Says whether all of it was sent.
async fn send_all(
    connection: &mut PgConnection,
    copy: &str,
    send: &mpsc::Sender<Result<Bytes>>,
) -> sqlx::Result<bool> {
    let mut rows = connection.copy_out_raw(copy).await?;
    let mut waiting = BytesMut::new();
    loop {
        let row = tokio::select! {
            row = rows.next() => row,
            () = send.closed() => return Ok(false),
        };
        let Some(row) = row else { break };
        waiting.extend_from_slice(&row?);
        if waiting.len() >= READ_BYTES && send.send(Ok(waiting.split().freeze())).await.is_err() {
            return Ok(false);
        }
    }
    Ok(waiting.is_empty() || send.send(Ok(waiting.freeze())).await.is_ok())
}

//! Postgres: many processes.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions, PgRow, Postgres};
use sqlx::{Connection, Executor};

use crate::sql::{Connections, backend, database};
use crate::{Error, Result, SqlCatalog, migrations};

/// How long a migration waits for the one of another process, and for locks on what it changes.
const MIGRATION_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// The server ends a statement first, and says why; when it does not, it is not there.
const STATEMENT_GRACE: Duration = Duration::from_secs(2);

// READ COMMITTED, whatever the database's default is: changes wait for each other by the row of `catalog_state`, so
// that each sees what the one before did, and none fails to be serialized.
backend!(
    Postgres, PgRow,
    now: "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
    change: "BEGIN ISOLATION LEVEL READ COMMITTED",
    snapshot: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
);

/// A [`crate::Catalog`] in a Postgres database, for any number of processes.
pub type PostgresCatalog = SqlCatalog<Postgres>;

/// Bounds of the connections to Postgres.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresOptions {
    /// Connections that this process opens at most.
    pub connections_max: u32,
    /// How long to wait for a connection, a new one or one of the pool, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// How long a statement may take, in milliseconds; waiting for the changes of other processes is part of it.
    pub statement_timeout_ms: u64,
    /// How long the server waits for the next statement of a transaction, in milliseconds, before it rolls it back: how
    /// long a process that is stopped or cut off in the middle of a change holds up the changes of all others.
    pub transaction_idle_timeout_ms: u64,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            connections_max: 8,
            acquire_timeout_ms: 5_000,
            statement_timeout_ms: 10_000,
            transaction_idle_timeout_ms: 3_000,
        }
    }
}

impl PostgresCatalog {
    /// Connects and applies pending migrations; several processes may do so at once. `url` is
    /// `postgres://user:password@host:port/database?sslmode=…`. A database that a newer Logmill wrote is
    /// [`Error::TooNew`].
    pub async fn connect(url: &str, options: &PostgresOptions) -> Result<Self> {
        let to = parse_url(url)?;
        let acquire_timeout = Duration::from_millis(options.acquire_timeout_ms);
        let connected = tokio::time::timeout(acquire_timeout, connect_to_migrate(&to));
        let mut connection = connected.await.map_err(|_elapsed| Error::TimedOut {
            operation: "connecting",
            after: acquire_timeout,
        })??;
        migrations::POSTGRES.up(&mut connection, None).await?;
        connection
            .close()
            .await
            .map_err(database("closing a connection"))?;

        let statement_timeout = Duration::from_millis(options.statement_timeout_ms);
        let limits = [
            options.statement_timeout_ms.to_string(),
            options.transaction_idle_timeout_ms.to_string(),
        ];
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max)
            .acquire_timeout(acquire_timeout)
            .after_connect(move |connection, _| {
                let limits = limits.clone();
                Box::pin(async move { set_timeouts(connection, &limits).await })
            })
            // A connection whose statement was given up comes back to the pool when the server answers; one whose server
            // is gone must not keep its place in the pool until the kernel notices.
            .after_release(move |connection, _| {
                Box::pin(async move {
                    let answer = tokio::time::timeout(statement_timeout, connection.ping()).await;
                    answer.map_or(Err(sqlx::Error::PoolTimedOut), |ping| ping.map(|()| true))
                })
            })
            .connect_with(to)
            .await
            .map_err(database("connecting"))?;
        // Waiting for a connection is part of what a caller waits for.
        let timeout = acquire_timeout + statement_timeout + STATEMENT_GRACE;
        Ok(Self::new(Connections::new(pool, Some(timeout))))
    }
}

/// Of statements, and of transactions between statements, in milliseconds.
async fn set_timeouts(connection: &mut PgConnection, limits: &[String; 2]) -> sqlx::Result<()> {
    let [statement, idle] = limits;
    let set = "SELECT set_config('statement_timeout', $1, false), \
               set_config('idle_in_transaction_session_timeout', $2, false)";
    connection
        .execute(sqlx::query(set).bind(statement).bind(idle))
        .await?;
    Ok(())
}

/// Where `url` leads. The error does not repeat it: it may have a password.
pub(crate) fn parse_url(url: &str) -> Result<PgConnectOptions> {
    let options =
        PgConnectOptions::from_str(url).map_err(database("reading the database's URL"))?;
    Ok(options.application_name("logmill"))
}

/// A connection without a bound on statements, as migrations may take long.
pub(crate) async fn connect_to_migrate(to: &PgConnectOptions) -> Result<PgConnection> {
    let operation = "connecting to migrate";
    let mut connection = PgConnection::connect_with(to)
        .await
        .map_err(database(operation))?;
    let set = sqlx::query("SELECT set_config('lock_timeout', $1, false)");
    connection
        .execute(set.bind(MIGRATION_LOCK_TIMEOUT.as_millis().to_string()))
        .await
        .map_err(database(operation))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use logmill_test_services::PostgresServer;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_server_ends_statements_and_transactions_that_take_too_long() {
        let url = PostgresServer::shared().database();
        let options = PostgresOptions {
            statement_timeout_ms: 600,
            transaction_idle_timeout_ms: 200,
            ..PostgresOptions::default()
        };
        let catalog = PostgresCatalog::connect(&url, &options).await.unwrap();
        let connections = catalog.connections();
        let begun = Instant::now();
        let slow = connections.execute("sleeping", "SELECT pg_sleep(10)", &[]);
        let slow = slow.await.unwrap_err();
        assert!(slow.is_retryable(), "{slow:?}");
        assert!(slow.to_string().contains("statement timeout"), "{slow}");
        assert!(begun.elapsed() < Duration::from_secs(4));

        let mut idle = connections.begin().await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let ended = idle.execute("going on", "SELECT 1", &[]).await.unwrap_err();
        assert!(ended.is_retryable(), "{ended:?}");
        drop(idle);
        let next = connections.begin().await.unwrap();
        next.commit("committing").await.unwrap();
    }
}

//! One way to speak to both databases.
//!
//! Both understand the same SQL, with parameters `$1`, `$2`, …; what they do differently is in [`Backend`].

mod postgres;
mod sqlite;

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Pool, SqlSafeStr, SqlStr};

use crate::{Error, Result};

pub use postgres::{PostgresCatalog, PostgresOptions};
pub(crate) use postgres::{connect_to_migrate as connect_postgres_to_migrate, parse_url};
pub use sqlite::SqliteCatalog;

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Integer(i64),
    OptionalInteger(Option<i64>),
    Text(&'a str),
    OptionalText(Option<&'a str>),
    Bytes(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::OptionalInteger(value)
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::OptionalText(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

/// A statement's parameters.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::sql::Value::from($value)),*] };
}
pub(crate) use values;

/// A row's columns, by name.
pub trait Fields {
    /// A number.
    fn integer(&self, column: &str) -> sqlx::Result<i64>;
    /// A number that may be missing.
    fn optional_integer(&self, column: &str) -> sqlx::Result<Option<i64>>;
    /// A text.
    fn text(&self, column: &str) -> sqlx::Result<String>;
    /// A text that may be missing.
    fn optional_text(&self, column: &str) -> sqlx::Result<Option<String>>;
    /// Bytes.
    fn bytes(&self, column: &str) -> sqlx::Result<Vec<u8>>;
}

/// What databases do differently.
pub trait Backend: sqlx::Database<Row: Fields> {
    /// The database's clock: an expression of milliseconds since 1970.
    const NOW_MS: &'static str;
    /// Begins a transaction that changes something.
    const BEGIN_CHANGE: &'static str;
    /// Begins a transaction whose statements all see the same state.
    const BEGIN_SNAPSHOT: &'static str;

    /// Runs a statement; returns how many rows it changed.
    fn execute<'a>(
        connection: &'a mut Self::Connection,
        statement: SqlStr,
        values: &'a [Value<'a>],
    ) -> impl Future<Output = sqlx::Result<u64>> + Send + 'a;

    /// Runs a statement; returns its rows.
    fn fetch<'a>(
        connection: &'a mut Self::Connection,
        statement: SqlStr,
        values: &'a [Value<'a>],
    ) -> impl Future<Output = sqlx::Result<Vec<Self::Row>>> + Send + 'a;
}

/// Implements [`Backend`] and [`Fields`]: the same words for both databases, which sqlx's traits cannot say for any.
macro_rules! backend {
    (
        $database:ty, $row:ty,
        now: $now:literal, change: $change:literal, snapshot: $snapshot:literal
    ) => {
        impl $crate::sql::Backend for $database {
            const NOW_MS: &'static str = $now;
            const BEGIN_CHANGE: &'static str = $change;
            const BEGIN_SNAPSHOT: &'static str = $snapshot;

            async fn execute<'a>(
                connection: &'a mut Self::Connection,
                statement: sqlx::SqlStr,
                values: &'a [$crate::sql::Value<'a>],
            ) -> sqlx::Result<u64> {
                let done = bind(statement, values).execute(connection).await?;
                Ok(done.rows_affected())
            }

            async fn fetch<'a>(
                connection: &'a mut Self::Connection,
                statement: sqlx::SqlStr,
                values: &'a [$crate::sql::Value<'a>],
            ) -> sqlx::Result<Vec<Self::Row>> {
                bind(statement, values).fetch_all(connection).await
            }
        }

        fn bind<'a>(
            statement: sqlx::SqlStr,
            values: &'a [$crate::sql::Value<'a>],
        ) -> sqlx::query::Query<'a, $database, <$database as sqlx::Database>::Arguments> {
            values
                .iter()
                .fold(sqlx::query(statement), |query, value| match *value {
                    $crate::sql::Value::Integer(value) => query.bind(value),
                    $crate::sql::Value::OptionalInteger(value) => query.bind(value),
                    $crate::sql::Value::Text(value) => query.bind(value),
                    $crate::sql::Value::OptionalText(value) => query.bind(value),
                    $crate::sql::Value::Bytes(value) => query.bind(value),
                })
        }

        impl $crate::sql::Fields for $row {
            fn integer(&self, column: &str) -> sqlx::Result<i64> {
                sqlx::Row::try_get(self, column)
            }
            fn optional_integer(&self, column: &str) -> sqlx::Result<Option<i64>> {
                sqlx::Row::try_get(self, column)
            }
            fn text(&self, column: &str) -> sqlx::Result<String> {
                sqlx::Row::try_get(self, column)
            }
            fn optional_text(&self, column: &str) -> sqlx::Result<Option<String>> {
                sqlx::Row::try_get(self, column)
            }
            fn bytes(&self, column: &str) -> sqlx::Result<Vec<u8>> {
                sqlx::Row::try_get(self, column)
            }
        }
    };
}
pub(crate) use backend;

/// A pool of connections.
#[derive(Debug)]
pub(crate) struct Connections<B: Backend> {
    pool: Pool<B>,
    /// How long a statement may take as seen from here, where the database itself may not be there any more to end it.
    timeout: Option<Duration>,
}

/// A transaction; dropped without a commit, it is rolled back.
#[derive(Debug)]
pub(crate) struct Transaction<B: Backend> {
    inner: sqlx::Transaction<'static, B>,
    timeout: Option<Duration>,
}

impl<B: Backend> Connections<B> {
    pub(crate) fn new(pool: Pool<B>, timeout: Option<Duration>) -> Self {
        Self { pool, timeout }
    }

    /// The pool itself.
    pub(crate) fn pool(&self) -> &Pool<B> {
        &self.pool
    }

    /// Begins a transaction that changes something.
    pub(crate) async fn begin(&self) -> Result<Transaction<B>> {
        self.begin_with(B::BEGIN_CHANGE).await
    }

    /// Begins a transaction whose statements all see the same state.
    pub(crate) async fn snapshot(&self) -> Result<Transaction<B>> {
        self.begin_with(B::BEGIN_SNAPSHOT).await
    }

    async fn begin_with(&self, statement: &'static str) -> Result<Transaction<B>> {
        let begun = self.pool.begin_with(statement);
        Ok(Transaction {
            inner: within(self.timeout, "beginning a transaction", begun).await?,
            timeout: self.timeout,
        })
    }

    /// Runs a statement by itself; returns how many rows it changed.
    pub(crate) async fn execute(
        &self,
        operation: &'static str,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64> {
        let run = async {
            let mut connection = self.pool.acquire().await?;
            B::execute(&mut connection, statement::<B>(sql), values).await
        };
        within(self.timeout, operation, run).await
    }

    /// Runs a statement by itself; returns its rows.
    pub(crate) async fn fetch(
        &self,
        operation: &'static str,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<B::Row>> {
        let run = async {
            let mut connection = self.pool.acquire().await?;
            B::fetch(&mut connection, statement::<B>(sql), values).await
        };
        within(self.timeout, operation, run).await
    }
}

impl<B: Backend> Transaction<B> {
    /// Runs a statement; returns how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        operation: &'static str,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64> {
        let run = B::execute(&mut self.inner, statement::<B>(sql), values);
        within(self.timeout, operation, run).await
    }

    /// Runs a statement; returns its rows.
    pub(crate) async fn fetch(
        &mut self,
        operation: &'static str,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<B::Row>> {
        let run = B::fetch(&mut self.inner, statement::<B>(sql), values);
        within(self.timeout, operation, run).await
    }

    /// The connection itself, for what only one kind of database does.
    pub(crate) fn connection(&mut self) -> &mut B::Connection {
        &mut self.inner
    }

    /// Makes it last. After a failure nobody knows whether it does.
    pub(crate) async fn commit(self, operation: &'static str) -> Result<()> {
        within(self.timeout, operation, self.inner.commit()).await
    }
}

/// `{now}` in a statement is the database's clock.
fn statement<B: Backend>(sql: &'static str) -> SqlStr {
    if sql.contains("{now}") {
        AssertSqlSafe(sql.replace("{now}", B::NOW_MS)).into_sql_str()
    } else {
        sql.into_sql_str()
    }
}

async fn within<T>(
    limit: Option<Duration>,
    operation: &'static str,
    run: impl Future<Output = sqlx::Result<T>>,
) -> Result<T> {
    let done = match limit {
        Some(limit) => {
            tokio::time::timeout(limit, run)
                .await
                .map_err(|_elapsed| Error::TimedOut {
                    operation,
                    after: limit,
                })?
        }
        None => run.await,
    };
    done.map_err(database(operation))
}

/// Names the operation that failed.
pub(crate) fn database(operation: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Database { operation, source }
}

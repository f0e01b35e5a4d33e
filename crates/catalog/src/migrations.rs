//! Schema versions.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::LazyLock;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, SqlSafeStr};

use crate::sql::{connect_postgres_to_migrate, database, parse_url};
use crate::{Error, Result};

/// Both databases have the same migrations, each in its own words. sqlx keeps a checksum of those it applied: a file that
/// is released never changes.
macro_rules! migrations {
    ($folder:literal) => {
        LazyLock::new(|| {
            Migrations(Migrator::with_migrations(vec![
                migrations!($folder, 1, "0001", "initial", ReversibleUp, ".up.sql"),
                migrations!($folder, 1, "0001", "initial", ReversibleDown, ".down.sql"),
                migrations!($folder, 2, "0002", "deletes", ReversibleUp, ".up.sql"),
                migrations!($folder, 2, "0002", "deletes", ReversibleDown, ".down.sql"),
                migrations!($folder, 3, "0003", "fleet", ReversibleUp, ".up.sql"),
                migrations!($folder, 3, "0003", "fleet", ReversibleDown, ".down.sql"),
                migrations!($folder, 4, "0004", "access", ReversibleUp, ".up.sql"),
                migrations!($folder, 4, "0004", "access", ReversibleDown, ".down.sql"),
                migrations!($folder, 5, "0005", "log_entries", ReversibleUp, ".up.sql"),
                migrations!(
                    $folder,
                    5,
                    "0005",
                    "log_entries",
                    ReversibleDown,
                    ".down.sql"
                ),
            ]))
        })
    };
    ($folder:literal, $version:literal, $number:literal, $name:literal, $direction:ident, $end:literal) => {
        Migration::new(
            $version,
            $name.into(),
            MigrationType::$direction,
            include_str!(concat!(
                "../migrations/",
                $folder,
                "/",
                $number,
                "_",
                $name,
                $end
            ))
            .into_sql_str(),
            false,
        )
    };
}

/// The schema of a SQLite file.
pub(crate) static SQLITE: LazyLock<Migrations> = migrations!("sqlite");

/// The schema of a Postgres database.
pub(crate) static POSTGRES: LazyLock<Migrations> = migrations!("postgres");

/// Whether a migration has been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationState {
    /// It has.
    Applied,
    /// Not yet.
    Pending,
}

/// One migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub description: String,
    /// Whether it has been applied.
    pub state: MigrationState,
}

/// The schema of a catalog, wherever it is. Opening a catalog brings it up to date; this is for people.
#[derive(Clone, Debug)]
pub enum Schema {
    /// In this SQLite file. Nobody else may have it open.
    Sqlite(PathBuf),
    /// In the Postgres database of this URL.
    Postgres(String),
}

impl Schema {
    /// The migrations this binary knows, and which of them the database has; nothing is changed, nor made.
    pub async fn status(&self) -> Result<Vec<MigrationStatus>> {
        match self {
            Self::Sqlite(path) if !path.exists() => Ok(SQLITE.status(&HashSet::new())),
            Self::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).read_only(true);
                let connected = options.connect().await;
                let mut connection = connected.map_err(database("opening"))?;
                let exists =
                    "SELECT count(*) > 0 FROM sqlite_master WHERE name = '_sqlx_migrations'";
                let exists = sqlx::query_scalar(exists)
                    .fetch_one(&mut connection)
                    .await
                    .map_err(database(READING))?;
                Ok(SQLITE.status(&applied(&mut connection, exists).await?))
            }
            Self::Postgres(url) => {
                let mut connection = connect_postgres_to_migrate(&parse_url(url)?).await?;
                let exists =
                    sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
                        .fetch_one(&mut connection)
                        .await
                        .map_err(database(READING))?;
                let applied = applied(&mut connection, exists).await?;
                closed(connection).await?;
                Ok(POSTGRES.status(&applied))
            }
        }
    }

    /// Applies what is pending up to the version `to`, or all.
    pub async fn up(&self, to: Option<i64>) -> Result<()> {
        match self {
            Self::Sqlite(path) => SQLITE.up(&mut file(path.clone()).await?, to).await,
            Self::Postgres(url) => {
                let mut connection = connect_postgres_to_migrate(&parse_url(url)?).await?;
                POSTGRES.up(&mut connection, to).await?;
                closed(connection).await
            }
        }
    }

    /// Takes back what is newer than the version `to`, and the data with it.
    pub async fn down(&self, to: i64) -> Result<()> {
        match self {
            Self::Sqlite(path) => {
                let mut connection = file(path.clone()).await?;
                let done = SQLITE.0.undo(&mut connection, to).await;
                done.map_err(|error| SQLITE.too_new(error))
            }
            Self::Postgres(url) => {
                let mut connection = connect_postgres_to_migrate(&parse_url(url)?).await?;
                let done = POSTGRES.0.undo(&mut connection, to).await;
                done.map_err(|error| POSTGRES.too_new(error))?;
                closed(connection).await
            }
        }
    }
}

const READING: &str = "reading the applied migrations";

async fn file(path: PathBuf) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    options.connect().await.map_err(database("opening"))
}

async fn closed(connection: PgConnection) -> Result<()> {
    let closed = connection.close().await;
    closed.map_err(database("closing a connection"))
}

/// Versions of the migrations that a database has, if it `exists`: the table that keeps them.
async fn applied(connection: &mut impl Migrate, exists: bool) -> Result<HashSet<i64>> {
    if !exists {
        return Ok(HashSet::new());
    }
    let applied = connection.list_applied_migrations("_sqlx_migrations").await;
    let applied = applied.map_err(failure)?;
    Ok(applied.iter().map(|migration| migration.version).collect())
}

/// The migrations of one kind of database.
pub(crate) struct Migrations(Migrator);

impl Migrations {
    /// Applies what is pending; processes that do so at once wait for each other.
    pub(crate) async fn up(&self, connection: &mut impl Migrate, to: Option<i64>) -> Result<()> {
        let done = self.0.run_direct(to, connection, false).await;
        done.map_err(|error| self.too_new(error))
    }

    fn status(&self, applied: &HashSet<i64>) -> Vec<MigrationStatus> {
        let up = self.0.iter();
        let up = up.filter(|migration| migration.migration_type.is_up_migration());
        up.map(|migration| MigrationStatus {
            version: migration.version,
            description: migration.description.to_string(),
            state: if applied.contains(&migration.version) {
                MigrationState::Applied
            } else {
                MigrationState::Pending
            },
        })
        .collect()
    }

    /// A migration that is applied and unknown is one of the future.
    fn too_new(&self, error: MigrateError) -> Error {
        let known = self.0.iter().map(|migration| migration.version).max();
        match error {
            MigrateError::VersionMissing(found) => Error::TooNew {
                found,
                known: known.unwrap_or(0),
            },
            error => failure(error),
        }
    }
}

fn failure(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(source) => Error::Database {
            operation: "migrating",
            source,
        },
        MigrateError::ExecuteMigration(source, version) => {
            let text = format!("version {version}: {source}");
            let error = database("migrating")(source);
            if error.is_retryable() {
                error
            } else {
                Error::Migrate(text)
            }
        }
        error => Error::Migrate(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_known() {
        for (folder, migrations) in [("sqlite", &SQLITE), ("postgres", &POSTGRES)] {
            let path = format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let mut files = Vec::new();
            for file in std::fs::read_dir(path).unwrap() {
                files.push(file.unwrap().file_name().into_string().unwrap());
            }
            files.sort();
            let mut known = Vec::new();
            for migration in migrations.0.iter() {
                let end = migration.migration_type.suffix();
                known.push(format!(
                    "{:04}_{}{end}",
                    migration.version, migration.description
                ));
            }
            known.sort();
            assert_eq!(files, known);
        }
    }
}

//! `logmill migrate`: the catalog's schema.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use logmill_catalog::{MigrationState, MigrationStatus, Schema};

use crate::data_dir::{self, DataDir};

/// Show, apply or take back the catalog's schema migrations. A server applies them itself when it starts.
#[derive(Debug, Args)]
pub(crate) struct MigrateArguments {
    /// Where the data are; its catalog is meant when no database is named.
    #[arg(
        long,
        env = "LOGMILL_DATA_DIR",
        default_value = "logmill-data",
        global = true
    )]
    data_dir: PathBuf,
    /// The Postgres database that is the catalog: postgres://user:password@host:port/database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Show which migrations are applied and which are pending (the default).
    Status,
    /// Apply the pending ones; no server may run on the data directory.
    Up {
        /// Not beyond this version.
        #[arg(long, value_name = "VERSION")]
        to: Option<i64>,
    },
    /// Take migrations back, and what is in their tables; no server may run.
    Down {
        /// Back to this version; 0 takes all back. The one before the current when it is not given.
        #[arg(long, value_name = "VERSION")]
        to: Option<i64>,
        /// Lose the data of the tables that go.
        #[arg(long)]
        yes: bool,
    },
}

impl MigrateArguments {
    /// Carries the command out.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let action = self.action.unwrap_or(Action::Status);
        if self.database_url.is_none() {
            data_dir::check_catalog_is_in(&self.data_dir)?;
        }
        let (schema, _only_user) = match self.database_url {
            Some(url) => (Schema::Postgres(url), None),
            None if matches!(action, Action::Status) => {
                (Schema::Sqlite(self.data_dir.join("catalog.db")), None)
            }
            None => {
                let data_dir = DataDir::create(&self.data_dir)?;
                (Schema::Sqlite(data_dir.catalog()), Some(data_dir))
            }
        };
        match action {
            Action::Status => {}
            Action::Up { to } => {
                check(to, &schema.status().await?)?;
                schema.up(to).await?;
            }
            Action::Down { to, yes } => {
                let status = schema.status().await?;
                check(to, &status)?;
                let back = taken_back(&status, to);
                let Some(oldest) = back.first() else {
                    bail!("there is nothing to take back");
                };
                if !yes {
                    let names: Vec<_> = back.iter().map(|one| one.description.as_str()).collect();
                    bail!(
                        "this takes back {} and loses the data of its tables: back the catalog up, then add --yes",
                        names.join(", ")
                    );
                }
                schema.down(oldest.version - 1).await?;
            }
        }
        show(&schema.status().await?)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A version that does not exist would be taken for its neighbour.
fn check(to: Option<i64>, status: &[MigrationStatus]) -> anyhow::Result<()> {
    let newest = status.last().map_or(0, |migration| migration.version);
    match to {
        Some(to) if !(0..=newest).contains(&to) => {
            bail!("there is no version {to}: they are 0 to {newest}")
        }
        _ => Ok(()),
    }
}

/// The applied migrations after `to`, or only the last one.
fn taken_back(status: &[MigrationStatus], to: Option<i64>) -> Vec<&MigrationStatus> {
    let mut applied = status
        .iter()
        .filter(|migration| migration.state == MigrationState::Applied);
    match to {
        Some(to) => applied.filter(|migration| migration.version > to).collect(),
        None => applied.next_back().into_iter().collect(),
    }
}

fn show(status: &[MigrationStatus]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for migration in status {
        let state = match migration.state {
            MigrationState::Applied => "applied",
            MigrationState::Pending => "pending",
        };
        writeln!(
            out,
            "{:>4}  {state}  {}",
            migration.version, migration.description
        )?;
    }
    Ok(())
}

//! `logmill migrate`: the catalog's schema.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use logmill_catalog::{MigrationState, SqliteCatalog};

use crate::data_dir::DataDir;

/// Show or apply the catalog's schema migrations. A server applies them itself when it starts.
#[derive(Debug, Args)]
pub(crate) struct MigrateArguments {
    /// Where the data are.
    #[arg(
        long,
        env = "LOGMILL_DATA_DIR",
        default_value = "logmill-data",
        global = true
    )]
    data_dir: PathBuf,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Show which migrations are applied and which are pending (the default).
    Status,
    /// Apply the pending ones; no server may run on the data directory.
    Up,
}

impl MigrateArguments {
    /// Carries the command out.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let catalog = match self.action.unwrap_or(Action::Status) {
            Action::Status => self.data_dir.join("catalog.db"),
            Action::Up => {
                let data_dir = DataDir::create(&self.data_dir)?;
                SqliteCatalog::open(&data_dir.catalog()).await?;
                data_dir.catalog()
            }
        };
        let mut out = std::io::stdout().lock();
        for migration in SqliteCatalog::migration_status(&catalog).await? {
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
        Ok(ExitCode::SUCCESS)
    }
}

//! The command line.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use logmill_client::{
    DlqArguments, HistogramArguments, IngestArguments, LoadTestArguments, PatternsArguments,
    QueryArguments, SeedArguments, ShellArguments, SqlArguments, TailArguments,
};

use crate::doctor::DoctorArguments;
use crate::key::KeyArguments;
use crate::migrate::MigrateArguments;
use crate::serve::ServeArguments;
use crate::tenant::TenantArguments;

/// Takes logs in, keeps them, and answers questions about them.
#[derive(Debug, Parser)]
#[command(
    name = "logmill",
    version,
    max_term_width = 100,
    propagate_version = true
)]
pub(crate) struct Arguments {
    /// Without one, on a terminal: the shell.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server.
    Serve(Box<ServeArguments>),
    /// Run a worker: brings records from the queue into segments. The same as `serve --role worker`.
    Worker(Box<ServeArguments>),
    /// Send log files, or standard input, to a server.
    Ingest(IngestArguments),
    /// Ask in LogsQL.
    Query(QueryArguments),
    /// Ask in SQL.
    Sql(SqlArguments),
    /// Show records as they arrive.
    Tail(TailArguments),
    /// Ask in a terminal, one question after the other.
    Shell(ShellArguments),
    /// Show how many records there are over time.
    Histogram(HistogramArguments),
    /// Show what messages have in common.
    Patterns(PatternsArguments),
    /// Make sample data and send it to a server.
    Seed(SeedArguments),
    /// Drive a server with load and measure it.
    LoadTest(LoadTestArguments),
    /// Make, list and revoke API keys.
    Key(KeyArguments),
    /// Make, list, change and disable tenants.
    Tenant(TenantArguments),
    /// Look at entries of the queue that could not be taken; retry or drop them.
    Dlq(DlqArguments),
    /// Show, apply or take back the catalog's schema migrations.
    Migrate(MigrateArguments),
    /// Check a data directory, and repair its write-ahead log.
    Doctor(DoctorArguments),
}

impl Arguments {
    /// Carries the command out.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let command = match self.command {
            Some(command) => command,
            None if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() => {
                Command::Shell(ShellArguments::from_environment()?)
            }
            None => Self::command()
                .error(
                    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                    Self::command().render_help(),
                )
                .exit(),
        };
        runtime.block_on(async {
            match command {
                Command::Serve(arguments) => arguments.run().await,
                Command::Worker(arguments) => arguments.into_worker()?.run().await,
                Command::Dlq(arguments) => arguments.run().await,
                Command::Ingest(arguments) => arguments.run().await,
                Command::Query(arguments) => arguments.run().await,
                Command::Sql(arguments) => arguments.run().await,
                Command::Tail(arguments) => arguments.run().await,
                Command::Shell(arguments) => arguments.run().await,
                Command::Histogram(arguments) => arguments.run().await,
                Command::Patterns(arguments) => arguments.run().await,
                Command::Seed(arguments) => arguments.run().await,
                Command::LoadTest(arguments) => arguments.run().await,
                Command::Key(arguments) => arguments.run().await,
                Command::Tenant(arguments) => arguments.run().await,
                Command::Migrate(arguments) => arguments.run().await,
                Command::Doctor(arguments) => arguments.run().await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}

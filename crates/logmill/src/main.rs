//! `logmill`: the binary. Command line, configuration, wiring; no logic of its own.

mod cli;
mod data_dir;
mod doctor;
mod logging;
mod migrate;
mod serve;
mod settings;

use std::process::ExitCode;

use clap::Parser;

/// Measured against the system allocator on the ingest path: see docs/benchmarks.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    load_dotenv();
    let arguments = cli::Arguments::parse();
    match arguments.run() {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// `.env` of the working directory, where there is one; the real environment wins over it.
fn load_dotenv() {
    if let Err(error) = dotenvy::dotenv()
        && !error.not_found()
    {
        report(&anyhow::Error::from(error).context("reading .env"));
    }
}

#[allow(
    clippy::print_stderr,
    reason = "the last word of a failed command is for its user"
)]
fn report(error: &anyhow::Error) {
    eprintln!("logmill: {error:#}");
}

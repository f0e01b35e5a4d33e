//! `logmill`: the binary. Command line, configuration, wiring; no logic of its own.

mod cli;
mod data_dir;
mod database;
mod direct;
mod doctor;
mod fleet;
mod key;
mod logging;
mod migrate;
mod serve;
mod settings;
mod tenant;

use std::process::ExitCode;

use clap::Parser;

/// Measured against the system's allocator and mimalloc on the ingest path: see docs/benchmarks.md.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads when it starts; a string of C. Batches are made by one thread and let go of by another: arenas of
/// processors, and not of threads, use that memory again. What is not used again within a second goes back to the
/// system.
#[allow(
    unsafe_code,
    reason = "the allocator finds its options by the symbol's name"
)]
#[used]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_OPTIONS: &[u8; ALLOCATOR_OPTIONS_TEXT.len()] = ALLOCATOR_OPTIONS_TEXT;

const ALLOCATOR_OPTIONS_TEXT: &[u8; 80] =
    b"percpu_arena:percpu,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true\0";

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

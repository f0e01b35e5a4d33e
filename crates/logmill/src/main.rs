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

/// Milliseconds after which freed memory goes back to the system. The allocator's own second keeps a quarter more memory
/// while logs come in, and saves no measurable time: see docs/benchmarks.md.
const PURGE_DELAY_MS: i64 = 10;

/// `mi_option_purge_delay` of mimalloc.h, which the crate does not name.
const PURGE_DELAY_OPTION: libmimalloc_sys::mi_option_t = 15;

#[allow(unsafe_code, reason = "the allocator's C interface")]
fn set_up_allocator() {
    // SAFETY: mimalloc may be asked at any time, from any thread, to change a number among its options.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY_OPTION, PURGE_DELAY_MS) };
}

fn main() -> ExitCode {
    set_up_allocator();
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

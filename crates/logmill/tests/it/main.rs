//! The real binary, driven as its users drive it: over HTTP and from the command line.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod access;
mod admission;
mod audit;
mod bad_input;
mod collector;
mod command_line;
mod connections;
mod crash;
mod deletes;
mod duckdb;
mod fleet;
mod fleet_access;
mod harness;
mod ingest;
mod loghub;
mod migrate;
mod pg;
mod query;
mod quotas;
mod running;
mod s3;
mod security_matrix;
mod shell;
mod sql;
mod sql_page;
mod stores;
mod tail;
mod telemetry;
mod tls;
mod tokens;
mod victorialogs;
mod views;

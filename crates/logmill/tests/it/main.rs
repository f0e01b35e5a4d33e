//! The real binary, driven as its users drive it: over HTTP and from the command line.

mod bad_input;
mod command_line;
mod crash;
mod duckdb;
mod harness;
mod ingest;
mod loghub;
mod query;
mod running;
mod sql;

//! The command line's client side: ingest files, ask, seed sample data, drive load.
//!
//! Invariant: everything goes through the HTTP surface, as any other client's requests do.

mod administration;
mod dlq;
mod histogram;
mod http_client;
mod ingest;
mod load_test;
mod output;
mod patterns;
mod picture;
mod query;
mod record;
mod sample;
mod seed;
mod selection;
mod server_process;
mod shell;
mod sql;
mod tail;
mod units;

pub use administration::Administration;
pub use dlq::DlqArguments;
pub use histogram::HistogramArguments;
pub use http_client::ServerArguments;
pub use ingest::IngestArguments;
pub use load_test::LoadTestArguments;
pub use patterns::PatternsArguments;
pub use query::QueryArguments;
pub use seed::SeedArguments;
pub use shell::ShellArguments;
pub use sql::SqlArguments;
pub use tail::TailArguments;
pub use units::{parse_bytes, parse_duration};

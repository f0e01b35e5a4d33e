//! The command line's client side: ingest files, ask, seed sample data, drive load.
//!
//! Invariant: everything goes through the HTTP surface, as any other client's requests do.

mod administration;
mod dlq;
mod http_client;
mod ingest;
mod load_test;
mod output;
mod query;
mod sample;
mod seed;
mod server_process;
mod sql;
mod units;

pub use administration::Administration;
pub use dlq::DlqArguments;
pub use http_client::ServerArguments;
pub use ingest::IngestArguments;
pub use load_test::LoadTestArguments;
pub use query::QueryArguments;
pub use seed::SeedArguments;
pub use sql::SqlArguments;
pub use units::{parse_bytes, parse_duration};

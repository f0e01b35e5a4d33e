//! The PostgreSQL wire protocol over the query engine: read-only, authenticated as HTTP is.
//!
//! Invariants: knows the engine only by its contract, `logmill-query-api`; who may ask is decided by `logmill-server`'s
//! `Auth` alone, anew for every question. Messages of clients are decoded here and not by `pgwire`, whose decoder panics on
//! short ones; and rows are streamed, where its portals collect them.

mod cancel;
mod error;
mod frontend;
mod listener;
mod numeric;
mod options;
mod parameters;
mod portal;
mod rows;
mod session;
mod settings;
mod startup;
mod statements;
mod types;
mod wire;

pub use listener::{Parts, serve};
pub use options::PgOptions;

//! The engine over a real store: what pruning leaves must be what a look at every row finds.

#![allow(clippy::unwrap_used, reason = "a test")]

mod counts;
mod deletes;
mod differential;
mod formats;
mod harness;
mod logsql;
mod pruning;
mod segments;
mod streams;
mod wholes;

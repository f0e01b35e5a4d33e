//! The engine over a real store: what pruning leaves must be what a look at every row finds.

#![allow(clippy::unwrap_used, reason = "a test")]

mod deletes;
mod formats;
mod harness;
mod pruning;
mod segments;
mod streams;

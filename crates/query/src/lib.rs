//! The query engine: structured queries and SQL on DataFusion over the store.
//!
//! Invariant: this is the only crate that knows DataFusion, and nothing of it shows outside. Queries run on threads of
//! their own; an answer comes through a bounded channel, and dropping it stops the query.

mod cooperation;
mod cursor;
mod deletes;
mod engine;
mod errors;
mod functions;
mod page;
mod predicate;
mod pruning;
mod records;
mod rows;
mod scan;
mod segments;
mod session;
mod sql;
mod stats;
mod stream;
mod table;
mod time_literals;

pub use engine::Engine;

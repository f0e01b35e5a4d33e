//! The query engine: structured queries and SQL on DataFusion over the store.
//!
//! Invariant: this is the only crate that knows DataFusion, and nothing of it shows outside. Queries run on threads of
//! their own; an answer comes through a bounded channel, and dropping it stops the query.

mod admission;
mod barriers;
mod compiled;
mod cooperation;
mod count_by_text;
mod counts;
mod cursor;
mod deletes;
mod engine;
mod errors;
mod first;
mod functions;
mod logsql;
mod lru;
mod page;
mod postgres;
mod predicate;
mod pruning;
mod records;
mod rows;
mod scan;
mod schema_tables;
mod segments;
mod session;
mod sql;
mod stats;
mod stream;
mod table;
mod tail;
mod views;

pub use engine::Engine;

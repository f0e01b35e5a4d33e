//! The PostgreSQL wire protocol over the query engine: read-only, authenticated as HTTP is.
//!
//! Invariant: knows the engine only by its contract, `logmill-query-api`.

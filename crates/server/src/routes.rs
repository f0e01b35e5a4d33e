//! The routes, a file each.

pub(crate) mod admin;
pub(crate) mod answer;
pub(crate) mod fleet;
pub(crate) mod health;
pub(crate) mod ingest;
pub(crate) mod query;
pub(crate) mod sql;

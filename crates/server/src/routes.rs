//! The routes, a file each.

pub(crate) mod admin;
pub(crate) mod answer;
pub(crate) mod fleet;
pub(crate) mod health;
pub(crate) mod ingest;
pub(crate) mod logsql;
pub(crate) mod query;
pub(crate) mod selection;
pub(crate) mod sql;
pub(crate) mod tail;
pub(crate) mod views;

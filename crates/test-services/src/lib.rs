//! Servers that tests start for themselves: private ones, on free ports, in temporary folders, gone with their handle.

mod postgres;

pub use postgres::{PostgresServer, PostgresServerOptions};

//! Servers that tests start for themselves: private ones, on free ports, in temporary folders, gone with their handle.

mod guard;
mod postgres;
mod process;
mod redis;

pub use postgres::{PostgresServer, PostgresServerOptions};
pub use redis::{RedisServer, RedisServerOptions};

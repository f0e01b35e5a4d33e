//! Servers that tests start for themselves: private ones, on free ports, in temporary folders, gone with their handle.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "only tests use it: a test fails by panicking, and says what it saw"
)]

mod guard;
mod postgres;
mod process;
mod redis;
mod s3;

pub use postgres::{PostgresServer, PostgresServerOptions};
pub use redis::{RedisServer, RedisServerOptions};
pub use s3::S3Server;

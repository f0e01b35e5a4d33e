//! Settings of the PostgreSQL protocol.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Settings of the PostgreSQL protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PgOptions {
    /// Address and port to listen on; empty for not at all.
    pub listen: String,
    /// Take passwords over connections that are neither secured nor of this machine.
    pub allow_plaintext: bool,
    /// Connections open at once; further ones are refused.
    pub connections_max: u64,
    /// Longest time from a connection's start to its password.
    pub login_timeout_ms: u64,
    /// Longest time between two messages of a client; 0 for no bound.
    pub idle_timeout_ms: u64,
    /// Longest message of a client.
    pub message_max_bytes: u64,
    /// Prepared statements of a connection, and portals.
    pub statements_max: u64,
    /// Bytes of their texts and values.
    pub statements_max_bytes: u64,
}

impl Default for PgOptions {
    fn default() -> Self {
        Self {
            listen: String::new(),
            allow_plaintext: false,
            connections_max: 100,
            login_timeout_ms: 30_000,
            idle_timeout_ms: 3_600_000,
            message_max_bytes: 2 << 20,
            statements_max: 1_000,
            statements_max_bytes: 8 << 20,
        }
    }
}

impl PgOptions {
    /// Where to listen; none where that is not wanted. The error says which setting is wrong.
    pub fn address(&self) -> Result<Option<SocketAddr>, String> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        let address = self.listen.parse();
        address
            .map(Some)
            .map_err(|error| format!("pg.listen {:?}: {error}", self.listen))
    }
}

//! Settings of the HTTP surface.

use logmill_ingest::DecodeLimits;
use serde::{Deserialize, Serialize};

/// Settings of the HTTP surface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerOptions {
    /// PEM file of the certificate and those above it; empty for plain HTTP. It is followed when it changes.
    pub tls_certificate: String,
    /// PEM file of the certificate's private key.
    pub tls_key: String,
    /// Longest request body as it arrives.
    pub body_max_bytes: u64,
    /// Longest request body once decompressed.
    pub decompressed_max_bytes: u64,
    /// Bytes that all request bodies under way may hold; beyond it requests get 429.
    pub inflight_max_bytes: u64,
    /// Longest time a connection may wait for the end of a request's head: the first, or the next.
    pub header_timeout_ms: u64,
    /// Longest time a request body may take to arrive.
    pub body_timeout_ms: u64,
    /// Longest time in which a client may take nothing of its answer; its connection is closed then.
    pub write_timeout_ms: u64,
    /// How long requests under way may take to end once the server is told to stop.
    pub shutdown_grace_ms: u64,
    /// Connections open at once; further ones wait.
    pub connections_max: u64,
    /// Bytes of one record.
    pub record_max_bytes: u64,
    /// Fields of one record, nested ones counted.
    pub fields_max: u64,
    /// Depth of nested objects and arrays of one record.
    pub depth_max: u64,
    /// Bytes of a field's (dotted) name.
    pub field_name_max_bytes: u64,
    /// Refused records of a request that are named one by one.
    pub errors_max: u64,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let limits = DecodeLimits::default();
        Self {
            tls_certificate: String::new(),
            tls_key: String::new(),
            body_max_bytes: 64 << 20,
            decompressed_max_bytes: 64 << 20,
            inflight_max_bytes: 128 << 20,
            header_timeout_ms: 30_000,
            body_timeout_ms: 60_000,
            write_timeout_ms: 60_000,
            shutdown_grace_ms: 30_000,
            connections_max: 1_024,
            record_max_bytes: limits.record_max_bytes as u64,
            fields_max: limits.fields_max as u64,
            depth_max: limits.depth_max as u64,
            field_name_max_bytes: limits.field_name_max_bytes as u64,
            errors_max: limits.errors_max as u64,
        }
    }
}

impl ServerOptions {
    /// The bounds of the decoder.
    pub(crate) fn decode_limits(&self) -> DecodeLimits {
        DecodeLimits {
            record_max_bytes: size(self.record_max_bytes),
            fields_max: size(self.fields_max),
            depth_max: size(self.depth_max),
            field_name_max_bytes: size(self.field_name_max_bytes),
            errors_max: size(self.errors_max),
        }
    }
}

/// A bound as the machine counts.
pub(crate) fn size(bound: u64) -> usize {
    usize::try_from(bound).unwrap_or(usize::MAX)
}

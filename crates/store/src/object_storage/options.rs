//! Settings of where segments are.

use serde::{Deserialize, Serialize};

/// Where segments are. Credentials are no settings: they come from the environment (`AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, a web identity, or the machine's role).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectStorageOptions {
    /// `s3://bucket`, `s3://bucket/prefix`, or `file:///folder` (which processes may share); empty for a folder of the data
    /// directory.
    pub url: String,
    /// Where S3's interface is served, for servers that are not Amazon's; empty for Amazon's.
    pub endpoint: String,
    /// The bucket's region; empty for `AWS_REGION`.
    pub region: String,
    /// Names the bucket in the path instead of the host name, as many servers that are not Amazon's want it.
    pub path_style: bool,
    /// Allows an endpoint without encryption.
    pub allow_http: bool,
    /// How often a request that failed is tried again, with growing pauses; 0 for never.
    pub retry_max: u64,
    /// No request is tried again when its first try was longer ago than this.
    pub retry_timeout_ms: u64,
    /// A request that takes longer has failed.
    pub request_timeout_ms: u64,
    /// Bytes of objects kept in the local cache; 0 for no cache.
    pub cache_bytes: u64,
    /// Objects are fetched into the cache by blocks of this many bytes.
    pub cache_block_bytes: u64,
}

impl Default for ObjectStorageOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            endpoint: String::new(),
            region: String::new(),
            path_style: false,
            allow_http: false,
            retry_max: 5,
            retry_timeout_ms: 60_000,
            request_timeout_ms: 30_000,
            cache_bytes: 1 << 30,
            cache_block_bytes: 1 << 20,
        }
    }
}

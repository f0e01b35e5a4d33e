//! Settings of a queue in Redis.

use std::path::PathBuf;

use logmill_retry::RetryPolicy;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Longest time of a setting, ten years: sums of them are times that Redis understands.
const TIME_MAX_MS: u64 = 10 * 365 * 86_400_000;

/// Settings of a [`RedisQueue`](crate::RedisQueue). The address is not among them, for it may have a password in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisOptions {
    /// Certificates (PEM) to trust with `rediss://` instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What all keys begin with, in braces: pipelines that share a Redis need different ones.
    pub prefix: String,
    /// What Redis's configuration has to promise at least; anything weaker is refused.
    pub durability: Durability,
    /// Whether to compare `durability` with what Redis says. To be switched off for services that let nobody read
    /// their configuration.
    pub durability_check: bool,
    /// Replicas that have to confirm an entry before it is answered for.
    pub wait_replicas: u32,
    /// Longest wait for them.
    pub wait_timeout_ms: u64,
    /// Longest wait for a connection.
    pub connect_timeout_ms: u64,
    /// Longest wait for an answer.
    pub response_timeout_ms: u64,
    /// How often a call is tried.
    pub retry: RetryPolicy,
    /// Longest payload of one entry.
    pub entry_max_bytes: u64,
    /// Payload bytes of this process that may be on their way to Redis; `append` waits when there are more.
    pub pending_max_bytes: u64,
    /// Entries of a partition that may wait for its worker; further ones are refused as full.
    pub partition_max_entries: u64,
    /// Memory of Redis that the entries of a partition may take, as Redis estimates it; beyond it appends are refused as full.
    pub partition_max_bytes: u64,
    /// Share of Redis's `maxmemory` that may be used before appends are refused as full.
    pub memory_max_percent: u8,
    /// How often memory, lengths and durability are looked at.
    pub watch_interval_ms: u64,
    /// How long a client's request is remembered.
    pub request_ttl_ms: u64,
    /// Dead letters to keep; with more, their partitions stand still.
    pub dead_letters_max: u64,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            ca_file: None,
            prefix: "logmill".to_owned(),
            durability: Durability::Always,
            durability_check: true,
            wait_replicas: 0,
            wait_timeout_ms: 1_000,
            connect_timeout_ms: 2_000,
            response_timeout_ms: 5_000,
            retry: RetryPolicy::default(),
            entry_max_bytes: 256 << 20,
            pending_max_bytes: 64 << 20,
            partition_max_entries: 100_000,
            partition_max_bytes: 1 << 30,
            memory_max_percent: 80,
            watch_interval_ms: 1_000,
            request_ttl_ms: 86_400_000,
            dead_letters_max: 1_000,
        }
    }
}

impl RedisOptions {
    /// Refuses settings that make no sense.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |reason: &str| Err(Error::Settings(reason.to_owned()));
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            return wrong("prefix must be non-empty, without braces");
        }
        if !(1..=100).contains(&self.memory_max_percent) {
            return wrong("memory_max_percent must be between 1 and 100");
        }
        let positive = [
            ("wait_timeout_ms", self.wait_timeout_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("response_timeout_ms", self.response_timeout_ms),
            ("entry_max_bytes", self.entry_max_bytes),
            ("pending_max_bytes", self.pending_max_bytes),
            ("partition_max_entries", self.partition_max_entries),
            ("partition_max_bytes", self.partition_max_bytes),
            ("watch_interval_ms", self.watch_interval_ms),
            ("request_ttl_ms", self.request_ttl_ms),
            ("dead_letters_max", self.dead_letters_max),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return wrong(&format!("{name} must be positive"));
        }
        let retry = [
            ("retry.total_ms", self.retry.total_ms),
            ("retry.pause_max_ms", self.retry.pause_max_ms),
        ];
        let times = positive
            .iter()
            .chain(&retry)
            .filter(|(name, _)| name.ends_with("_ms"));
        if let Some((name, _)) = times.into_iter().find(|(_, value)| *value > TIME_MAX_MS) {
            return wrong(&format!("{name} must be at most {TIME_MAX_MS}"));
        }
        if self.wait_timeout_ms >= self.response_timeout_ms {
            return wrong("wait_timeout_ms must be shorter than response_timeout_ms");
        }
        Ok(())
    }

    /// Longest that an append is under way, from the first try until the last one is given up.
    pub(crate) const fn append_max_ms(&self) -> u64 {
        self.retry.total_ms
            + self.connect_timeout_ms
            + self.response_timeout_ms
            + self.wait_timeout_ms
    }
}

/// When Redis has an entry on its disk. The weaker come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Maybe never: what Redis held is lost when it ends.
    Memory,
    /// Within about a second (`appendfsync everysec`): the last second is lost when its machine dies.
    Everysec,
    /// Before it answers (`appendfsync always`).
    Always,
}

impl Durability {
    /// The setting's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Everysec => "everysec",
            Self::Always => "always",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_named() {
        type Change = fn(&mut RedisOptions);
        let wrong: [(&str, Change); 7] = [
            ("prefix", |options| options.prefix = "a{b".to_owned()),
            ("prefix", |options| options.prefix.clear()),
            ("memory_max_percent", |options| {
                options.memory_max_percent = 101;
            }),
            ("pending_max_bytes", |options| options.pending_max_bytes = 0),
            ("request_ttl_ms", |options| {
                options.request_ttl_ms = u64::MAX;
            }),
            ("retry.total_ms", |options| {
                options.retry.total_ms = u64::MAX;
            }),
            ("wait_timeout_ms", |options| options.wait_timeout_ms = 5_000),
        ];
        RedisOptions::default().check().unwrap();
        for (name, change) in wrong {
            let mut options = RedisOptions::default();
            change(&mut options);
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
        }
    }
}

//! What Redis says of itself, and whether it will do.

use std::collections::HashMap;

use super::{Durability, RedisOptions};

/// The oldest Redis with all that is needed (`XTRIM MINID`, `PXAT`).
const VERSION_MIN: (u32, u32) = (6, 2);
/// What Redis was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) version: String,
    /// Its clock, milliseconds since 1970.
    pub(crate) clock_ms: u64,
    pub(crate) is_replica: bool,
    pub(crate) replicas: u64,
    pub(crate) append_only: bool,
    pub(crate) append_fsync: Option<String>,
    pub(crate) memory_bytes: u64,
    pub(crate) memory_max_bytes: u64,
    pub(crate) memory_policy: String,
    pub(crate) dead_letters: u64,
    pub(crate) entries: u64,
    /// Memory of each partition's entries.
    pub(crate) partition_bytes: Vec<u64>,
}

impl Facts {
    /// What the configuration promises; `None` when Redis does not say.
    pub(crate) fn durability(&self) -> Option<Durability> {
        match self.append_fsync.as_deref() {
            _ if !self.append_only => Some(Durability::Memory),
            Some("always") => Some(Durability::Always),
            Some("everysec") => Some(Durability::Everysec),
            Some(_) => Some(Durability::Memory),
            None => None,
        }
    }

    /// Why version or configuration will not do, if so.
    pub(crate) fn check(&self, options: &RedisOptions) -> Result<(), String> {
        if self.memory_max_bytes > 0 && self.memory_policy != "noeviction" {
            return Err(format!(
                "Redis has maxmemory-policy {}, so it would throw acknowledged entries away when its memory is full; \
                 set maxmemory-policy noeviction",
                self.memory_policy
            ));
        }
        let mut version = self.version.split('.').map_while(|part| part.parse().ok());
        let version: (u32, u32) = (version.next().unwrap_or(0), version.next().unwrap_or(0));
        if version < VERSION_MIN {
            return Err(format!(
                "Redis {} is older than {}.{}",
                self.version, VERSION_MIN.0, VERSION_MIN.1
            ));
        }
        let wanted = options.durability;
        if !options.durability_check {
            return Ok(());
        }
        match self.durability() {
            Some(found) if found >= wanted => Ok(()),
            None if wanted == Durability::Memory => Ok(()),
            Some(found) => Err(format!(
                "queue.durability is {}, but Redis keeps entries as {} (appendonly {}, appendfsync {}); set appendonly yes \
                 and appendfsync {}, or a weaker queue.durability",
                wanted.as_str(),
                found.as_str(),
                if self.append_only { "yes" } else { "no" },
                self.append_fsync.as_deref().unwrap_or("unknown"),
                wanted.as_str(),
            )),
            None => Err(format!(
                "queue.durability is {}, but Redis does not let its appendfsync be read (CONFIG GET); make sure of it, then \
                 set queue.durability_check = false",
                wanted.as_str()
            )),
        }
    }
}

/// Reads the answer to INFO: lines of `name:value`.
pub(crate) fn read_info(info: &str) -> Facts {
    let fields: HashMap<&str, &str> = info
        .lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .collect();
    let text = |name: &str| fields.get(name).copied().unwrap_or_default();
    let number = |name: &str| text(name).parse().unwrap_or(0);
    Facts {
        version: text("redis_version").to_owned(),
        is_replica: text("role") == "slave",
        replicas: number("connected_slaves"),
        append_only: text("aof_enabled") == "1",
        memory_bytes: number("used_memory"),
        memory_max_bytes: number("maxmemory"),
        memory_policy: text("maxmemory_policy").to_owned(),
        ..Facts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = Facts {
            version: "7.0.15".to_owned(),
            append_only: true,
            append_fsync: Some("always".to_owned()),
            memory_policy: "noeviction".to_owned(),
            ..Facts::default()
        };
        change(&mut facts);
        facts
    }

    fn check(facts: &Facts, durability: Durability) -> Result<(), String> {
        facts.check(&RedisOptions {
            durability,
            ..RedisOptions::default()
        })
    }

    #[test]
    fn weaker_than_asked_is_refused_with_what_to_set() {
        use Durability::{Always, Everysec, Memory};
        let fsync = |value: &str| facts(|facts| facts.append_fsync = Some(value.to_owned()));
        let no_file = facts(|facts| facts.append_only = false);
        let silent = facts(|facts| facts.append_fsync = None);
        for (facts, durability, fits) in [
            (fsync("always"), Always, true),
            (fsync("everysec"), Always, false),
            (fsync("everysec"), Everysec, true),
            (fsync("no"), Everysec, false),
            (fsync("no"), Memory, true),
            (no_file.clone(), Everysec, false),
            (no_file, Memory, true),
            (silent.clone(), Everysec, false),
            (silent, Memory, true),
        ] {
            let checked = check(&facts, durability);
            assert_eq!(checked.is_ok(), fits, "{facts:?} {durability:?}");
            if let Err(text) = checked {
                assert!(
                    text.contains("appendfsync") && text.contains("queue.durability"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn an_eviction_policy_and_an_old_version_are_refused() {
        let evicting = facts(|facts| {
            facts.memory_max_bytes = 1;
            facts.memory_policy = "allkeys-lru".to_owned();
        });
        assert!(
            matches!(check(&evicting, Durability::Always), Err(reason) if reason.contains("noeviction"))
        );
        let unlimited = facts(|facts| facts.memory_policy = "allkeys-lru".to_owned());
        assert!(check(&unlimited, Durability::Always).is_ok());
        for (version, fits) in [
            ("6.0.16", false),
            ("6.2.0", true),
            ("8.0.1", true),
            ("", false),
        ] {
            let facts = facts(|facts| facts.version = version.to_owned());
            assert_eq!(check(&facts, Durability::Always).is_ok(), fits, "{version}");
        }
    }
}

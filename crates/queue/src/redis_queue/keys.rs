//! Names and numbers: keys in Redis, and its ids as sequences.

use crate::{Error, Result, Sequence};

/// Bits of a sequence that number the entries of one millisecond.
const NUMBER_BITS: u32 = 20;
/// One more than the largest number within a millisecond; the script that appends goes on to the next millisecond.
pub(crate) const NUMBERS: u64 = 1 << NUMBER_BITS;

/// Makes the keys of one pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) prefix: String,
}

impl Keys {
    /// The entries of a partition.
    pub(crate) fn stream(&self, partition: u32) -> String {
        format!("{{{}:{partition}}}:stream", self.prefix)
    }

    /// A client's request. The scope's length keeps (`a`, `b:c`) and (`a:b`, `c`) apart.
    pub(crate) fn request(&self, partition: u32, scope: &str, key: &str) -> String {
        format!(
            "{{{}:{partition}}}:request:{}:{scope}:{key}",
            self.prefix,
            scope.len()
        )
    }

    /// An append of ours, for as long as it may be tried again.
    pub(crate) fn attempt(&self, partition: u32, token: u128) -> String {
        format!("{{{}:{partition}}}:attempt:{token:032x}", self.prefix)
    }

    /// A token bucket of a tenant. All of a tenant are in one cluster slot, for they are charged in one step.
    pub(crate) fn bucket(&self, scope: &str, name: &str) -> String {
        format!("{{{}:quota:{scope}}}:{name}", self.prefix)
    }

    /// The places of a tenant that are taken.
    pub(crate) fn places(&self, scope: &str) -> String {
        format!("{{{}:quota:{scope}}}:places", self.prefix)
    }

    /// The dead letters of all partitions.
    pub(crate) fn dead(&self) -> String {
        format!("{{{}}}:dead", self.prefix)
    }

    /// What became of a dead letter that was retried.
    pub(crate) fn retried(&self, id: &str) -> String {
        format!("{{{}}}:retried:{id}", self.prefix)
    }
}

/// Redis's id of a sequence.
pub(crate) fn id(sequence: Sequence) -> String {
    format!("{}-{}", sequence.0 >> NUMBER_BITS, sequence.0 % NUMBERS)
}

/// The id before a sequence, for commands that begin behind an id.
pub(crate) fn id_before(sequence: Sequence) -> String {
    id(Sequence(sequence.0.saturating_sub(1)))
}

/// The sequence of an id of Redis.
pub(crate) fn sequence(key: &str, id: &[u8]) -> Result<Sequence> {
    let parsed = str::from_utf8(id).ok().and_then(|text| {
        let (ms, number) = text.split_once('-')?;
        let (ms, number): (u64, u64) = (ms.parse().ok()?, number.parse().ok()?);
        let fits = ms < 1 << (u64::BITS - NUMBER_BITS) && number < NUMBERS;
        fits.then_some(Sequence(ms << NUMBER_BITS | number))
    });
    parsed.ok_or_else(|| Error::Foreign {
        key: key.to_owned(),
        detail: format!("the id {} is not one of ours", String::from_utf8_lossy(id)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_sequences_are_the_same() {
        let largest = format!("{}-{}", (1_u64 << 44) - 1, NUMBERS - 1);
        for text in [
            "0-0",
            "0-1",
            "1764130000000-0",
            "1764130000000-1048575",
            &largest,
        ] {
            assert_eq!(id(sequence("k", text.as_bytes()).unwrap()), text);
        }
        assert_eq!(id_before(sequence("k", b"5-0").unwrap()), "4-1048575");
        assert_eq!(id_before(Sequence(0)), "0-0");
        for text in ["", "5", "5-", "-5", "x-1", "5-1048576", "17592186044416-0"] {
            assert!(sequence("k", text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn requests_of_different_scopes_have_different_keys() {
        let keys = Keys {
            prefix: "p".to_owned(),
        };
        assert_ne!(keys.request(0, "a", "b:c"), keys.request(0, "a:b", "c"));
    }
}

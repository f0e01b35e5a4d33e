//! Ids of places on a tail, for readers who come back: `sequence-rows-seal`.
//!
//! The seal is not there to keep anything from anybody, as a tail shows its tenant's records alone: it tells ids of this log
//! from those of another that was here before, whose numbers would mean something else.

use std::fmt::Write;

use logmill_model::TenantId;
use logmill_store::Position;

/// What ids of a tenant's tails have in common.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    seal: String,
}

impl Ids {
    /// Ids of a tenant in the log that has this key.
    pub(super) fn of(tenant: &TenantId, key: &[u8; 32]) -> Self {
        let hash = blake3::keyed_hash(key, format!("tail of {tenant}").as_bytes());
        let mut seal = String::new();
        for byte in &hash.as_bytes()[..6] {
            let _ = write!(seal, "{byte:02x}");
        }
        Self { seal }
    }

    /// The id of a place.
    pub(super) fn id(&self, position: Position) -> String {
        let Position { sequence, rows } = position;
        format!("{sequence}-{rows}-{}", self.seal)
    }

    /// The place of an id; `None` when it is not one of ours.
    pub(super) fn position(&self, id: &str) -> Option<Position> {
        let numbers = id.strip_suffix(&self.seal)?.strip_suffix('-')?;
        let (sequence, rows) = numbers.split_once('-')?;
        Some(Position {
            sequence: sequence.parse().ok()?,
            rows: rows.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_their_tenant_and_log() {
        let ids = Ids::of(&"a".parse().unwrap(), &[1; 32]);
        let position = Position {
            sequence: 17,
            rows: 3,
        };
        let id = ids.id(position);
        assert_eq!(ids.position(&id), Some(position));
        for other in [
            Ids::of(&"b".parse().unwrap(), &[1; 32]),
            Ids::of(&"a".parse().unwrap(), &[2; 32]),
        ] {
            assert_eq!(other.position(&id), None);
        }
        for wrong in ["", "17", "17-3", "-", &id[1..3]] {
            assert_eq!(ids.position(wrong), None, "{wrong}");
        }
    }
}

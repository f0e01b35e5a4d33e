//! A set of 128-bit hashes that is only counted at the end.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// So many hashes fit into a processor's cache: up to there they are looked up one by one.
const FEW: usize = 1 << 16;

/// Parts of a larger set, by the highest bits of a hash.
const PARTS_LOG2: u32 = 8;

/// Hashes for which a part has room at first.
const PART_HASHES: usize = FEW >> (PARTS_LOG2 - 1);

/// A set of hashes. Beyond [`FEW`], where each look-up would wait for memory, they are put down in parts, each with
/// whatever stands in it twice, and a part is looked through when it is full, in the cache.
#[derive(Debug)]
pub(super) enum Hashes {
    Few(HashSet<u128, BuildHasherDefault<LowBits>>),
    Many(Many),
}

#[derive(Debug)]
pub(super) struct Many {
    parts: Vec<Vec<u128>>,
    /// A table for the hashes of one part; 0 is no hash.
    table: Vec<u128>,
}

impl Default for Hashes {
    fn default() -> Self {
        Self::Few(HashSet::default())
    }
}

impl Hashes {
    pub(super) fn insert(&mut self, hash: u128) {
        match self {
            Self::Few(few) => {
                few.insert(hash);
                if few.len() > FEW {
                    self.make_many(0);
                }
            }
            Self::Many(many) => many.insert(hash),
        }
    }

    /// Puts them down in parts, with room for so many more.
    fn make_many(&mut self, more: usize) {
        let mut many = match std::mem::take(self) {
            Self::Few(few) => Many::of(few),
            Self::Many(many) => many,
        };
        many.reserve(more);
        *self = Self::Many(many);
    }

    /// How many there are.
    pub(super) fn len(&mut self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => {
                many.clean();
                many.parts.iter().map(Vec::len).sum()
            }
        }
    }

    /// All of them, 16 bytes each.
    pub(super) fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len() * size_of::<u128>());
        let mut write = |hash: &u128| bytes.extend_from_slice(&hash.to_le_bytes());
        match self {
            Self::Few(few) => few.iter().for_each(&mut write),
            Self::Many(many) => many.parts.iter().flatten().for_each(&mut write),
        }
        bytes
    }

    /// Adds what [`Hashes::bytes`] gave.
    pub(super) fn add_bytes(&mut self, bytes: &[u8]) {
        let (hashes, _rest) = bytes.as_chunks::<16>();
        if hashes.len() > FEW {
            self.make_many(hashes.len());
        }
        for hash in hashes {
            self.insert(u128::from_le_bytes(*hash));
        }
    }

    /// Bytes in memory.
    pub(super) fn memory(&self) -> usize {
        match self {
            // One byte of control for each, and room for an eighth more.
            Self::Few(few) => few.capacity() * (size_of::<u128>() + 1) * 8 / 7,
            Self::Many(many) => {
                let parts = many.parts.iter().map(Vec::capacity).sum::<usize>();
                (parts + many.table.capacity()) * size_of::<u128>()
            }
        }
    }
}

impl Many {
    fn of(few: HashSet<u128, BuildHasherDefault<LowBits>>) -> Self {
        let part = || Vec::with_capacity(PART_HASHES);
        let mut many = Self {
            parts: std::iter::repeat_with(part).take(1 << PARTS_LOG2).collect(),
            table: Vec::new(),
        };
        few.into_iter().for_each(|hash| many.insert(hash));
        many
    }

    #[inline]
    fn insert(&mut self, hash: u128) {
        let part = (hash >> (u128::BITS - PARTS_LOG2)) as usize;
        let hashes = &mut self.parts[part];
        if hashes.len() == hashes.capacity() {
            clean(hashes, &mut self.table);
            // It is looked through again when there is half as much new as there is now.
            let room = hashes.capacity() - hashes.len();
            let wanted = hashes.len() / 2;
            if room < wanted {
                hashes.reserve_exact(wanted);
            }
        }
        hashes.push(hash);
    }

    /// Makes room for so many more.
    fn reserve(&mut self, hashes: usize) {
        // Not every part gets as many.
        let of_part = (hashes >> PARTS_LOG2) * 9 / 8;
        self.parts.iter_mut().for_each(|part| part.reserve(of_part));
    }

    /// Leaves each hash once.
    fn clean(&mut self) {
        for hashes in &mut self.parts {
            clean(hashes, &mut self.table);
        }
    }
}

/// Leaves each hash once.
fn clean(hashes: &mut Vec<u128>, table: &mut Vec<u128>) {
    let slots = (hashes.len() * 2).next_power_of_two();
    table.clear();
    table.resize(slots, 0);
    hashes.retain(|hash| {
        // No hash is 0: see the table.
        let hash = (*hash).max(1);
        let mut slot = hash as usize & (slots - 1);
        while table[slot] != 0 {
            if table[slot] == hash {
                return false;
            }
            slot = (slot + 1) & (slots - 1);
        }
        table[slot] = hash;
        true
    });
}

/// The hash of a hash: what it is already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LowBits(u64);

impl Hasher for LowBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_128;

    use super::*;

    fn hash(number: usize) -> u128 {
        xxh3_128(&number.to_le_bytes())
    }

    #[test]
    fn few_and_many_are_counted_once_each() {
        for distinct in [0, 1, FEW, FEW + 1, 5 * FEW] {
            let mut hashes = Hashes::default();
            // Each thrice, far apart.
            for number in (0..3).flat_map(|_| 0..distinct) {
                hashes.insert(hash(number));
            }
            assert_eq!(hashes.len(), distinct);
            assert_eq!(matches!(hashes, Hashes::Many(_)), distinct > FEW);
            let bytes = hashes.bytes();
            assert_eq!(bytes.len(), distinct * 16);
            let mut merged = Hashes::default();
            merged.add_bytes(&bytes);
            (0..100).for_each(|number| merged.insert(hash(distinct + number)));
            merged.add_bytes(&bytes);
            assert_eq!(merged.len(), distinct + 100);
        }
    }

    #[test]
    fn what_comes_again_and_again_takes_no_memory() {
        let mut hashes = Hashes::default();
        (0..2 * FEW).for_each(|number| hashes.insert(hash(number)));
        let before = hashes.memory();
        (0..100 * FEW).for_each(|number| hashes.insert(hash(number % FEW)));
        assert_eq!(hashes.len(), 2 * FEW);
        assert!(
            hashes.memory() < 3 * before,
            "{} after {before}",
            hashes.memory()
        );
    }
}

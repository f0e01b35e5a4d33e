//! How often each text came, by 128-bit hashes.

use arrow_array::{Array, StringViewArray};
use xxhash_rust::xxh3::xxh3_128;

/// Texts that are looked up together.
const TOGETHER: usize = 64;

/// Slots at first.
const SLOTS_MIN: usize = 256;

/// Texts, each with the number of its rows, in the order in which they came.
///
/// A table of many is longer than the processor's cache. What is looked up together is touched first, so that the processor
/// waits for all of it at once and not for one after the other.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    texts: String,
    /// The number of a group and 1, at the place that its hash says or after it; 0 is none. At least half of them are.
    slots: Vec<u32>,
}

/// One text; all that is looked up of it stands together.
#[derive(Debug)]
struct Group {
    hash: u128,
    rows: u64,
    /// Where the text ends; it begins where the one before it ends.
    end: usize,
}

/// A text, its hash, and rows that have it.
type Rows<'a> = (u128, &'a str, u64);

impl Groups {
    pub(super) const fn len(&self) -> usize {
        self.groups.len()
    }

    /// Adds other groups.
    pub(super) fn merge(&mut self, other: &Self) {
        let mut together: Vec<Rows<'_>> = Vec::with_capacity(TOGETHER);
        for group in other.iter() {
            self.put(group, &mut together);
        }
        self.count(&together);
    }

    /// Has rows wait; those that wait already are counted when they are many.
    fn put<'a>(&mut self, rows: Rows<'a>, together: &mut Vec<Rows<'a>>) {
        if together.len() == TOGETHER {
            self.count(together);
            together.clear();
        }
        together.push(rows);
    }

    /// All groups.
    pub(super) fn iter(&self) -> impl Iterator<Item = Rows<'_>> {
        let mut start = 0;
        self.groups.iter().map(move |group| {
            let text = self.texts.get(start..group.end).unwrap_or_default();
            start = group.end;
            (group.hash, text, group.rows)
        })
    }

    fn count(&mut self, together: &[Rows<'_>]) {
        while (self.len() + together.len()) * 2 > self.slots.len() {
            self.grow_to((self.slots.len() * 2).max(SLOTS_MIN));
        }
        let mut groups = [0; TOGETHER];
        for (group, (hash, _, _)) in groups.iter_mut().zip(together) {
            *group = self.slots[self.slot(*hash)];
        }
        let mut touched = 0;
        for group in groups.iter().filter(|group| **group > 0) {
            touched ^= self.groups[*group as usize - 1].rows;
        }
        std::hint::black_box(touched);
        for (hash, text, rows) in together {
            self.group(*hash, text).rows += rows;
        }
    }

    /// The group of a text. There is a free slot.
    fn group(&mut self, hash: u128, text: &str) -> &mut Group {
        let mut slot = self.slot(hash);
        loop {
            match self.slots[slot] {
                0 => break,
                number if self.groups[number as usize - 1].hash == hash => {
                    return &mut self.groups[number as usize - 1];
                }
                _ => slot = self.after(slot),
            }
        }
        self.slots[slot] = self.len() as u32 + 1;
        self.texts.push_str(text);
        self.groups.push(Group {
            hash,
            rows: 0,
            end: self.texts.len(),
        });
        let group = self.len() - 1;
        &mut self.groups[group]
    }

    /// Where a hash is looked for first.
    fn slot(&self, hash: u128) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    fn grow_to(&mut self, slots: usize) {
        self.slots.clear();
        self.slots.resize(slots, 0);
        for number in 1..=self.groups.len() {
            let mut slot = self.slot(self.groups[number - 1].hash);
            while self.slots[slot] != 0 {
                slot = self.after(slot);
            }
            self.slots[slot] = number as u32;
        }
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Group>()
            + self.texts.capacity()
            + self.slots.capacity() * size_of::<u32>()
    }
}

/// What one thread counted: as many parts of all texts, by their hashes, as there are threads to merge them.
#[derive(Debug)]
pub(super) struct Counted {
    parts: Vec<Groups>,
    /// Rows without a text.
    pub(super) nulls: u64,
}

impl Counted {
    pub(super) fn new(parts: usize) -> Self {
        let mut groups = Vec::new();
        groups.resize_with(parts.max(1), Groups::default);
        Self {
            parts: groups,
            nulls: 0,
        }
    }

    /// Counts a text for each row.
    pub(super) fn add(&mut self, texts: &StringViewArray) {
        self.nulls += texts.null_count() as u64;
        let mut together: Vec<Vec<Rows<'_>>> = Vec::new();
        together.resize_with(self.parts.len(), || Vec::with_capacity(TOGETHER));
        let mut before: Option<(u128, usize)> = None;
        for (row, view) in texts.views().iter().enumerate() {
            if texts.is_null(row) {
                continue;
            }
            // The text of the row before is not looked up again.
            if let Some((known, part)) = before
                && known == *view
                && let Some((_, _, rows)) = together.get_mut(part).and_then(|some| some.last_mut())
            {
                *rows += 1;
                continue;
            }
            let text = texts.value(row);
            let hash = xxh3_128(text.as_bytes());
            // The highest bits: the lowest say the slot.
            let part = ((hash >> 96) as usize * self.parts.len()) >> 32;
            before = Some((*view, part));
            if let (Some(groups), Some(some)) = (self.parts.get_mut(part), together.get_mut(part)) {
                groups.put((hash, text, 1), some);
            }
        }
        for (groups, some) in self.parts.iter_mut().zip(&together) {
            groups.count(some);
        }
    }

    pub(super) fn into_parts(self) -> Vec<Groups> {
        self.parts
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.parts.iter().map(Groups::memory_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Texts of some rows, in arrays of some rows each.
    fn counted(rows: usize, distinct: usize, parts: usize) -> Counted {
        let mut groups = Counted::new(parts);
        let rows: Vec<usize> = (0..rows).collect();
        for rows in rows.chunks(1_000) {
            let text = |row: &usize| {
                (!row.is_multiple_of(10)).then(|| format!("text number {}", row % distinct))
            };
            groups.add(&rows.iter().map(text).collect::<StringViewArray>());
        }
        groups
    }

    #[test]
    fn few_and_many_are_counted_and_merged() {
        for (distinct, parts) in [(1, 1), (7, 2), (1_000, 3), (100_001, 2)] {
            let rows = 300_000;
            let (one, other) = (counted(rows, distinct, parts), counted(rows, 3, parts));
            assert!(one.memory_bytes() > 0);
            assert_eq!(one.nulls as usize, rows.div_ceil(10));
            let mut expected: HashMap<String, u64> = HashMap::new();
            for (row, distinct) in (0..rows).flat_map(|row| [(row, distinct), (row, 3)]) {
                if !row.is_multiple_of(10) {
                    let text = format!("text number {}", row % distinct);
                    *expected.entry(text).or_default() += 1;
                }
            }
            let mut found = HashMap::new();
            let others = other.into_parts();
            for (mut merged, other) in one.into_parts().into_iter().zip(others) {
                merged.merge(&other);
                for (hash, text, count) in merged.iter() {
                    assert_eq!(hash, xxh3_128(text.as_bytes()));
                    assert!(found.insert(text.to_owned(), count).is_none());
                }
            }
            assert_eq!(found, expected);
        }
    }
}

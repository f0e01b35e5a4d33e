//! How often each text came, by 128-bit hashes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;

use arrow_array::{Array, StringViewArray};
use xxhash_rust::xxh3::xxh3_128;

use crate::functions::LowBits;

/// So many groups fit into a processor's cache: up to there each row is looked up when it comes.
const FEW: usize = 1 << 14;

/// Parts of more groups, by the highest bits of a hash.
const PARTS_LOG2: u32 = 8;

/// Rows that wait until they are looked up part by part.
const WAITING_ROWS: usize = 1 << 17;

/// A group without its hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) count: u64,
    /// Where its text is: whose, and from which byte.
    thread: u32,
    length: u32,
    start: usize,
}

pub(super) type Part = HashMap<u128, Group, BuildHasherDefault<LowBits>>;

/// What one thread counted. Beyond [`FEW`] groups, where each look-up would wait for memory, rows wait in parts, and a part
/// is looked through for many rows at once, in the cache.
#[derive(Debug)]
pub(super) struct Groups {
    thread: u32,
    /// One, or as many as there are.
    parts: Vec<Part>,
    /// The texts of groups, one after the other.
    texts: Vec<u8>,
    /// Rows without a text.
    pub(super) nulls: u64,
    /// Of each part, the hashes of rows that wait, and the rows' numbers among them.
    waiting: Vec<Vec<(u128, u32)>>,
    /// Their texts, each array with the number of its first row.
    waiting_texts: Vec<(u32, StringViewArray)>,
    waiting_rows: usize,
}

fn part_of(hash: u128) -> usize {
    (hash >> (u128::BITS - PARTS_LOG2)) as usize
}

impl Groups {
    pub(super) fn new(thread: usize) -> Self {
        Self {
            thread: thread as u32,
            parts: vec![Part::default()],
            texts: Vec::new(),
            nulls: 0,
            waiting: Vec::new(),
            waiting_texts: Vec::new(),
            waiting_rows: 0,
        }
    }

    /// Counts a text for each row.
    pub(super) fn add(&mut self, texts: &StringViewArray) {
        self.nulls += texts.null_count() as u64;
        if self.parts.len() > 1 {
            self.put_down(texts);
            return;
        }
        // Where a text is that of the row before, it is not looked up again.
        let mut last: Option<(u128, u128)> = None;
        let mut again = 0;
        for (row, view) in texts.views().iter().enumerate() {
            if texts.is_null(row) {
                continue;
            }
            match last {
                Some((known, _)) if known == *view => again += 1,
                _ => {
                    if let Some((_, hash)) = last {
                        self.count_again(hash, again);
                    }
                    let text = texts.value(row).as_bytes();
                    let hash = xxh3_128(text);
                    self.count(0, hash, text);
                    (last, again) = (Some((*view, hash)), 0);
                }
            }
        }
        if let Some((_, hash)) = last {
            self.count_again(hash, again);
        }
        if self.parts.first().is_some_and(|part| part.len() > FEW) {
            self.split();
        }
    }

    fn count(&mut self, part: usize, hash: u128, text: &[u8]) {
        match self.parts[part].entry(hash) {
            Entry::Occupied(mut known) => known.get_mut().count += 1,
            Entry::Vacant(new) => {
                let start = self.texts.len();
                self.texts.extend_from_slice(text);
                new.insert(Group {
                    count: 1,
                    thread: self.thread,
                    length: text.len() as u32,
                    start,
                });
            }
        }
    }

    fn count_again(&mut self, hash: u128, rows: u64) {
        if rows > 0
            && let Some(group) = self.parts[0].get_mut(&hash)
        {
            group.count += rows;
        }
    }

    /// From one part to all.
    fn split(&mut self) {
        if self.parts.len() > 1 {
            return;
        }
        let one = self.parts.pop().unwrap_or_default();
        self.parts.resize_with(1 << PARTS_LOG2, Part::default);
        self.waiting.resize_with(1 << PARTS_LOG2, Vec::new);
        for (hash, group) in one {
            self.parts[part_of(hash)].insert(hash, group);
        }
    }

    /// Has rows wait.
    fn put_down(&mut self, texts: &StringViewArray) {
        let first = self.waiting_rows as u32;
        for row in 0..texts.len() {
            if texts.is_valid(row) {
                let hash = xxh3_128(texts.value(row).as_bytes());
                self.waiting[part_of(hash)].push((hash, first + row as u32));
            }
        }
        self.waiting_texts.push((first, texts.clone()));
        self.waiting_rows += texts.len();
        if self.waiting_rows >= WAITING_ROWS {
            self.look_up();
        }
    }

    /// Counts the rows that wait.
    fn look_up(&mut self) {
        let arrays = std::mem::take(&mut self.waiting_texts);
        for part in 0..self.waiting.len() {
            let mut rows = std::mem::take(&mut self.waiting[part]);
            for (hash, row) in rows.drain(..) {
                if let Some(group) = self.parts[part].get_mut(&hash) {
                    group.count += 1;
                    continue;
                }
                let array = arrays.partition_point(|(first, _)| *first <= row) - 1;
                let (first, texts) = &arrays[array];
                let text = texts.value((row - first) as usize);
                self.count(part, hash, text.as_bytes());
            }
            self.waiting[part] = rows;
        }
        self.waiting_rows = 0;
    }

    /// Counts what waits, and takes as many parts as the others have.
    pub(super) fn finish(&mut self, parts: usize) {
        self.look_up();
        self.waiting = Vec::new();
        if parts > 1 {
            self.split();
        }
    }

    /// Its number among those that count together.
    pub(super) const fn number(&self) -> u32 {
        self.thread
    }

    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The groups of a part, which are then gone here.
    pub(super) fn take(&mut self, part: usize) -> Part {
        self.parts
            .get_mut(part)
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Bytes in memory, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let group = size_of::<(u128, Group)>() + 1;
        let groups: usize = self.parts.iter().map(|part| part.capacity() * group).sum();
        let waiting: usize = self.waiting.iter().map(Vec::capacity).sum();
        let texts: usize = self
            .waiting_texts
            .iter()
            .map(|(_, texts)| texts.get_array_memory_size())
            .sum();
        groups * 8 / 7 + waiting * size_of::<(u128, u32)>() + texts + self.texts.capacity()
    }
}

/// Adds groups of the same part.
pub(super) fn merge(into: &mut Part, other: Part) {
    for (hash, group) in other {
        match into.entry(hash) {
            Entry::Occupied(mut known) => known.get_mut().count += group.count,
            Entry::Vacant(new) => {
                new.insert(group);
            }
        }
    }
}

/// A group's text, among those of all threads.
pub(super) fn text<'a>(group: &Group, threads: &'a [Groups]) -> &'a str {
    let texts = threads.get(group.thread as usize);
    let end = group.start + group.length as usize;
    let text = texts.and_then(|thread| thread.texts.get(group.start..end));
    text.and_then(|text| std::str::from_utf8(text).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of some rows, in arrays of some rows each.
    fn counted(rows: usize, distinct: usize, thread: usize) -> Groups {
        let mut groups = Groups::new(thread);
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
        for (distinct, parts) in [(1, 1), (7, 1), (FEW + 1_001, 1 << PARTS_LOG2)] {
            let rows = 10 * WAITING_ROWS / 3;
            let mut threads = [counted(rows, distinct, 0), counted(rows, 3, 1)];
            assert_eq!(threads[0].parts(), parts, "{distinct}");
            assert!(threads[0].memory_bytes() > 0);
            let mut expected: HashMap<String, u64> = HashMap::new();
            for (row, distinct) in (0..rows).flat_map(|row| [(row, distinct), (row, 3)]) {
                if !row.is_multiple_of(10) {
                    let text = format!("text number {}", row % distinct);
                    *expected.entry(text).or_default() += 1;
                }
            }
            let mut found = HashMap::new();
            threads.iter_mut().for_each(|thread| thread.finish(parts));
            for part in 0..parts {
                let mut all = threads[0].take(part);
                merge(&mut all, threads[1].take(part));
                for group in all.values() {
                    let text = text(group, &threads).to_owned();
                    assert!(found.insert(text, group.count).is_none());
                }
            }
            assert_eq!(found, expected);
            assert_eq!(threads[0].nulls as usize, rows.div_ceil(10));
        }
    }
}

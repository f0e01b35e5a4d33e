//! The token index: for every token of every text column, the granules it occurs in.
//!
//! A token is 26 bits of a hash. Tokens are dealt into buckets by their high bits, so that a look-up reads one entry of
//! the directory and one bucket's block, however large the segment is. `docs/segment-format.md` has the bytes.

mod bits;
mod granules;
mod merge;
mod tokens;

pub use granules::GranuleSet;
pub use tokens::{ColumnSeed, token_hash, token_hashes};

use tokens::HASH_BITS;
pub(crate) use tokens::Tokeniser;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{Error, Result};
use bits::{BitReader, BitWriter};
use merge::{Merge, Source};

/// Tokens of a bucket, about: a block of some 2 KiB, which is one read.
const BUCKET_TOKENS: usize = 512;
/// Bytes of a block's checksum.
const CHECK_BYTES: usize = 4;
/// More granules than a segment can have: what a damaged footer may claim.
const GRANULES_MAX: u32 = 1 << 20;
/// More buckets than an index can have.
const BUCKETS_LOG2_MAX: u32 = 20;

/// Where the index is in the file, and its measures: an entry of the footer's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexLocation {
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Bytes of all blocks.
    pub blocks_bytes: u64,
    /// Bytes of the directory, which follows the blocks.
    pub directory_bytes: u64,
    /// There are two to the power of this many buckets.
    pub buckets_log2: u32,
    /// Granules of the segment, through all row groups.
    pub granules: u32,
    /// Distinct tokens.
    pub tokens: u64,
    /// Tokens, counted once for each granule.
    pub pairs: u64,
}

/// The pairs of a token's hash (high half) and a granule (low half) of an index under construction.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    pairs: Vec<u64>,
    seen: Seen,
    /// Indexes that are taken in as they are.
    sources: Vec<Source>,
}

/// The hashes that a granule has already, in a table of open addresses.
#[derive(Debug, Default)]
struct Seen {
    slots: Vec<u32>,
    count: usize,
}

impl Seen {
    /// Empties the table; it stays as large as the next granule needs if that is like the last.
    fn clear(&mut self) {
        let slots = (self.count * 3).next_power_of_two().max(1 << 12);
        self.slots.clear();
        self.slots.resize(slots, 0);
        self.count = 0;
    }

    /// Whether the hash is new.
    #[inline]
    fn insert(&mut self, hash: u32) -> bool {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match self.slots[at] {
                0 => break,
                there if there == hash => return false,
                _ => at = (at + 1) & mask,
            }
        }
        self.slots[at] = hash;
        self.count += 1;
        if self.count * 2 > self.slots.len() {
            self.grow();
        }
        true
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        self.slots.resize(old.len() * 4, 0);
        let mask = self.slots.len() - 1;
        for hash in old.into_iter().filter(|hash| *hash != 0) {
            let mut at = hash as usize & mask;
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = hash;
        }
    }
}

impl IndexBuilder {
    /// Starts a granule of a column.
    pub(crate) fn begin(&mut self) {
        self.seen.clear();
    }

    /// Adds a token of the granule.
    #[inline]
    pub(crate) fn add(&mut self, hash: u32, granule: u32) {
        if self.seen.insert(hash) {
            self.pairs.push(pair(hash, granule));
        }
    }

    /// Every pair that was added, in ascending order.
    pub(crate) fn into_pairs(self) -> Vec<u64> {
        let mut pairs = self.pairs;
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// Takes another index in, from its blocks; its granule 0 is `first_granule` here.
    pub(crate) fn add_index(&mut self, index: TokenIndex, blocks: &[u8], first_granule: u32) {
        self.sources
            .push(Source::new(index, blocks.to_vec(), first_granule));
    }

    /// Writes blocks and directory to `out`; empties the builder. `offset` is where they will be in the file.
    pub(crate) fn finish(
        &mut self,
        granules: u32,
        offset: u64,
        out: &mut Vec<u8>,
    ) -> Result<IndexLocation> {
        let mut pairs = std::mem::take(&mut self.pairs);
        let sources = std::mem::take(&mut self.sources);
        pairs.sort_unstable();
        pairs.dedup();
        let buckets_log2 = (tokens_about(&pairs, &sources)? / BUCKET_TOKENS)
            .next_power_of_two()
            .ilog2()
            .min(BUCKETS_LOG2_MAX);
        let start = out.len();
        let mut directory = Vec::with_capacity((1 << buckets_log2) + 1);
        let mut merge = Merge::new(&pairs, &sources);
        let (mut here, mut count, mut tokens) = (Vec::new(), 0, 0);
        for bucket in 0..1_u64 << buckets_log2 {
            directory.push(relative(out.len() - start)?);
            let end = (bucket + 1) << residual_bits(buckets_log2) << u32::BITS;
            merge.take_below(end, &mut here)?;
            if !here.is_empty() {
                tokens += write_block(&here, bucket as u32, buckets_log2, granules, out);
            }
            count += here.len();
        }
        directory.push(relative(out.len() - start)?);
        let blocks_bytes = (out.len() - start) as u64;
        let directory_start = out.len();
        for entry in &directory {
            out.extend_from_slice(&entry.to_le_bytes());
        }
        let check = xxh3_64(&out[directory_start..]);
        out.extend_from_slice(&check.to_le_bytes());
        let location = IndexLocation {
            offset,
            blocks_bytes,
            directory_bytes: (out.len() - directory_start) as u64,
            buckets_log2,
            granules,
            tokens,
            pairs: count as u64,
        };
        pairs.clear();
        self.pairs = pairs;
        Ok(location)
    }
}

/// How many tokens there are: exactly without sources, else by those of a small part of all hashes.
fn tokens_about(pairs: &[u64], sources: &[Source]) -> Result<usize> {
    const PARTS_LOG2: u32 = 6;
    let count = |pairs: &[u64]| tokens_of(pairs).count();
    if sources.is_empty() {
        return Ok(count(pairs));
    }
    let end = 1 << residual_bits(PARTS_LOG2) << u32::BITS;
    let mut sample = Vec::new();
    Merge::new(pairs, sources).take_below(end, &mut sample)?;
    Ok(count(&sample) << PARTS_LOG2)
}

/// Pairs in ascending order, those of each token by themselves.
pub(crate) fn tokens_of(pairs: &[u64]) -> impl Iterator<Item = &[u64]> + Clone {
    pairs.chunk_by(|one, other| one >> u32::BITS == other >> u32::BITS)
}

const fn pair(hash: u32, granule: u32) -> u64 {
    (hash as u64) << 32 | granule as u64
}

fn relative(offset: usize) -> Result<u32> {
    u32::try_from(offset).map_err(|_too_long| Error::Index("it is longer than 4 GiB".to_owned()))
}

/// Bits that a granule's number takes.
fn granule_bits(granules: u32) -> u32 {
    u32::BITS - granules.saturating_sub(1).leading_zeros()
}

/// Bits of a hash that its bucket does not say.
const fn residual_bits(buckets_log2: u32) -> u32 {
    HASH_BITS - buckets_log2
}

/// The hash with which a bucket begins.
fn first_hash(bucket: u32, buckets_log2: u32) -> u32 {
    bucket << residual_bits(buckets_log2)
}

/// A bucket's tokens: count, parameter of the gaps' code, then for each token the gap to the one before and its
/// granules; at the end a checksum.
///
/// Answers how many tokens there are.
fn write_block(
    pairs: &[u64],
    bucket: u32,
    buckets_log2: u32,
    granules: u32,
    out: &mut Vec<u8>,
) -> u64 {
    let start = out.len();
    let count = tokens_of(pairs).count() as u32;
    let parameter = rice_parameter(count, buckets_log2);
    out.extend_from_slice(&count.to_le_bytes());
    out.push(parameter as u8);
    let mut bits = BitWriter::new(out);
    let mut next = first_hash(bucket, buckets_log2);
    for token in tokens_of(pairs) {
        let hash = (token[0] >> 32) as u32;
        bits.rice(hash - next, parameter);
        next = hash.wrapping_add(1);
        write_granules(token, granules, &mut bits);
    }
    bits.finish();
    let check = checksum(&out[start..], bucket);
    out.extend_from_slice(&check.to_le_bytes());
    u64::from(count)
}

/// The code of least length for gaps of this mean.
fn rice_parameter(count: u32, buckets_log2: u32) -> u32 {
    let mean = (1_u64 << residual_bits(buckets_log2)) / u64::from(count.max(1));
    // ln 2 of the mean, rounded down to a power of two.
    (mean * 7 / 10).max(1).ilog2().min(31)
}

/// One granule as its number; several as a list of gaps or as a bitmap, whichever is shorter.
fn write_granules(token: &[u64], granules: u32, bits: &mut BitWriter<'_>) {
    let number = |pair: &u64| *pair as u32;
    if let [only] = token {
        bits.bits(0, 1);
        bits.bits(number(only), granule_bits(granules));
        return;
    }
    bits.bits(1, 1);
    let gaps = || {
        let before = std::iter::once(None).chain(token.iter().map(Some));
        token.iter().zip(before).map(move |(pair, before)| {
            number(pair) + 1 - before.map_or(0, |before| number(before) + 1)
        })
    };
    let gamma_bits = |value: u32| 2 * value.ilog2() + 1;
    let count = token.len() as u32;
    let list = gamma_bits(count) + gaps().map(gamma_bits).sum::<u32>();
    if list < granules {
        bits.bits(0, 1);
        bits.gamma(count);
        gaps().for_each(|gap| bits.gamma(gap));
    } else {
        bits.bits(1, 1);
        let mut set = GranuleSet::none(granules);
        token.iter().for_each(|pair| set.insert(number(pair)));
        for granule in 0..granules {
            bits.bits(u32::from(set.contains(granule)), 1);
        }
    }
}

fn checksum(block: &[u8], bucket: u32) -> u32 {
    xxh3_64_with_seed(block, u64::from(bucket)) as u32
}

fn damaged(what: &str) -> Error {
    Error::Index(what.to_owned())
}

/// The directory of a segment's index, in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIndex {
    location: IndexLocation,
    directory: Vec<u32>,
}

impl TokenIndex {
    /// Where the directory is in the file.
    pub fn directory_range(location: &IndexLocation) -> Result<Range<u64>> {
        let start = location.offset.checked_add(location.blocks_bytes);
        let end = start.and_then(|start| start.checked_add(location.directory_bytes));
        match (start, end) {
            (Some(start), Some(end)) if location.directory_bytes < 1 << 28 => Ok(start..end),
            _ => Err(damaged("its place is not possible")),
        }
    }

    /// Reads a directory and checks that it is one.
    pub fn open(location: IndexLocation, directory: &[u8]) -> Result<Self> {
        if location.granules > GRANULES_MAX || location.buckets_log2 > BUCKETS_LOG2_MAX {
            return Err(damaged("its measures are not possible"));
        }
        let Some((entries, check)) = directory.split_last_chunk::<8>() else {
            return Err(damaged("the directory ends too early"));
        };
        if xxh3_64(entries) != u64::from_le_bytes(*check) {
            return Err(damaged("the checksum of the directory is wrong"));
        }
        let (entries, rest) = entries.as_chunks::<4>();
        let directory: Vec<u32> = entries
            .iter()
            .map(|entry| u32::from_le_bytes(*entry))
            .collect();
        let in_order = directory.is_sorted()
            && directory.last().map(|last| u64::from(*last)) == Some(location.blocks_bytes);
        if !rest.is_empty() || directory.len() != (1 << location.buckets_log2) + 1 || !in_order {
            return Err(damaged("the directory contradicts itself"));
        }
        Ok(Self {
            location,
            directory,
        })
    }

    /// The index's measures.
    pub const fn location(&self) -> &IndexLocation {
        &self.location
    }

    /// Bytes in memory.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.directory.len() * size_of::<u32>()
    }

    fn bucket(&self, hash: u32) -> u32 {
        hash >> residual_bits(self.location.buckets_log2)
    }

    /// Bytes of the file that say where a token is; empty when nothing has to be read to know that it is nowhere.
    pub fn block_range(&self, hash: u32) -> Range<u64> {
        self.range_of(self.bucket(hash))
    }

    fn range_of(&self, bucket: u32) -> Range<u64> {
        let at = |bucket: usize| {
            let offset = self.directory.get(bucket).copied().unwrap_or_default();
            self.location.offset + u64::from(offset)
        };
        at(bucket as usize)..at(bucket as usize + 1)
    }

    /// The granules that a token may be in, from the bytes of its block. A granule that is not in the set does not
    /// have the token.
    pub fn look_up(&self, hash: u32, block: &[u8]) -> Result<GranuleSet> {
        let mut found = GranuleSet::none(self.location.granules);
        if block.is_empty() && self.block_range(hash).is_empty() {
            return Ok(found);
        }
        self.each_token(self.bucket(hash), block, &mut |token, reader, granules| {
            if token == hash {
                read_granules(reader, granules, |granule| found.insert(granule))?;
            } else if token < hash {
                read_granules(reader, granules, |_| {})?;
            }
            Ok(token < hash)
        })?;
        Ok(found)
    }

    /// Whether every block is what was written, from the bytes of all blocks.
    pub(crate) fn check(&self, blocks: &[u8]) -> Result<()> {
        for bucket in 0..1 << self.location.buckets_log2 {
            let block = self.block_of(bucket, blocks)?;
            if !block.is_empty() {
                checked(bucket, block)?;
            }
        }
        Ok(())
    }

    fn block_of<'a>(&self, bucket: u32, blocks: &'a [u8]) -> Result<&'a [u8]> {
        let range = self.range_of(bucket);
        let relative = |offset: u64| (offset - self.location.offset) as usize;
        blocks
            .get(relative(range.start)..relative(range.end))
            .ok_or_else(|| damaged("it ends too early"))
    }

    /// Every pair of all buckets in ascending order, from the bytes of all blocks; and how many blocks are damaged.
    pub(crate) fn all_pairs(&self, blocks: &[u8]) -> (Vec<u64>, u32) {
        let (mut pairs, mut damaged) = (Vec::new(), 0);
        for bucket in 0..1 << self.location.buckets_log2 {
            let read = self.pairs_of(bucket, blocks, &mut |hash, granule| {
                pairs.push(pair(hash, granule));
            });
            damaged += u32::from(read.is_err());
        }
        (pairs, damaged)
    }

    /// Every pair of a token and a granule of a bucket, in ascending order, from the bytes of all blocks.
    pub(crate) fn pairs_of(
        &self,
        bucket: u32,
        blocks: &[u8],
        each: &mut dyn FnMut(u32, u32),
    ) -> Result<()> {
        let block = self.block_of(bucket, blocks)?;
        if block.is_empty() {
            return Ok(());
        }
        self.each_token(bucket, block, &mut |token, reader, granules| {
            read_granules(reader, granules, |granule| each(token, granule))?;
            Ok(true)
        })
    }

    /// Calls `each` with every token of a block, in order, until it answers no; it reads the token's granules.
    fn each_token(
        &self,
        bucket: u32,
        block: &[u8],
        each: &mut dyn FnMut(u32, &mut BitReader<'_>, u32) -> Result<bool>,
    ) -> Result<()> {
        let Some((count, body)) = checked(bucket, block)?.split_first_chunk::<4>() else {
            return Err(damaged("a block ends too early"));
        };
        let count = u32::from_le_bytes(*count);
        let (Some(parameter), Some(body)) = (body.first(), body.get(1..)) else {
            return Err(damaged("a block ends too early"));
        };
        let parameter = u32::from(*parameter);
        if parameter > 31 {
            return Err(damaged("a parameter is not possible"));
        }
        let mut reader = BitReader::new(body);
        let mut next = first_hash(bucket, self.location.buckets_log2);
        for _ in 0..count {
            let gap = reader.rice(parameter)?;
            let token = next
                .checked_add(gap)
                .ok_or_else(|| damaged("a token is beyond its bucket"))?;
            if !each(token, &mut reader, self.location.granules)? {
                return Ok(());
            }
            next = token.wrapping_add(1);
        }
        Ok(())
    }
}

/// A block without its checksum, which is right.
fn checked(bucket: u32, block: &[u8]) -> Result<&[u8]> {
    let Some((body, check)) = block.split_last_chunk::<CHECK_BYTES>() else {
        return Err(damaged("a block ends too early"));
    };
    if checksum(body, bucket) != u32::from_le_bytes(*check) {
        return Err(damaged("the checksum of a block is wrong"));
    }
    Ok(body)
}

fn read_granules(
    reader: &mut BitReader<'_>,
    granules: u32,
    mut each: impl FnMut(u32),
) -> Result<()> {
    let mut insert = |granule: u32| {
        if granule >= granules {
            return Err(damaged("a granule is beyond the segment"));
        }
        each(granule);
        Ok(())
    };
    if reader.bits(1)? == 0 {
        return insert(reader.bits(granule_bits(granules))?);
    }
    if reader.bits(1)? == 0 {
        let count = reader.gamma()?;
        let mut next = 0_u32;
        for _ in 0..count {
            let gap = reader.gamma()?;
            next = next
                .checked_add(gap)
                .ok_or_else(|| damaged("a granule is beyond the segment"))?;
            insert(next - 1)?;
        }
    } else {
        for granule in 0..granules {
            if reader.bits(1)? == 1 {
                insert(granule)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn build(pairs: &BTreeSet<(u32, u32)>, granules: u32) -> (TokenIndex, Vec<u8>) {
        let pairs = pairs.iter().map(|(hash, granule)| pair(*hash, *granule));
        let mut builder = IndexBuilder {
            pairs: pairs.collect(),
            ..IndexBuilder::default()
        };
        let mut bytes = Vec::new();
        let location = builder.finish(granules, 0, &mut bytes).unwrap();
        let directory = TokenIndex::directory_range(&location).unwrap();
        let directory = &bytes[directory.start as usize..directory.end as usize];
        (TokenIndex::open(location, directory).unwrap(), bytes)
    }

    fn find(index: &TokenIndex, bytes: &[u8], hash: u32) -> Result<GranuleSet> {
        let range = index.block_range(hash);
        index.look_up(hash, &bytes[range.start as usize..range.end as usize])
    }

    fn all_pairs(index: &TokenIndex, bytes: &[u8]) -> BTreeSet<(u32, u32)> {
        let mut pairs = BTreeSet::new();
        for bucket in 0..1 << index.location().buckets_log2 {
            let add = &mut |hash, granule| {
                assert!(pairs.insert((hash, granule)));
            };
            index.pairs_of(bucket, bytes, add).unwrap();
        }
        pairs
    }

    #[test]
    fn many_tokens_go_into_many_buckets() {
        let mut pairs = BTreeSet::new();
        for number in 0..20_000_u32 {
            let hash = token_hash(ColumnSeed::of("x"), &number.to_string());
            pairs.insert((hash, number % 300));
            if number % 7 == 0 {
                pairs.extend((0..300).map(|granule| (hash, granule)));
            } else if number % 5 == 0 {
                pairs.extend((0..300).step_by(37).map(|granule| (hash, granule)));
            }
        }
        let (index, bytes) = build(&pairs, 300);
        assert_eq!(index.location().buckets_log2, 6);
        let mut by_hash: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (hash, granule) in &pairs {
            by_hash.entry(*hash).or_default().push(*granule);
        }
        for (hash, granules) in &by_hash {
            let found: Vec<u32> = find(&index, &bytes, *hash).unwrap().iter().collect();
            assert_eq!(&found, granules);
        }
        assert_eq!(all_pairs(&index, &bytes), pairs);
    }

    proptest! {
        #[test]
        fn a_set_of_pairs_comes_back(
            granules in 1_u32..200,
            pairs in prop::collection::btree_set((prop_oneof![0_u32..50, 0_u32..1 << HASH_BITS], any::<u32>()), 0..200),
            asked in 0_u32..1 << HASH_BITS,
        ) {
            let pairs: BTreeSet<_> = pairs.into_iter().map(|(hash, granule)| (hash, granule % granules)).collect();
            let (index, bytes) = build(&pairs, granules);
            for hash in pairs.iter().map(|(hash, _)| *hash).chain([asked]) {
                let found: Vec<_> = find(&index, &bytes, hash).unwrap().iter().collect();
                let wanted: Vec<_> = pairs.iter().filter(|(h, _)| *h == hash).map(|(_, g)| *g).collect();
                prop_assert_eq!(found, wanted);
            }
        }

        #[test]
        fn a_merged_index_has_the_pairs_of_all(
            parts in prop::collection::vec(
                prop::collection::btree_set((prop_oneof![0_u32..50, 0_u32..1 << HASH_BITS], 0_u32..40), 0..1500), 1..5),
            own in prop::collection::btree_set((0_u32..1 << HASH_BITS, 0_u32..40), 0..100),
        ) {
            let mut merged = IndexBuilder::default();
            let mut wanted = own.clone();
            merged.pairs = own.iter().map(|(hash, granule)| pair(*hash, *granule)).collect();
            for (first, part) in (1..).map(|part| part * 40).zip(&parts) {
                let (index, bytes) = build(part, 40);
                merged.add_index(index, &bytes, first);
                wanted.extend(part.iter().map(|(hash, granule)| (*hash, granule + first)));
            }
            let mut bytes = Vec::new();
            let location = merged.finish(40 * 5, 0, &mut bytes).unwrap();
            let tokens: BTreeSet<u32> = wanted.iter().map(|(hash, _)| *hash).collect();
            prop_assert_eq!((location.pairs, location.tokens), (wanted.len() as u64, tokens.len() as u64));
            let directory = TokenIndex::directory_range(&location).unwrap();
            let index = TokenIndex::open(location, &bytes[directory.start as usize..directory.end as usize]).unwrap();
            prop_assert_eq!(all_pairs(&index, &bytes), wanted);
        }

        #[test]
        fn damage_is_an_error_and_not_a_panic(
            pairs in prop::collection::btree_set((0_u32..1 << HASH_BITS, 0_u32..50), 1..200),
            at in any::<prop::sample::Index>(), with in 1_u8..=255,
        ) {
            let (index, bytes) = build(&pairs, 50);
            let hash = pairs.iter().next().unwrap().0;
            let range = index.block_range(hash);
            let mut block = bytes[range.start as usize..range.end as usize].to_vec();
            let at = at.index(block.len());
            block[at] ^= with;
            prop_assert!(index.look_up(hash, &block).is_err(), "a checksum guards every block");
            // What the checksum lets through by chance is bounded too.
            let body = block.len() - CHECK_BYTES;
            let check = checksum(&block[..body], index.bucket(hash));
            block[body..].copy_from_slice(&check.to_le_bytes());
            let _ = index.look_up(hash, &block);
        }
    }
}

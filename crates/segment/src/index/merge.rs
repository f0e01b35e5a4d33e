//! Indexes merged bucket by bucket: what is in memory is their bytes, and the pairs of one bucket.

use super::{TokenIndex, first_hash, pair};
use crate::Result;

/// A segment's index on its way into another.
#[derive(Debug)]
pub(super) struct Source {
    index: TokenIndex,
    blocks: Vec<u8>,
    /// What its granule 0 is in the other segment.
    first_granule: u32,
}

impl Source {
    pub(super) const fn new(index: TokenIndex, blocks: Vec<u8>, first_granule: u32) -> Self {
        Self {
            index,
            blocks,
            first_granule,
        }
    }
}

/// Reads sources, and pairs in ascending order, from the lowest hash to the highest.
pub(super) struct Merge<'a> {
    pairs: &'a [u64],
    sources: Vec<Reader<'a>>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(pairs: &'a [u64], sources: &'a [Source]) -> Self {
        let reader = |source| Reader {
            source,
            bucket: 0,
            decoded: Vec::new(),
            at: 0,
        };
        Self {
            pairs,
            sources: sources.iter().map(reader).collect(),
        }
    }

    /// Puts all pairs below `end` that were not taken yet into `taken`, in ascending order.
    pub(super) fn take_below(&mut self, end: u64, taken: &mut Vec<u64>) -> Result<()> {
        taken.clear();
        let (own, rest) = self
            .pairs
            .split_at(self.pairs.partition_point(|pair| *pair < end));
        self.pairs = rest;
        taken.extend_from_slice(own);
        for source in &mut self.sources {
            source.take_below(end, taken)?;
        }
        if !self.sources.is_empty() {
            taken.sort_unstable();
        }
        Ok(())
    }
}

/// A source, and the pairs of the bucket it is in.
struct Reader<'a> {
    source: &'a Source,
    /// The next bucket to decode.
    bucket: u32,
    decoded: Vec<u64>,
    at: usize,
}

impl Reader<'_> {
    fn take_below(&mut self, end: u64, taken: &mut Vec<u64>) -> Result<()> {
        loop {
            let rest = &self.decoded[self.at..];
            let below = rest.partition_point(|pair| *pair < end);
            taken.extend_from_slice(&rest[..below]);
            self.at += below;
            let buckets_log2 = self.source.index.location().buckets_log2;
            let is_last = self.bucket >> buckets_log2 > 0;
            if self.at < self.decoded.len()
                || is_last
                || pair(first_hash(self.bucket, buckets_log2), 0) >= end
            {
                return Ok(());
            }
            self.decoded.clear();
            self.at = 0;
            let first = self.source.first_granule;
            let decoded = &mut self.decoded;
            let blocks = &self.source.blocks;
            self.source
                .index
                .pairs_of(self.bucket, blocks, &mut |hash, granule| {
                    decoded.push(pair(hash, first + granule));
                })?;
            self.bucket += 1;
        }
    }
}

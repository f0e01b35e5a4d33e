//! The token index.

use std::ops::Range;

use logmill_segment::{IndexLocation, TokenIndex};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::Input;

/// Bytes of the checksum at the end of a directory, and of a block.
const DIRECTORY_CHECK: usize = 8;
const BLOCK_CHECK: usize = 4;
/// Bits of a token's hash.
const HASH_BITS: u32 = 26;

/// Blocks and a directory: every granule of an answer is one of the segment.
///
/// Input: sealed, u8 buckets (log 2), u32 granules, u32 hash, u16 length of the blocks, blocks, directory.
pub fn token_index(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let sealed = input.sealed();
    let buckets_log2 = input.number::<1>() as u32;
    let granules = input.number::<4>() as u32;
    let hash = input.number::<4>() as u32 >> (u32::BITS - HASH_BITS);
    let length = input.number::<2>() as usize;
    let mut blocks = input.take(length).to_vec();
    let mut directory = input.rest().to_vec();
    let location = IndexLocation {
        offset: 4,
        blocks_bytes: blocks.len() as u64,
        directory_bytes: directory.len() as u64,
        buckets_log2,
        granules,
        tokens: 0,
        pairs: 0,
    };
    if sealed {
        seal_directory(&mut directory);
    }
    let Ok(index) = TokenIndex::open(location, &directory) else {
        return;
    };
    if sealed {
        seal_blocks(&index, &mut blocks);
    }
    for hash in [hash, 1, (1 << HASH_BITS) - 1] {
        look_up(&index, &blocks, hash);
    }
}

/// Looks a token up as a reader does.
pub(crate) fn look_up(index: &TokenIndex, blocks: &[u8], hash: u32) {
    let block = relative(index, index.block_range(hash));
    let block = blocks.get(block).unwrap_or_default();
    if let Ok(found) = index.look_up(hash, block) {
        assert_eq!(found.granules(), index.location().granules);
        assert!(found.iter().all(|granule| granule < found.granules()));
    }
}

pub(crate) fn seal_directory(directory: &mut [u8]) {
    if let Some((entries, check)) = directory.split_last_chunk_mut::<DIRECTORY_CHECK>() {
        *check = xxh3_64(entries).to_le_bytes();
    }
}

/// Makes the checksums of all blocks right.
pub(crate) fn seal_blocks(index: &TokenIndex, blocks: &mut [u8]) {
    let buckets_log2 = index.location().buckets_log2;
    for bucket in 0..1_u32 << buckets_log2 {
        let first_hash = bucket << (HASH_BITS - buckets_log2);
        let range = relative(index, index.block_range(first_hash));
        let block = blocks
            .get_mut(range)
            .and_then(<[u8]>::split_last_chunk_mut::<BLOCK_CHECK>);
        if let Some((body, check)) = block {
            *check = (xxh3_64_with_seed(body, u64::from(bucket)) as u32).to_le_bytes();
        }
    }
}

/// A place in the file as one in the blocks.
fn relative(index: &TokenIndex, range: Range<u64>) -> Range<usize> {
    let at = |offset: u64| (offset - index.location().offset) as usize;
    at(range.start)..at(range.end)
}

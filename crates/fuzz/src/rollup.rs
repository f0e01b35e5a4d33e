//! Rollups of segments.

use logmill_segment::{BlockLocation, Rollup};
use xxhash_rust::xxh3::xxh3_64;

use crate::Input;

/// A rollup as the segment has it, or any bytes as what is compressed in it: counts add up, and merging doubles them.
pub fn rollup(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if !input.sealed() {
        check(input.rest());
        return;
    }
    let mut block = (input.rest().len() as u32).to_le_bytes().to_vec();
    let compressed = zstd::bulk::compress(input.rest(), 1).expect("any bytes can be compressed");
    block.extend_from_slice(&compressed);
    check(&block);
}

/// Reads a rollup whose checksum is right.
pub(crate) fn check(block: &[u8]) {
    let location = BlockLocation {
        offset: 0,
        bytes: block.len() as u64,
        checksum: xxh3_64(block),
    };
    let Ok(rollup) = Rollup::read(&location, block) else {
        return;
    };
    let sum = |rollup: &Rollup| {
        rollup
            .cells()
            .map(|(_, count)| count)
            .fold(0, u64::saturating_add)
    };
    assert_eq!(sum(&rollup), rollup.rows());
    let mut merged = Rollup::default();
    merged.merge(&rollup);
    assert_eq!(merged.rows(), rollup.rows());
}

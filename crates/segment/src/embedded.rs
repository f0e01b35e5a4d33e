//! Blocks that stand between the last row group and the footer, each one zstd frame.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Longest block before compression that is read: what a damaged footer may claim.
const BYTES_MAX: usize = 64 << 20;

/// A segment of fewer records says neither its newest records nor its values: there is little to look through.
pub(crate) const SEGMENT_ROWS_MIN: u64 = 1 << 16;

/// Where a block is in the file: in an entry of the footer's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockLocation {
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// xxh3-64 of its bytes.
    pub checksum: u64,
}

impl BlockLocation {
    /// Its bytes in the file.
    pub const fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.bytes)
    }
}

/// Appends a block to `out`, which begins at `offset` of the file.
pub(crate) fn write(plain: &[u8], offset: u64, out: &mut Vec<u8>) -> Result<BlockLocation, String> {
    let length = u32::try_from(plain.len()).map_err(|_too_long| "it is too long".to_owned())?;
    let compressed =
        zstd::bulk::compress(plain, 1).map_err(|error| format!("compressing: {error}"))?;
    let start = out.len();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&compressed);
    Ok(BlockLocation {
        offset: offset + start as u64,
        bytes: (out.len() - start) as u64,
        checksum: xxh3_64(&out[start..]),
    })
}

/// What was written, from the block's bytes.
pub(crate) fn read(location: &BlockLocation, bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.len() as u64 != location.bytes || xxh3_64(bytes) != location.checksum {
        return Err("the checksum is wrong".to_owned());
    }
    plain(bytes)
}

/// What was written, whatever the checksum.
pub(crate) fn plain(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (length, compressed) = bytes
        .split_first_chunk::<4>()
        .ok_or_else(|| "it ends too early".to_owned())?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > BYTES_MAX {
        return Err(format!("{length} bytes are too many"));
    }
    zstd::bulk::decompress(compressed, length).map_err(|error| format!("decompressing: {error}"))
}

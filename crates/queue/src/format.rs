//! Bytes of the log: file headers and frames. `docs/wal-format.md` has the tables.
//!
//! A frame is what one group commit writes. It is the unit of tearing: a frame is written only after the one before
//! it is durable, so only the last one can be torn by a crash.

use crc32c::{crc32c, crc32c_append};

/// First bytes of a file.
const FILE_MAGIC: [u8; 8] = *b"LGMLWAL\0";
/// First bytes of a frame.
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"LGfr";
/// Version of the format.
const VERSION: u32 = 1;
/// Flag of a file: entries before its first are missing, and a repair said so.
const FLAG_GAP: u32 = 1;

/// Length of a file's header.
pub(crate) const FILE_HEADER: usize = 32;
/// Length of a frame's header.
pub(crate) const FRAME_HEADER: usize = 32;
/// Length of the prefix of an entry.
pub(crate) const ENTRY_HEADER: usize = 4;

/// A file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) first_sequence: u64,
    /// Whether a repair declared that entries before the first are lost.
    pub(crate) after_gap: bool,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) entries: u32,
    pub(crate) first_sequence: u64,
    pub(crate) body_bytes: u32,
    pub(crate) body_crc: u32,
}

impl FileHeader {
    pub(crate) fn encode(self) -> [u8; FILE_HEADER] {
        let mut bytes = [0; FILE_HEADER];
        bytes[..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let flags = if self.after_gap { FLAG_GAP } else { 0 };
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_sequence.to_le_bytes());
        let crc = crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; FILE_HEADER]) -> Result<Self, String> {
        if bytes[..8] != FILE_MAGIC {
            return Err("it does not begin as a log file does".to_owned());
        }
        if crc32c(&bytes[..28]) != u32_at(bytes, 28) {
            return Err("the checksum of the file header is wrong".to_owned());
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(format!(
                "format version {version} is not {VERSION}, the one this binary reads"
            ));
        }
        Ok(Self {
            first_sequence: u64_at(bytes, 16),
            after_gap: u32_at(bytes, 12) & FLAG_GAP != 0,
        })
    }
}

impl FrameHeader {
    pub(crate) fn encode(self) -> [u8; FRAME_HEADER] {
        let mut bytes = [0; FRAME_HEADER];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&self.entries.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER]) -> Result<Self, String> {
        if bytes[..4] != FRAME_MAGIC {
            return Err("a frame should begin here".to_owned());
        }
        if crc32c(&bytes[..28]) != u32_at(bytes, 28) {
            return Err("the checksum of the frame header is wrong".to_owned());
        }
        let header = Self {
            entries: u32_at(bytes, 4),
            first_sequence: u64_at(bytes, 8),
            body_bytes: u32_at(bytes, 16),
            body_crc: u32_at(bytes, 20),
        };
        if header.end_sequence() == u64::MAX {
            return Err("the numbers of the entries are not possible".to_owned());
        }
        Ok(header)
    }

    /// The sequence after the frame's last entry.
    pub(crate) fn end_sequence(&self) -> u64 {
        self.first_sequence.saturating_add(u64::from(self.entries))
    }
}

/// The checksum of a frame's body, part by part.
pub(crate) fn body_crc<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    parts.into_iter().fold(0, crc32c_append)
}

/// The entries of a frame's body whose checksum is right.
pub(crate) fn entries<'a>(header: &FrameHeader, body: &'a [u8]) -> Result<Vec<&'a [u8]>, String> {
    let mut rest = body;
    let mut entries = Vec::with_capacity((header.entries as usize).min(body.len() / ENTRY_HEADER));
    for _ in 0..header.entries {
        let Some((length, after)) = rest.split_first_chunk::<ENTRY_HEADER>() else {
            return Err("the frame has fewer entries than it says".to_owned());
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((entry, after)) = after.split_at_checked(length) else {
            return Err("an entry is longer than its frame".to_owned());
        };
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() {
        Ok(entries)
    } else {
        Err("something follows the frame's entries".to_owned())
    }
}

fn u32_at(bytes: &[u8; 32], offset: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(value)
}

fn u64_at(bytes: &[u8; 32], offset: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_there_and_back_and_every_flipped_bit_is_found() {
        let file = FileHeader {
            first_sequence: 77,
            after_gap: true,
        };
        let frame = FrameHeader {
            entries: 3,
            first_sequence: 9,
            body_bytes: 100,
            body_crc: 5,
        };
        assert_eq!(FileHeader::decode(&file.encode()), Ok(file));
        assert_eq!(FrameHeader::decode(&frame.encode()), Ok(frame));
        for bit in 0..FILE_HEADER * 8 {
            let (mut one, mut other) = (file.encode(), frame.encode());
            one[bit / 8] ^= 1 << (bit % 8);
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&one).is_err(), "bit {bit}");
            assert!(FrameHeader::decode(&other).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn numbers_past_the_last_one_are_damage() {
        let frame = |first_sequence| FrameHeader {
            entries: 3,
            first_sequence,
            body_bytes: 0,
            body_crc: 0,
        };
        assert!(FrameHeader::decode(&frame(u64::MAX - 4).encode()).is_ok());
        for first_sequence in [u64::MAX - 3, u64::MAX] {
            assert!(FrameHeader::decode(&frame(first_sequence).encode()).is_err());
        }
    }

    #[test]
    fn a_body_must_be_what_its_header_says() {
        let header = |entries| FrameHeader {
            entries,
            first_sequence: 0,
            body_bytes: 0,
            body_crc: 0,
        };
        let body = [&2_u32.to_le_bytes()[..], b"ab", &0_u32.to_le_bytes()].concat();
        assert_eq!(entries(&header(2), &body).unwrap(), [&b"ab"[..], b""]);
        for wrong in [0, 1, 3, u32::MAX] {
            assert!(entries(&header(wrong), &body).is_err(), "{wrong}");
        }
        assert!(entries(&header(1), &u32::MAX.to_le_bytes()).is_err());
    }
}

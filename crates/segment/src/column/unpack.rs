//! Parquet's ways to write lists of integers, read.

use arrow_buffer::BooleanBuffer;

/// Values that Parquet packs together.
const GROUP: usize = 8;

/// Most values that a page may claim to have: what a damaged page makes us reserve.
pub(super) const VALUES_MAX: usize = 1 << 24;

/// A number of seven bits a byte, and how many bytes it takes.
pub(super) fn unsigned(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

pub(super) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// The bits from bit `at` on, the lowest first, as a number of `width` bits.
#[inline]
fn bits(bytes: &[u8], at: usize, width: u32) -> u64 {
    let first = at / 8;
    let window = match bytes.get(first..first + 8) {
        Some(window) => window.try_into().map_or(0, u64::from_le_bytes),
        None => {
            let mut window = [0; 8];
            let rest = bytes.get(first..).unwrap_or_default();
            for (to, from) in window.iter_mut().zip(rest) {
                *to = *from;
            }
            u64::from_le_bytes(window)
        }
    };
    let shift = (at % 8) as u32;
    let low = window >> shift;
    let mask = u64::MAX.checked_shr(u64::BITS - width).unwrap_or(0);
    // A wide number may end in the ninth byte.
    let high = match width + shift > u64::BITS {
        true => bytes.get(first + 8).map_or(0, |byte| u64::from(*byte)) << (u64::BITS - shift),
        false => 0,
    };
    (low | high) & mask
}

/// A run of the hybrid of run lengths and bit packing.
enum Run<'a> {
    Same(u32),
    Packed(&'a [u8]),
}

/// Gives the runs of `count` values of `width` bits to `run`, each with its number of values.
fn runs<'a>(
    mut bytes: &'a [u8],
    width: u32,
    count: usize,
    mut run: impl FnMut(Run<'a>, usize),
) -> Option<()> {
    if width > u32::BITS {
        return None;
    }
    let mut left = count;
    while left > 0 {
        let (head, length) = unsigned(bytes)?;
        bytes = bytes.get(length..)?;
        let number = usize::try_from(head >> 1).ok()?;
        if head & 1 == 1 {
            let there = number.checked_mul(GROUP)?;
            // The last group may have been cut short.
            let take = there.min(left);
            let needed = (take * width as usize).div_ceil(8);
            let all = number.checked_mul(width as usize)?;
            run(Run::Packed(bytes.get(..needed)?), take);
            bytes = bytes.get(all..).unwrap_or_default();
            left -= take;
            if take == 0 {
                return None;
            }
        } else {
            let value_bytes = width.div_ceil(8) as usize;
            let value = bits(bytes.get(..value_bytes)?, 0, width) as u32;
            bytes = bytes.get(value_bytes..)?;
            let take = number.min(left);
            run(Run::Same(value), take);
            left -= take;
            if take == 0 {
                return None;
            }
        }
    }
    Some(())
}

/// `count` values of the hybrid of run lengths and bit packing, `width` bits each at most.
pub(super) fn hybrid(bytes: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
    let mut values = Vec::with_capacity(count.min(VALUES_MAX));
    runs(bytes, width, count, |run, count| match run {
        Run::Same(value) => values.resize(values.len() + count, value),
        Run::Packed(packed) => {
            let value = |at: usize| bits(packed, at * width as usize, width) as u32;
            values.extend((0..count).map(value));
        }
    })?;
    Some(values)
}

/// `count` bits of the hybrid.
pub(super) fn hybrid_bits(bytes: &[u8], count: usize) -> Option<BooleanBuffer> {
    let mut all = Bits::default();
    all.bytes.reserve(count.min(VALUES_MAX) / 8 + 1);
    runs(bytes, 1, count, |run, count| match run {
        Run::Same(value) => all.append_same(value & 1 == 1, count),
        Run::Packed(packed) => all.append(packed, count),
    })?;
    Some(BooleanBuffer::new(all.bytes.into(), 0, count))
}

/// Bits, the lowest of a byte first; those of the last byte past the end are 0.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    /// Appends the first `count` bits of `packed`, which has no more bytes than they need.
    fn append(&mut self, packed: &[u8], count: usize) {
        let filled = self.count % 8;
        if filled == 0 {
            self.bytes.extend_from_slice(packed);
        } else {
            for byte in packed {
                if let Some(last) = self.bytes.last_mut() {
                    *last |= byte << filled;
                }
                self.bytes.push(byte >> (8 - filled));
            }
        }
        self.end_at(self.count + count);
    }

    fn append_same(&mut self, bit: bool, count: usize) {
        let filled = self.count % 8;
        let end = self.count + count;
        if bit
            && filled > 0
            && let Some(last) = self.bytes.last_mut()
        {
            *last |= 0xff << filled;
        }
        let byte = if bit { 0xff } else { 0 };
        self.bytes
            .resize(end.div_ceil(8).max(self.bytes.len()), byte);
        self.end_at(end);
    }

    fn end_at(&mut self, count: usize) {
        self.count = count;
        self.bytes.truncate(count.div_ceil(8));
        if let (Some(last), true) = (self.bytes.last_mut(), !count.is_multiple_of(8)) {
            *last &= (1 << (count % 8)) - 1;
        }
    }
}

/// `count` numbers of `DELTA_BINARY_PACKED`, and how many bytes they take.
pub(super) fn deltas(bytes: &[u8], count: usize) -> Option<(Vec<i64>, usize)> {
    let mut at = 0;
    let mut next = || {
        let (value, length) = unsigned(bytes.get(at..)?)?;
        at += length;
        Some(value)
    };
    let block = usize::try_from(next()?).ok()?;
    let parts = usize::try_from(next()?).ok()?;
    let there = usize::try_from(next()?).ok()?;
    let first = unzigzag(next()?);
    let part = block.checked_div(parts)?;
    if there != count || count > VALUES_MAX || part == 0 || part % GROUP != 0 {
        return None;
    }
    let mut values = Vec::with_capacity(count);
    if count > 0 {
        values.push(first);
    }
    let mut last = first;
    while values.len() < count {
        let (least, length) = unsigned(bytes.get(at..)?)?;
        let least = unzigzag(least);
        at += length;
        let widths = bytes.get(at..at.checked_add(parts)?)?;
        at += parts;
        for width in widths {
            let width = u32::from(*width);
            let take = part.min(count - values.len());
            if take == 0 {
                // What would stand there is left out.
                break;
            }
            if width > u64::BITS {
                return None;
            }
            let all = part.checked_mul(width as usize)? / 8;
            // The last part may have been cut short.
            let needed = (take * width as usize).div_ceil(8);
            let packed = bytes.get(at..at.checked_add(needed)?)?;
            at = at.checked_add(all)?.min(bytes.len());
            values.extend((0..take).map(|index| {
                let above = bits(packed, index * width as usize, width).cast_signed();
                last = last.wrapping_add(least).wrapping_add(above);
                last
            }));
        }
    }
    Some((values, at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text_chunk::packing;

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            runs in proptest::collection::vec((0_u32..1 << 20, 1_usize..40), 0..60),
            width in 20_u32..=32,
        ) {
            let values: Vec<u32> = runs
                .iter()
                .flat_map(|(value, count)| std::iter::repeat_n(*value, *count))
                .collect();
            let mut packed = Vec::new();
            packing::hybrid(&values, width, &mut packed);
            prop_assert_eq!(hybrid(&packed, width, values.len()), Some(values.clone()));
            packed.clear();
            packing::deltas(&values, &mut packed);
            packed.push(7);
            let (numbers, length) = deltas(&packed, values.len()).unwrap();
            prop_assert_eq!(length, packed.len() - 1);
            let expected: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
            prop_assert_eq!(numbers, expected);
        }

        #[test]
        fn bits_come_back(
            runs in proptest::collection::vec((any::<bool>(), 1_usize..30), 0..100),
        ) {
            let values: Vec<bool> = runs
                .iter()
                .flat_map(|(bit, count)| std::iter::repeat_n(*bit, *count))
                .collect();
            let numbers: Vec<u32> = values.iter().map(|value| u32::from(*value)).collect();
            let mut packed = Vec::new();
            packing::hybrid(&numbers, 1, &mut packed);
            let read = hybrid_bits(&packed, values.len()).unwrap();
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), values);
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            width in 0_u32..70,
            count in 0_usize..500,
        ) {
            let values = hybrid(&bytes, width, count);
            prop_assert!(values.is_none_or(|values| values.len() == count));
            let bits = hybrid_bits(&bytes, count);
            prop_assert!(bits.is_none_or(|bits| bits.len() == count));
            let numbers = deltas(&bytes, count);
            prop_assert!(numbers.is_none_or(|(numbers, _)| numbers.len() == count));
        }
    }
}

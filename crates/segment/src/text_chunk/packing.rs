//! Parquet's ways to write lists of integers.

/// Values that Parquet packs together.
const GROUP: usize = 8;

/// Values of a block of deltas, and of one of its four parts.
const BLOCK: usize = 128;
const PART: usize = 32;

/// The hybrid of run lengths and bit packing (`RLE`): `width` bits a value at most, no length before it.
pub(crate) fn hybrid(values: &[u32], width: u32, out: &mut Vec<u8>) {
    // Where the values begin that are not written yet.
    let mut start = 0;
    let mut at = 0;
    while at < values.len() {
        let value = values[at];
        let run = values[at..].iter().take_while(|other| **other == value);
        let run = run.count();
        // What is packed before a run fills whole groups; the run gives what is missing to it.
        let missing = (at - start).next_multiple_of(GROUP) - (at - start);
        if run >= missing + GROUP {
            packed_groups(&values[start..at + missing], width, out);
            unsigned(((run - missing) as u64) << 1, out);
            let bytes = width.div_ceil(8) as usize;
            out.extend_from_slice(&value.to_le_bytes()[..bytes]);
            start = at + run;
        }
        at += run;
    }
    packed_groups(&values[start..], width, out);
}

fn packed_groups(values: &[u32], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(GROUP);
    unsigned((groups as u64) << 1 | 1, out);
    pack(values, width, groups * width as usize, out);
}

/// `DELTA_BINARY_PACKED` of numbers that are not negative.
pub(crate) fn deltas(values: &[u32], out: &mut Vec<u8>) {
    unsigned(BLOCK as u64, out);
    unsigned((BLOCK / PART) as u64, out);
    unsigned(values.len() as u64, out);
    let Some(first) = values.first() else {
        unsigned(0, out);
        return;
    };
    signed(i64::from(*first), out);
    let mut rest = values;
    while rest.len() > 1 {
        // A block's first delta starts from the last value of the block before.
        let count = (rest.len() - 1).min(BLOCK);
        let steps = &rest[..=count];
        let delta = |pair: &[u32]| i64::from(pair[1]) - i64::from(pair[0]);
        let least = steps.windows(2).map(delta).min().unwrap_or(0);
        signed(least, out);
        let mut above = [0_u32; BLOCK];
        for (above, pair) in above.iter_mut().zip(steps.windows(2)) {
            *above = (delta(pair) - least) as u32;
        }
        let parts = above[..count].chunks(PART);
        let width =
            |part: &[u32]| u32::BITS - part.iter().fold(0, |all, n| all | n).leading_zeros();
        let mut widths = [0; BLOCK / PART];
        for (place, part) in widths.iter_mut().zip(parts.clone()) {
            *place = width(part);
        }
        out.extend(widths.iter().map(|width| *width as u8));
        for (part, width) in parts.zip(widths) {
            pack(part, width, PART / 8 * width as usize, out);
        }
        rest = &rest[count..];
    }
}

/// Bits of all values, the lowest first; zeros up to `bytes`.
fn pack(values: &[u32], width: u32, bytes: usize, out: &mut Vec<u8>) {
    let end = out.len() + bytes;
    let (mut bits, mut filled) = (0_u64, 0);
    for value in values {
        bits |= u64::from(*value) << filled;
        filled += width;
        if filled >= u32::BITS {
            out.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= u32::BITS;
            filled -= u32::BITS;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes()[..filled.div_ceil(8) as usize]);
    out.resize(end, 0);
}

fn unsigned(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(value: i64, out: &mut Vec<u8>) {
    unsigned((value << 1 ^ value >> 63).cast_unsigned(), out);
}

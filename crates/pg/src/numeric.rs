//! PostgreSQL's `numeric` in its binary format: digits of base 10,000.
//!
//! | field | bytes | |
//! |---|---|---|
//! | ndigits | 2 | digits that follow |
//! | weight | 2 | power of 10,000 of the first digit |
//! | sign | 2 | 0 positive, 0x4000 negative, 0xC000 not a number |
//! | dscale | 2 | decimal digits after the point |
//! | digits | 2 each | 0 to 9,999 |

use bytes::{Buf, BufMut, BytesMut};

const NEGATIVE: u16 = 0x4000;
const BASE_DIGITS: usize = 4;

/// Appends the number that a plain decimal text is (`-12.50`).
pub(crate) fn encode(text: &str, out: &mut BytesMut) {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (NEGATIVE, rest),
        None => (0, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let lead = whole.len().next_multiple_of(BASE_DIGITS) - whole.len();
    let tail = fraction.len().next_multiple_of(BASE_DIGITS) - fraction.len();
    let decimal = std::iter::repeat_n(b'0', lead)
        .chain(whole.bytes())
        .chain(fraction.bytes())
        .chain(std::iter::repeat_n(b'0', tail));
    let decimal: Vec<u8> = decimal.collect();
    let digits = decimal.chunks(BASE_DIGITS).map(|four| {
        let add = |sum: u16, digit: &u8| sum * 10 + u16::from(digit.saturating_sub(b'0'));
        four.iter().fold(0, add)
    });
    let digits: Vec<u16> = digits.collect();
    let weight = (whole.len() + lead) / BASE_DIGITS;
    out.put_u16(short(digits.len()));
    out.put_i16(i16::try_from(weight).unwrap_or(i16::MAX) - 1);
    out.put_u16(sign);
    out.put_u16(short(fraction.len()));
    digits.into_iter().for_each(|digit| out.put_u16(digit));
}

fn short(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// The number as a plain decimal text; none when the bytes are none.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<String> {
    let count = usize::from(bytes.try_get_u16().ok()?);
    let weight = i32::from(bytes.try_get_i16().ok()?);
    let sign = bytes.try_get_u16().ok()?;
    let scale = usize::from(bytes.try_get_u16().ok()?);
    if bytes.len() != count * 2 {
        return None;
    }
    let mut text = match sign {
        0 => String::new(),
        NEGATIVE => "-".to_owned(),
        _ => return None,
    };
    let digits: Vec<u16> = (0..count).map(|_digit| bytes.get_u16()).collect();
    let digit = |power: i32| {
        let index = usize::try_from(weight - power).ok();
        index
            .and_then(|index| digits.get(index))
            .copied()
            .unwrap_or(0)
    };
    let mut whole = String::new();
    for power in (0..=weight.max(0)).rev() {
        whole.push_str(&format!("{:04}", digit(power)));
    }
    let trimmed = whole.trim_start_matches('0');
    text.push_str(if trimmed.is_empty() { "0" } else { trimmed });
    let mut fraction = String::new();
    let mut power = -1;
    while fraction.len() < scale {
        fraction.push_str(&format!("{:04}", digit(power)));
        power -= 1;
    }
    fraction.truncate(scale);
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive() {
        for text in [
            "0",
            "1",
            "-1",
            "12345678.90",
            "0.0001",
            "18446744073709551615",
            "-10000",
            "0.5",
            "20000.000070",
        ] {
            let mut out = BytesMut::new();
            encode(text, &mut out);
            assert_eq!(decode(&out).as_deref(), Some(text));
        }
    }

    #[test]
    fn bytes_are_as_postgres_has_them() {
        let mut out = BytesMut::new();
        encode("12345678.9", &mut out);
        let expected: [u16; 7] = [3, 1, 0, 1, 1234, 5678, 9000];
        let expected: Vec<u8> = expected
            .iter()
            .flat_map(|half| half.to_be_bytes())
            .collect();
        assert_eq!(&out[..], expected);
        assert_eq!(decode(b"\0\x09\0\0\0\0\0\0"), None);
    }
}

//! The order of values: what `sort`, `min`, `max` and `le_field` go by.
//!
//! Numbers are ordered by what they are worth, times by when they are, other texts naturally: digits inside a text
//! count as a number, so that `v9` comes before `v10`. Where kinds meet, the empty value comes first, then numbers,
//! times, other texts. (VictoriaLogs compares two values of different kinds as texts, which is no order: `2K` is before
//! `3K`, `3K` before `20abc`, but `20abc` need not be after `2K`. Values of one kind are ordered as there.)

use std::cmp::Ordering;

use super::number::{parse_i64, parse_number, parse_u64};
use super::time::parse_rfc3339;

/// A value by its kind; the order of the variants is the order of kinds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind<'a> {
    Empty,
    /// What it is worth, and the same exactly for integers that no float can tell apart.
    Number(f64, i128),
    Time(i64),
    Text(&'a str),
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "`as` saturates, and only equal floats are told apart by it"
)]
fn kind(value: &str) -> Kind<'_> {
    let Some(first) = value.as_bytes().first() else {
        return Kind::Empty;
    };
    // Most texts begin with a letter and cannot be anything else.
    if !first.is_ascii_digit() && !matches!(first, b'-' | b'+' | b'.' | b'i' | b'I') {
        return Kind::Text(value);
    }
    if let Some(integer) = parse_i64(value) {
        return Kind::Number(integer as f64, i128::from(integer));
    }
    if let Some(integer) = parse_u64(value) {
        return Kind::Number(integer as f64, i128::from(integer));
    }
    if let Some(number) = parse_number(value) {
        // Negative zero is zero.
        return Kind::Number(number + 0.0, number as i128);
    }
    parse_rfc3339(value).map_or(Kind::Text(value), Kind::Time)
}

/// Compares two values. Equal are also different ways to write the same number (`1K`, `1000`).
pub fn compare(left: &str, right: &str) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    match (kind(left), kind(right)) {
        (Kind::Number(left, exact), Kind::Number(right, other)) => {
            left.total_cmp(&right).then(exact.cmp(&other))
        }
        (Kind::Time(left), Kind::Time(right)) => left.cmp(&right),
        (Kind::Text(left), Kind::Text(right)) => compare_natural(left, right),
        (left, right) => rank(&left).cmp(&rank(&right)),
    }
}

fn rank(kind: &Kind<'_>) -> u8 {
    match kind {
        Kind::Empty => 0,
        Kind::Number(..) => 1,
        Kind::Time(_) => 2,
        Kind::Text(_) => 3,
    }
}

/// Appends bytes whose order is the order of values: `compare(a, b)` is how the keys of `a` and `b` compare as bytes.
pub fn write_sort_key(value: &str, out: &mut Vec<u8>) {
    let kind = kind(value);
    out.push(rank(&kind));
    match kind {
        Kind::Empty => {}
        Kind::Number(number, exact) => {
            let bits = number.to_bits();
            let sign = 1_u64 << 63;
            let ordered = if bits & sign == 0 { bits | sign } else { !bits };
            out.extend_from_slice(&ordered.to_be_bytes());
            // Smaller integers are exact as floats.
            if number.abs() >= 9_007_199_254_740_992.0 {
                let flipped = exact.cast_unsigned() ^ (1 << 127);
                out.extend_from_slice(&flipped.to_be_bytes());
            }
        }
        Kind::Time(t_ns) => {
            out.extend_from_slice(&(t_ns.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        }
        Kind::Text(text) => write_natural_key(text, out),
    }
}

/// Orders texts so that runs of digits count as numbers. A digit comes before everything else; of equal numbers, the
/// one with fewer leading zeros comes first.
pub fn compare_natural(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        match (left.first(), right.first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match (a.is_ascii_digit(), b.is_ascii_digit()) {
                (true, true) => {
                    let (a, rest_of_left) = split_digits(left);
                    let (b, rest_of_right) = split_digits(right);
                    let (significant, other) = (without_zeros(a), without_zeros(b));
                    let order = (significant.len().cmp(&other.len()))
                        .then_with(|| significant.cmp(other))
                        .then_with(|| a.len().cmp(&b.len()));
                    if order.is_ne() {
                        return order;
                    }
                    (left, right) = (rest_of_left, rest_of_right);
                }
                (true, false) => return Ordering::Less,
                (false, true) => return Ordering::Greater,
                (false, false) if a != b => return a.cmp(b),
                (false, false) => (left, right) = (&left[1..], &right[1..]),
            },
        }
    }
}

/// Bytes that compare as [`compare_natural`] does: a run of digits is `0x01`, the number of its significant digits,
/// these, and the number of all of them; other bytes are themselves, the lowest three escaped by `0x02`.
fn write_natural_key(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(first) = rest.first() {
        if first.is_ascii_digit() {
            let (run, after) = split_digits(rest);
            let significant = without_zeros(run);
            out.push(1);
            write_length(significant.len(), out);
            out.extend_from_slice(significant);
            write_length(run.len(), out);
            rest = after;
        } else {
            if *first <= 2 {
                out.push(2);
            }
            out.push(*first);
            rest = &rest[1..];
        }
    }
}

/// One byte for lengths below 255, which nearly all are.
fn write_length(length: usize, out: &mut Vec<u8>) {
    match u8::try_from(length) {
        Ok(short) if short < u8::MAX => out.push(short),
        _ => {
            out.push(u8::MAX);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

fn split_digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit());
    bytes.split_at(end.unwrap_or(bytes.len()))
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_ordered_by_what_they_mean() {
        let ordered = [
            "",
            "-inf",
            "-10",
            "-9.5",
            "0",
            "1",
            "1.5",
            "9",
            "10",
            "999",
            "1K",
            "1KiB",
            "1ms",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "inf",
            "2024-01-01T00:00:00Z",
            "2024-01-01T00:00:00.5Z",
            "2024-01-01T02:00:00+01:00",
            "1.2.3.4",
            "1.2.3.40",
            "1.2.20.1",
            "10 files",
            "Zebra",
            "abc",
            "file2",
            "file02",
            "file10",
            "ça",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(compare("1K", "1000"), Ordering::Equal);
        assert_eq!(compare("-0", "0"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn keys_are_ordered_as_values_are(a in VALUE, b in VALUE) {
            let key = |value: &str| {
                let mut key = Vec::new();
                write_sort_key(value, &mut key);
                key
            };
            prop_assert_eq!(key(&a).cmp(&key(&b)), compare(&a, &b));
        }

        #[test]
        fn the_order_is_one(a in VALUE, b in VALUE, c in VALUE) {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }

    const VALUE: &str = "-?[0-9]{1,3}(\\.[0-9])?(K|s|e3)?|90071992547409[0-9]{2}|[a0-2 \u{1}\u{2}é]{0,6}|\
        2024-0[1-9]-02T00:00:00Z|";
}

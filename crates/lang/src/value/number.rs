//! Numbers as people and programs write them: plain, with a unit of size or of time, as an address, as a time.

use super::{duration::parse_duration, ipv4::parse_ipv4, time::parse_rfc3339};

/// An integer without leading zeros; `_` may separate digits.
pub fn parse_u64(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let (first, rest) = bytes.split_first()?;
    if !first.is_ascii_digit() || (*first == b'0' && !rest.is_empty()) {
        return None;
    }
    let mut value = u64::from(first - b'0');
    for byte in rest {
        match byte {
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
            }
            b'_' => {}
            _ => return None,
        }
    }
    Some(value)
}

/// As [`parse_u64`], with an optional `-`.
pub fn parse_i64(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(digits) => 0_i64.checked_sub_unsigned(parse_u64(digits)?),
        None => i64::try_from(parse_u64(text)?).ok(),
    }
}

/// A number without a unit: decimal, perhaps with a fraction and an exponent; `_` may separate digits.
pub fn parse_decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let first = *unsigned.as_bytes().first()?;
    if !first.is_ascii_digit() && first != b'.' {
        return None;
    }
    // Only these characters, so that Rust's parser is never asked about `inf` and `nan`.
    let plain =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+');
    if unsigned.bytes().all(plain) {
        return text.parse().ok();
    }
    if unsigned.bytes().all(|byte| plain(byte) || byte == b'_') {
        return text.replace('_', "").parse().ok();
    }
    None
}

/// A size: numbers with units (`10KiB`, `1.5MB`, `2G`, `100B`), added up (`1GiB512MiB`), in bytes. A number without a
/// unit is none.
pub fn parse_bytes(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 17] = [
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("TiB", 1_099_511_627_776.0),
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("TB", 1e12),
        ("K", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("B", 1.0),
    ];
    parse_quantities(text, &UNITS)
}

/// The sum of `<number><unit>` pairs, rounded each to an integer, with an optional `-` in front. The first unit of
/// the table that fits is taken, so long ones come first.
#[allow(
    clippy::cast_possible_truncation,
    reason = "checked to be far inside the range of i64"
)]
pub(super) fn parse_quantities(text: &str, units: &[(&str, f64)]) -> Option<i64> {
    let (mut rest, negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    // Most texts that are no quantity do not end in a letter after beginning with a digit.
    if !rest.as_bytes().first()?.is_ascii_digit() || rest.as_bytes().last()?.is_ascii_digit() {
        return None;
    }
    let mut total = 0_i64;
    while !rest.is_empty() {
        let length = rest
            .bytes()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'_'))?;
        let number = parse_decimal(&rest[..length])?;
        let tail = &rest[length..];
        let (unit, factor) = units.iter().find(|(unit, _)| tail.starts_with(unit))?;
        let quantity = (number * factor).round();
        if quantity.abs() > 9.2e18 {
            return None;
        }
        total = total.checked_add(quantity as i64)?;
        rest = &tail[unit.len()..];
    }
    Some(if negative { -total } else { total })
}

/// A numeric value as LogsQL documents it, which is what `sum` and `avg` add up: a decimal number, a size in bytes, a duration in nanoseconds, `inf`, or an
/// integer with `0x`, `0o` or `0b`. Never NaN.
pub fn parse_number(text: &str) -> Option<f64> {
    let first = *text.as_bytes().first()?;
    if !first.is_ascii_digit() && !matches!(first, b'-' | b'+' | b'.' | b'i' | b'I') {
        return None;
    }
    parse_decimal(text)
        .or_else(|| parse_duration(text).map(|t| t as f64))
        .or_else(|| parse_bytes(text).map(|bytes| bytes as f64))
        .or_else(|| parse_infinity_or_radix(text))
}

fn parse_infinity_or_radix(text: &str) -> Option<f64> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if unsigned.eq_ignore_ascii_case("inf") {
        return Some(sign * f64::INFINITY);
    }
    parse_radix(unsigned).map(|value| sign * value as f64)
}

/// An integer with `0x`, `0o` or `0b` in front.
fn parse_radix(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('0')?;
    let (radix, digits) = match digits.as_bytes().first()? {
        b'x' | b'X' => (16, &digits[1..]),
        b'o' | b'O' => (8, &digits[1..]),
        b'b' | b'B' => (2, &digits[1..]),
        _ => return None,
    };
    if digits.starts_with('+') {
        return None;
    }
    match digits.contains('_') {
        true => u64::from_str_radix(&digits.replace('_', ""), radix).ok(),
        false => u64::from_str_radix(digits, radix).ok(),
    }
}

/// An unsigned integer as the arguments of `len_range` are written: decimal, with a radix (`0xff`, `0b11`), with `_`,
/// with a unit of size; `inf` is the largest.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what an upper bound wants"
)]
pub fn parse_length(text: &str) -> Option<u64> {
    parse_u64(text).or_else(|| parse_radix(text)).or_else(|| {
        parse_number(text)
            .filter(|value| *value >= 0.0)
            .map(|value| value as u64)
    })
}

/// What a text is worth in `math`, comparisons and ranges: a numeric value, else a time in nanoseconds since the epoch
/// (RFC 3339), else an IPv4 address as a 32-bit number.
pub fn parse_value(text: &str) -> Option<f64> {
    parse_number(text)
        .or_else(|| parse_rfc3339(text).map(|t| t as f64))
        .or_else(|| parse_ipv4(text).map(f64::from))
}

/// Appends a number as LogsQL prints it: the shortest digits that mean it, without an exponent; `NaN`, `+Inf`, `-Inf`.
pub fn write_number(value: f64, out: &mut String) {
    use std::fmt::Write as _;
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        write!(out, "{value}").expect("writing to a string cannot fail");
    }
}

/// As [`write_number`], to a text of its own.
pub fn format_number(value: f64) -> String {
    let mut out = String::new();
    write_number(value, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_what_prints_back_the_same() {
        assert_eq!(parse_u64("18_446_744_073_709_551_615"), Some(u64::MAX));
        assert_eq!(parse_u64("18446744073709551616"), None);
        assert_eq!(parse_i64("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64("9223372036854775808"), None);
        assert_eq!(parse_i64("-0"), Some(0));
        for text in ["", "-", "01", "_1", "1.0", "+1", " 1", "1e3"] {
            assert_eq!(parse_i64(text), None, "{text}");
        }
    }

    #[test]
    fn numeric_values_are_understood_in_all_their_forms() {
        for (text, expected) in [
            ("12345", 12345.0),
            ("-12345", -12345.0),
            ("0.123", 0.123),
            ("-12.34", -12.34),
            ("1_234_567", 1_234_567.0),
            ("1.234_567", 1.234_567),
            ("1e3", 1000.0),
            ("1.5E-3", 0.0015),
            ("007", 7.0),
            ("+5", 5.0),
            (".5", 0.5),
            ("10KiB", 10_240.0),
            ("1.5MB", 1_500_000.0),
            ("2G", 2e9),
            ("3Ti", 3_298_534_883_328.0),
            ("-2K", -2000.0),
            ("100B", 100.0),
            ("1GiB512MiB", 1_610_612_736.0),
            ("1h33m55s", 5_635e9),
            ("123ns", 123.0),
            ("1.23µs", 1230.0),
            ("0xff", 255.0),
            ("0b1001", 9.0),
            ("-0o17", -15.0),
            ("0xAB_CD", 43981.0),
            ("Inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse_number(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "-",
            "abc",
            "nan",
            "1.2.3",
            "1.2.3.4",
            "12:30",
            "1KX",
            "K",
            "5 ",
            "infinity",
            "0x",
            "e5",
            "1K5",
            "2024-01-02T03:04:05Z",
            "0x+1",
            "--1",
        ] {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }

    #[test]
    fn decimals_have_no_units() {
        assert_eq!(parse_decimal("1.5"), Some(1.5));
        assert_eq!(parse_decimal("-1e-3"), Some(-0.001));
        for text in ["10KiB", "5m", "inf", "nan", "0x10", "1.2.3.4", ""] {
            assert_eq!(parse_decimal(text), None, "{text}");
        }
    }

    #[test]
    fn times_and_addresses_are_worth_numbers_too() {
        assert_eq!(parse_value("1970-01-01T00:00:01Z"), Some(1e9));
        assert_eq!(parse_value("0.0.1.2"), Some(258.0));
        assert_eq!(parse_value("1.5"), Some(1.5));
        assert_eq!(parse_value("the request took 4.2 seconds"), None);
        assert_eq!(parse_value(""), None);
    }

    #[test]
    fn lengths_are_written_in_several_ways() {
        for (text, expected) in [
            ("5", 5),
            ("0xff", 255),
            ("0b100110", 38),
            ("2_345_678", 2_345_678),
            ("inf", u64::MAX),
            ("1KiB", 1024),
        ] {
            assert_eq!(parse_length(text), Some(expected), "{text}");
        }
        assert_eq!(parse_length("-1"), None);
        assert_eq!(parse_length("x"), None);
    }

    #[test]
    fn numbers_print_without_exponents() {
        for (value, expected) in [
            (5.0, "5"),
            (-0.5, "-0.5"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(format_number(value), expected);
        }
    }

    proptest! {
        #[test]
        fn printed_numbers_are_read_back(value in proptest::num::f64::NORMAL) {
            prop_assert_eq!(parse_number(&format_number(value)), Some(value));
        }

        #[test]
        fn no_text_is_too_strange(text in "[0-9a-zA-Z.:_+µ-]{0,12}") {
            if let Some(value) = parse_value(&text) {
                prop_assert!(!value.is_nan());
            }
        }
    }
}

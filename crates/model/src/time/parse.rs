//! Timestamps as programs write them.

use super::civil::{civil_to_ns, month_number};
use super::{SECOND_NS, in_range};

/// The instant of an epoch number whose unit is told by its magnitude: below 1e11 seconds, below 1e14
/// milliseconds, below 1e17 microseconds, else nanoseconds. `None` when no record may have it.
pub fn parse_epoch_i64(value: i64) -> Option<i64> {
    let unit = match value {
        0..100_000_000_000 => SECOND_NS,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        100_000_000_000_000_000.. => 1,
        _ => return None,
    };
    value.checked_mul(unit).filter(|t| in_range(*t))
}

/// As [`parse_epoch_i64`], with a fraction.
#[allow(
    clippy::cast_possible_truncation,
    reason = "checked to be in the range of i64 first"
)]
pub fn parse_epoch_f64(value: f64) -> Option<i64> {
    let unit = if value.is_nan() || value < 0.0 {
        return None;
    } else if value < 1e11 {
        1e9
    } else if value < 1e14 {
        1e6
    } else if value < 1e17 {
        1e3
    } else {
        1.0
    };
    let whole = value.trunc();
    // The whole part is exact as an integer; only the fraction is rounded.
    if whole * unit >= 9.2e18 {
        return None;
    }
    let t = (whole as i64).checked_mul(unit as i64)?;
    let t = t.checked_add(((value - whole) * unit).round() as i64)?;
    Some(t).filter(|t| in_range(*t))
}

/// The instant of a text, nanoseconds since the epoch; `None` when it is none that a record may have.
///
/// Understood: RFC 3339 and its relatives (`T`, blank or `_` between date and time, `-` or `/` in the date, `.` or `,`
/// before a fraction of any length, `Z`, `+02:00`, `+0200`, `+02`, ` UTC`, nothing for UTC, a date alone), the access
/// log's `20/Nov/2026:12:00:00 +0000`, RFC 2822 (`Fri, 20 Nov 2026 12:00:00 +0000`), ctime (`Fri Nov 20 12:00:00 2026`),
/// `Nov 20 12:00:00 2026`, `Nov 20, 2026 12:00:00`, and epoch numbers.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let text = text.trim_ascii();
    let bytes = text.as_bytes();
    let t = rfc3339(bytes).or_else(|| match bytes.first()? {
        b'0'..=b'9' => epoch_text(text).or_else(|| day_first(bytes)),
        b'A'..=b'Z' | b'a'..=b'z' => month_first(bytes),
        _ => None,
    })?;
    Some(t).filter(|t| in_range(*t))
}

fn epoch_text(text: &str) -> Option<i64> {
    if let Ok(value) = text.parse::<i64>() {
        return parse_epoch_i64(value);
    }
    // "1700000000.123456789" has more digits than an f64 holds.
    let (whole, fraction) = text.split_once('.')?;
    let value = whole.parse::<i64>().ok()?;
    if (0..100_000_000_000).contains(&value) && fraction.len() <= 18 {
        let (nanoseconds, rest) = fraction_ns(fraction.as_bytes());
        let seconds_ns = value.checked_mul(SECOND_NS)?;
        return if rest.is_empty() {
            seconds_ns.checked_add(i64::from(nanoseconds))
        } else {
            None
        };
    }
    parse_epoch_f64(text.parse().ok()?)
}

/// Two digits as a number.
fn two(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9', ..] => Some((tens - b'0') * 10 + (ones - b'0')),
        _ => None,
    }
}

fn four(bytes: &[u8]) -> Option<i32> {
    let (high, low) = (two(bytes)?, two(bytes.get(2..)?)?);
    Some(i32::from(high) * 100 + i32::from(low))
}

/// The digits at the front as a fraction of a second in nanoseconds (digits past the ninth are cut off), and what
/// follows them.
fn fraction_ns(bytes: &[u8]) -> (u32, &[u8]) {
    let length = bytes
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(bytes.len());
    let (digits, rest) = bytes.split_at(length);
    let mut value = 0_u32;
    for position in 0..9 {
        let digit = digits.get(position).map_or(0, |byte| byte - b'0');
        value = value * 10 + u32::from(digit);
    }
    (value, rest)
}

/// `2026-11-20T12:00:00.123+02:00` and its relatives.
fn rfc3339(bytes: &[u8]) -> Option<i64> {
    let year = four(bytes)?;
    let separator = *bytes.get(4)?;
    if !matches!(separator, b'-' | b'/') || *bytes.get(7)? != separator {
        return None;
    }
    let (month, day) = (two(bytes.get(5..)?)?, two(bytes.get(8..)?)?);
    let Some(between) = bytes.get(10) else {
        return civil_to_ns(year, month, day, 0, 0, 0, 0);
    };
    if !matches!(between, b'T' | b't' | b' ' | b'_') {
        return None;
    }
    let (t, rest) = clock(bytes.get(11..)?, |hour, minute, second, nanosecond| {
        civil_to_ns(year, month, day, hour, minute, second, nanosecond)
    })?;
    t.checked_sub(offset_ns(rest)?)
}

/// `12:00:00.123` at the front, given to `build`; and what follows.
fn clock(bytes: &[u8], build: impl Fn(u8, u8, u8, u32) -> Option<i64>) -> Option<(i64, &[u8])> {
    let hour = two(bytes)?;
    if *bytes.get(2)? != b':' {
        return None;
    }
    let minute = two(bytes.get(3..)?)?;
    if bytes.get(5) != Some(&b':') {
        return Some((build(hour, minute, 0, 0)?, bytes.get(5..)?));
    }
    let second = two(bytes.get(6..)?)?;
    let rest = bytes.get(8..)?;
    let (nanosecond, rest) = match rest {
        [b'.' | b',', fraction @ ..] if fraction.first().is_some_and(u8::is_ascii_digit) => {
            fraction_ns(fraction)
        }
        _ => (0, rest),
    };
    Some((build(hour, minute, second, nanosecond)?, rest))
}

/// Nanoseconds that an offset adds to UTC.
fn offset_ns(bytes: &[u8]) -> Option<i64> {
    let bytes = bytes.trim_ascii_start();
    let (sign, digits) = match bytes {
        [] | b"Z" | b"z" | b"UTC" | b"GMT" => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let hours = two(digits)?;
    let minutes = match digits.get(2..)? {
        [] => 0,
        [b':', minutes @ ..] if minutes.len() == 2 => two(minutes)?,
        minutes if minutes.len() == 2 => two(minutes)?,
        _ => return None,
    };
    (hours <= 23 && minutes <= 59)
        .then(|| sign * (i64::from(hours) * 3_600 + i64::from(minutes) * 60) * SECOND_NS)
}

/// `20/Nov/2026:12:00:00 +0000`, `20 Nov 2026 12:00:00 +0000`, `20-Nov-2026 12:00:00`.
fn day_first(bytes: &[u8]) -> Option<i64> {
    let (day, rest) = number(bytes, 2)?;
    let (_, rest) = rest.split_first()?;
    let month = month_number(rest)?;
    let name = rest.iter().position(|byte| !byte.is_ascii_alphabetic())?;
    let year = four(rest.get(name + 1..)?)?;
    let rest = rest.get(name + 5..)?;
    let (separator, rest) = rest.split_first()?;
    if !matches!(separator, b':' | b' ') {
        return None;
    }
    let (t, rest) = clock(rest, |hour, minute, second, nanosecond| {
        civil_to_ns(year, month, day, hour, minute, second, nanosecond)
    })?;
    t.checked_sub(offset_ns(rest)?)
}

/// `Fri, 20 Nov 2026 …`, `Fri Nov 20 12:00:00 2026`, `Nov 20 12:00:00 2026`, `Nov 20, 2026 12:00:00`.
fn month_first(bytes: &[u8]) -> Option<i64> {
    let Some(month) = month_number(bytes) else {
        let name = bytes.iter().position(|byte| !byte.is_ascii_alphabetic())?;
        if !(3..=9).contains(&name) {
            return None;
        }
        let rest = bytes.get(name..)?.trim_ascii_start();
        let rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        return if rest.first()?.is_ascii_digit() {
            day_first(rest)
        } else if month_number(rest).is_some() {
            month_first(rest)
        } else {
            None
        };
    };
    let name = bytes.iter().position(|byte| !byte.is_ascii_alphabetic())?;
    let (day, rest) = number(bytes.get(name..)?.trim_ascii_start(), 2)?;
    if let [b',', rest @ ..] = rest {
        let rest = rest.trim_ascii_start();
        let year = four(rest)?;
        let (t, rest) = clock(
            rest.get(4..)?.trim_ascii_start(),
            |hour, minute, second, nanosecond| {
                civil_to_ns(year, month, day, hour, minute, second, nanosecond)
            },
        )?;
        return t.checked_sub(offset_ns(rest)?);
    }
    let rest = rest.trim_ascii_start();
    let clock_end = rest.iter().position(|byte| *byte == b' ')?;
    let year_text = rest.get(clock_end..)?.trim_ascii_start();
    let year = four(year_text)?;
    if year_text.get(4).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let (t, _) = clock(
        rest.get(..clock_end)?,
        |hour, minute, second, nanosecond| {
            civil_to_ns(year, month, day, hour, minute, second, nanosecond)
        },
    )?;
    t.checked_sub(offset_ns(year_text.get(4..)?)?)
}

/// A number of one to `most` digits, and what follows.
fn number(bytes: &[u8], most: usize) -> Option<(u8, &[u8])> {
    let length = bytes
        .iter()
        .take(most)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, rest) = bytes.split_at(length);
    let value = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: i64 = 1_795_176_000 * SECOND_NS;

    #[test]
    fn the_ways_to_write_one_instant() {
        let texts = [
            "2026-11-20T12:00:00Z",
            "2026-11-20t12:00:00z",
            "2026-11-20 12:00:00",
            "2026-11-20_12:00:00",
            "2026-11-20T12:00",
            "2026/11/20 12:00:00",
            "2026-11-20T14:00:00+02:00",
            "2026-11-20T14:00:00+0200",
            "2026-11-20T14:00:00+02",
            "2026-11-20T04:30:00-07:30",
            "2026-11-20 12:00:00 UTC",
            "2026-11-20 12:00:00 +0000",
            "20/Nov/2026:12:00:00 +0000",
            "20/Nov/2026:13:00:00 +0100",
            "Fri, 20 Nov 2026 12:00:00 GMT",
            "Friday, 20-Nov-2026 12:00:00 GMT",
            "20 Nov 2026 12:00:00 +0000",
            "Fri Nov 20 12:00:00 2026",
            "Nov 20 12:00:00 2026",
            "Nov 20, 2026 12:00:00",
            "1795176000",
            "1795176000000",
            "1795176000000000",
            "1795176000000000000",
            " 1795176000.000 ",
        ];
        for text in texts {
            assert_eq!(parse_timestamp(text), Some(NOON), "{text}");
        }
        assert_eq!(
            parse_timestamp("2026-11-20"),
            Some(NOON - 12 * 3_600 * SECOND_NS)
        );
        assert_eq!(
            parse_timestamp("2026-11-20T12:00:00,123"),
            Some(NOON + 123_000_000)
        );
        assert_eq!(
            parse_timestamp("2026-11-20T12:00:00.1234567899Z"),
            Some(NOON + 123_456_789)
        );
        assert_eq!(
            parse_timestamp("1795176000.123456789"),
            Some(NOON + 123_456_789)
        );
    }

    #[test]
    fn what_is_no_time_is_none() {
        let texts = [
            "",
            " ",
            "NaN",
            "yesterday",
            "2026-11",
            "2026-13-01",
            "2026-11-31T00:00:00Z",
            "2026-11-20T25:00:00Z",
            "2026-11-20T12:00:00+25:00",
            "2026-11-20T12:00:00 nonsense",
            "1600-01-01T00:00:00Z",
            "9999-01-01T00:00:00Z",
            "-5",
            "2026-11-20X12:00:00Z",
            "é",
            "20/Nov/2026",
            "Nov",
            "Fri",
            "Nov 20",
            "20/Xyz/2026:12:00:00 +0000",
            "1e400",
            "10000000000.5",
            "20000000000.5",
            "99999999999.999999999",
        ];
        for text in texts {
            let parsed = parse_timestamp(text);
            assert_eq!(parsed, None, "{text}");
        }
        assert_eq!(parse_epoch_i64(-1), None);
        assert_eq!(parse_epoch_i64(i64::MAX), None);
        for value in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(parse_epoch_f64(value), None, "{value}");
        }
        assert_eq!(parse_epoch_f64(1_795_176_000.5), Some(NOON + SECOND_NS / 2));
    }

    proptest! {
        #[test]
        fn what_is_formatted_is_parsed(t in super::super::MIN_NS..super::super::MAX_NS) {
            let mut text = Vec::new();
            super::super::format_rfc3339(t, &mut text);
            prop_assert_eq!(parse_timestamp(std::str::from_utf8(&text).unwrap()), Some(t));
        }

        #[test]
        fn epochs_with_a_fraction_are_exact_or_none(
            seconds in 0_i64..100_000_000_000, nanoseconds in 0_i64..SECOND_NS,
        ) {
            let expected = i128::from(seconds) * i128::from(SECOND_NS) + i128::from(nanoseconds);
            let expected = i64::try_from(expected).ok().filter(|t| in_range(*t));
            prop_assert_eq!(parse_timestamp(&format!("{seconds}.{nanoseconds:09}")), expected);
        }

        #[test]
        fn every_text_is_a_time_in_range_or_none(
            text in "[0-9A-Za-z/:,. +-]{0,30}|\\PC{0,20}|[0-9]{1,20}(\\.[0-9]{0,20})?",
        ) {
            prop_assert!(parse_timestamp(&text).is_none_or(in_range));
        }
    }
}

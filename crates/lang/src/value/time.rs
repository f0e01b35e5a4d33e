//! Times in values: RFC 3339 to nanoseconds since the epoch and back, and what day and hour an instant is.

use logmill_model::time::{civil_to_ns, format_rfc3339, parse_epoch_f64, parse_epoch_i64};

use super::number::{parse_decimal, parse_i64};

/// Nanoseconds of a day.
const DAY_NS: i64 = logmill_model::time::DAY_NS;

/// The instant of `2024-05-15T10:20:30.934324Z`: `T` or a blank between date and time, up to nine digits of fraction,
/// `Z`, an offset (`+02:00`) or nothing for UTC. Nothing else is a time, so that numbers and addresses are none.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    // Anything shorter than `2006-01-02T15:04:05`, or without its separators, is told apart without parsing.
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if bytes.len() < 19 || separators.iter().any(|(at, byte)| bytes[*at] != *byte) {
        return None;
    }
    if !matches!(bytes[10], b'T' | b' ') {
        return None;
    }
    let number = |from: usize, to: usize| digits(&bytes[from..to]);
    let small = |from| u8::try_from(number(from, from + 2)?).ok();
    let year = i32::try_from(number(0, 4)?).ok()?;
    let (fraction, offset_ns) = split_offset(text.get(19..)?)?;
    let fraction_ns = match fraction.strip_prefix('.') {
        None if fraction.is_empty() => 0,
        Some(fraction) if (1..=9).contains(&fraction.len()) => {
            let missing = u32::try_from(9 - fraction.len()).ok()?;
            digits(fraction.as_bytes())? * 10_u32.pow(missing)
        }
        _ => return None,
    };
    civil_to_ns(
        year,
        small(5)?,
        small(8)?,
        small(11)?,
        small(14)?,
        small(17)?,
        fraction_ns,
    )?
    .checked_sub(offset_ns)
}

/// What stands before the time zone, and the zone's offset in nanoseconds.
fn split_offset(tail: &str) -> Option<(&str, i64)> {
    if let Some(fraction) = tail.strip_suffix('Z') {
        return Some((fraction, 0));
    }
    let Some(at) = tail.rfind(['+', '-']) else {
        return Some((tail, 0));
    };
    let (hours, minutes) = tail[at + 1..].split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (digits(hours.as_bytes())?, digits(minutes.as_bytes())?);
    if hours > 24 || minutes > 59 {
        return None;
    }
    let offset_ns = i64::from(hours * 60 + minutes) * 60_000_000_000;
    let sign = if tail.as_bytes()[at] == b'-' { -1 } else { 1 };
    Some((&tail[..at], sign * offset_ns))
}

/// Up to nine decimal digits.
fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value * 10 + u32::from(byte - b'0'))
    })
}

/// Appends an instant as `2024-05-15T10:20:30.934Z`, with 0, 3, 6 or 9 digits of fraction.
pub fn write_time(t_ns: i64, out: &mut String) {
    let mut bytes = Vec::with_capacity(30);
    format_rfc3339(t_ns, &mut bytes);
    out.extend(bytes.into_iter().map(char::from));
}

/// As [`write_time`], to a text of its own.
pub fn format_time(t_ns: i64) -> String {
    let mut out = String::with_capacity(30);
    write_time(t_ns, &mut out);
    out
}

/// The instant of a Unix timestamp in seconds, milliseconds, microseconds or nanoseconds (told by its size), with or
/// without a fraction.
pub fn parse_unix_timestamp(text: &str) -> Option<i64> {
    match parse_i64(text) {
        Some(value) => parse_epoch_i64(value),
        None => parse_epoch_f64(parse_decimal(text)?),
    }
}

/// Nanoseconds since midnight, in a time zone that is `offset_ns` ahead of UTC.
pub fn time_of_day(t_ns: i64, offset_ns: i64) -> i64 {
    t_ns.wrapping_add(offset_ns).rem_euclid(DAY_NS)
}

/// The day of the week, 0 for Sunday to 6 for Saturday, in a time zone that is `offset_ns` ahead of UTC.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a remainder of 7"
)]
pub fn day_of_week(t_ns: i64, offset_ns: i64) -> u8 {
    // 1970-01-01 was a Thursday.
    (t_ns.wrapping_add(offset_ns).div_euclid(DAY_NS) + 4).rem_euclid(7) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_with_zones_and_fractions() {
        let noon = civil_to_ns(2024, 5, 15, 12, 0, 0, 0);
        for text in [
            "2024-05-15T12:00:00Z",
            "2024-05-15 12:00:00",
            "2024-05-15T14:00:00+02:00",
            "2024-05-15T06:30:00.000-05:30",
            "2024-05-15T12:00:00.000000000Z",
        ] {
            assert_eq!(parse_rfc3339(text), noon, "{text}");
        }
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00.000000001Z"), Some(1));
        for text in [
            "",
            "2024-05-15",
            "2024-05-15T12:00Z",
            "2024-05-15T12:00:00.Z",
            "2024-05-15T12:00:00.1234567890Z",
            "2024-05-15T12:00:00+0200",
            "2024-05-15T12:00:00+",
            "2024-13-15T12:00:00Z",
            "2024-05-15T25:00:00Z",
            "2024-05-15T12:00:00 UTC",
            "1716114000000000000000",
            "éééééééééééééééééééé",
            "2024-05-15T12:00:0éZ",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn unix_timestamps_tell_their_unit_by_their_size() {
        let second = 1_715_774_400_000_000_000;
        for text in [
            "1715774400",
            "1715774400000",
            "1715774400000000",
            "1715774400000000000",
            "1715774400.0",
        ] {
            assert_eq!(parse_unix_timestamp(text), Some(second), "{text}");
        }
        assert_eq!(
            parse_unix_timestamp("1715774400.5"),
            Some(second + 500_000_000)
        );
        assert_eq!(parse_unix_timestamp("x"), None);
    }

    #[test]
    fn days_and_hours_depend_on_the_zone() {
        // A Wednesday.
        let t = parse_rfc3339("2024-05-15T23:30:00Z").unwrap();
        assert_eq!(day_of_week(t, 0), 3);
        assert_eq!(day_of_week(t, 3_600_000_000_000), 4);
        assert_eq!(time_of_day(t, 0), 84_600_000_000_000);
        assert_eq!(time_of_day(t, 3_600_000_000_000), 1_800_000_000_000);
        assert_eq!(day_of_week(-1, 0), 3);
    }

    proptest! {
        #[test]
        fn printed_times_are_read_back(t in 0_i64..9_000_000_000_000_000_000) {
            prop_assert_eq!(parse_rfc3339(&format_time(t)), Some(t));
        }

        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,40}") {
            let _ = parse_rfc3339(&text);
        }
    }
}

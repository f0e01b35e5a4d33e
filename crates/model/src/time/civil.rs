//! The calendar: civil dates to nanoseconds and back (proleptic Gregorian, UTC).
//!
//! The day arithmetic is Howard Hinnant's (`chrono-Compatible Low-Level Date Algorithms`).

use super::{DAY_NS, SECOND_NS};

/// Nanoseconds since the epoch of a UTC date and time; `None` when a part is out of range (a leap second 60 counts
/// as the second after 59) or the result does not fit.
pub fn civil_to_ns(
    year: i32,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    nanosecond: u32,
) -> Option<i64> {
    if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 || nanosecond >= 1_000_000_000 {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * 86_400
        + i64::from(hour) * 3_600
        + i64::from(minute) * 60
        + i64::from(second);
    seconds
        .checked_mul(SECOND_NS)?
        .checked_add(i64::from(nanosecond))
}

fn days_in_month(year: i32, month: u8) -> u8 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_from_civil(year: i32, month: u8, day: u8) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The UTC date (year, month 1–12, day 1–31) of an instant.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an i64 of nanoseconds spans 585 years, and month and day are small by construction"
)]
pub fn utc_date(t_ns: i64) -> (i32, u8, u8) {
    let days = t_ns.div_euclid(DAY_NS) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as i32, month as u8, day as u8)
}

/// Appends the instant as RFC 3339, UTC, with 0, 3, 6 or 9 digits of fraction as needed.
pub fn format_rfc3339(t_ns: i64, out: &mut Vec<u8>) {
    let (year, month, day) = utc_date(t_ns);
    let of_day = t_ns.rem_euclid(DAY_NS);
    let (seconds, fraction) = (of_day / SECOND_NS, of_day % SECOND_NS);
    digits(out, i64::from(year), 4);
    out.push(b'-');
    digits(out, i64::from(month), 2);
    out.push(b'-');
    digits(out, i64::from(day), 2);
    out.push(b'T');
    digits(out, seconds / 3_600, 2);
    out.push(b':');
    digits(out, seconds / 60 % 60, 2);
    out.push(b':');
    digits(out, seconds % 60, 2);
    if fraction != 0 {
        out.push(b'.');
        if fraction % 1_000_000 == 0 {
            digits(out, fraction / 1_000_000, 3);
        } else if fraction % 1_000 == 0 {
            digits(out, fraction / 1_000, 6);
        } else {
            digits(out, fraction, 9);
        }
    }
    out.push(b'Z');
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a digit is below ten"
)]
fn digits(out: &mut Vec<u8>, value: i64, width: u32) {
    for power in (0..width).rev() {
        out.push(b'0' + (value / 10_i64.pow(power) % 10) as u8);
    }
}

/// 1–12 for `Jan`–`Dec` (or a full name that begins so), any case.
pub fn month_number(name: &[u8]) -> Option<u8> {
    const NAMES: [&[u8; 3]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    let first = name.first_chunk::<3>()?.to_ascii_lowercase();
    (1_u8..)
        .zip(NAMES)
        .find(|(_, name)| first == **name)
        .map(|(number, _)| number)
}

/// The year that a line without one means (RFC 3164): the latest that does not put the line more than a day after
/// `now_ns`.
pub fn year_for(month: u8, day: u8, hour: u8, minute: u8, second: u8, now_ns: i64) -> i32 {
    let (this_year, _, _) = utc_date(now_ns);
    let latest = now_ns.saturating_add(DAY_NS);
    // Eight years back reach a 29 February even across 2100, which has none.
    (this_year - 8..=this_year + 1)
        .rev()
        .find(|year| {
            civil_to_ns(*year, month, day, hour, minute, second, 0).is_some_and(|t| t <= latest)
        })
        .unwrap_or(this_year)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(t_ns: i64) -> String {
        let mut out = Vec::new();
        format_rfc3339(t_ns, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_instants_are_right() {
        let t = civil_to_ns(2026, 11, 20, 8, 0, 0, 123_456_789).unwrap();
        assert_eq!(t, 1_795_161_600_123_456_789);
        assert_eq!(text(t), "2026-11-20T08:00:00.123456789Z");
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(1_500_000), "1970-01-01T00:00:00.001500Z");
        assert_eq!(
            civil_to_ns(2024, 2, 29, 0, 0, 0, 0).map(utc_date),
            Some((2024, 2, 29))
        );
        assert_eq!(
            civil_to_ns(2262, 1, 1, 0, 0, 0, 0),
            Some(super::super::MAX_NS)
        );
        for (year, month, day, hour) in [
            (2023, 2, 29, 0),
            (2023, 13, 1, 0),
            (2023, 0, 1, 0),
            (2023, 1, 0, 0),
            (2023, 1, 1, 24),
            (9999, 1, 1, 0),
        ] {
            assert_eq!(civil_to_ns(year, month, day, hour, 0, 0, 0), None);
        }
    }

    #[test]
    fn a_line_without_a_year_is_of_the_recent_past() {
        let now = civil_to_ns(2026, 1, 2, 12, 0, 0, 0).unwrap();
        assert_eq!(year_for(1, 2, 11, 0, 0, now), 2026);
        assert_eq!(
            year_for(1, 3, 11, 0, 0, now),
            2026,
            "clocks differ by up to a day"
        );
        assert_eq!(year_for(1, 4, 0, 0, 0, now), 2025);
        assert_eq!(year_for(12, 31, 23, 0, 0, now), 2025);
        assert_eq!(year_for(2, 29, 0, 0, 0, now), 2024);
        let eve = civil_to_ns(2025, 12, 31, 23, 59, 59, 0).unwrap();
        assert_eq!(year_for(1, 1, 0, 0, 5, eve), 2026);
    }

    proptest! {
        #[test]
        fn dates_go_there_and_back(t in 0_i64..i64::MAX) {
            let (year, month, day) = utc_date(t);
            let midnight = civil_to_ns(year, month, day, 0, 0, 0, 0).unwrap();
            prop_assert_eq!(midnight, t - t.rem_euclid(DAY_NS));
        }
    }
}

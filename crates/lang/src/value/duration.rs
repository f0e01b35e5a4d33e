//! Durations: `1h33m55s` to nanoseconds and back.

use std::fmt::Write as _;

use super::number::{parse_quantities, write_number};

/// Nanoseconds of a week, the longest unit that durations are printed with.
const WEEK_NS: u64 = 7 * 86_400_000_000_000;

/// A duration in nanoseconds: numbers with units from `ns` to `y` (365 days), added up; a `-` in front negates it all.
/// A number without a unit is none.
pub fn parse_duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 11] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3), // U+00B5, micro sign
        ("μs", 1e3), // U+03BC, Greek mu
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3_600e9),
        ("d", 86_400e9),
        ("w", 604_800e9),
        ("y", 31_536_000e9),
    ];
    parse_quantities(text, &UNITS)
}

/// Appends a duration in the units that it needs: `1w2d3h4m5.678s`; below a second `12ms345µs6ns`; `0` for none.
pub fn write_duration(duration_ns: i64, out: &mut String) {
    if duration_ns == 0 {
        out.push('0');
        return;
    }
    if duration_ns < 0 {
        out.push('-');
    }
    let mut rest = duration_ns.unsigned_abs();
    let with_seconds = rest >= 1_000_000_000;
    let units: &[(&str, u64)] = if with_seconds {
        &[
            ("w", WEEK_NS),
            ("d", WEEK_NS / 7),
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
        ]
    } else {
        &[("ms", 1_000_000), ("µs", 1_000), ("ns", 1)]
    };
    for (unit, length_ns) in units {
        let count = rest / length_ns;
        rest %= length_ns;
        if count > 0 {
            write!(out, "{count}{unit}").expect("writing to a string cannot fail");
        }
    }
    if rest > 0 {
        write_number(rest as f64 / 1e9, out);
        out.push('s');
    }
}

/// As [`write_duration`], to a text of its own.
pub fn format_duration(duration_ns: i64) -> String {
    let mut out = String::new();
    write_duration(duration_ns, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, expected) in [
            ("123ns", 123),
            ("1.23µs", 1_230),
            ("1.23456ms", 1_234_560),
            ("1.234s", 1_234_000_000),
            ("1.5m", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1.5d", 129_600_000_000_000),
            ("1w", 604_800_000_000_000),
            ("1y", 31_536_000_000_000_000),
            ("1h33m55s", 5_635_000_000_000),
            ("2.5d15m42.345s", 216_942_345_000_000),
            ("-1h5m", -3_900_000_000_000),
            ("1_000s", 1_000_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Some(expected), "{text}");
        }
        for text in ["", "-", "5", "s", "5x", "5 s", "1h30", "1e3s", "400y"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_print_in_the_units_they_need() {
        for (duration, expected) in [
            (0, "0"),
            (5_635_000_000_000, "1h33m55s"),
            (1_234_000_000, "1.234s"),
            (1_234_560, "1ms234µs560ns"),
            (-90_000_000_000, "-1m30s"),
            (788_645_678_000_000, "1w2d3h4m5.678s"),
            (3_600_000_000_000, "1h"),
        ] {
            assert_eq!(format_duration(duration), expected);
        }
    }

    proptest! {
        #[test]
        fn printed_durations_are_read_back(duration in -9_000_000_000_000_000_000_i64..9_000_000_000_000_000_000) {
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration).filter(|t| *t != 0));
        }
    }
}

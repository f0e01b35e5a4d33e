//! Buckets of `stats by (field:step offset …)`: a value becomes the start of its bucket.

use std::fmt::Write as _;

use logmill_model::time::{DAY_NS, civil_to_ns, utc_date};

use super::duration::{parse_duration, write_duration};
use super::ipv4::{mask, parse_ipv4, write_ipv4};
use super::number::{parse_decimal, parse_i64, write_number};
use super::time::{parse_rfc3339, write_time};
use crate::ast::{Bucket, BucketSize};

/// How wide buckets are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// A number: a plain one, or nanoseconds or bytes.
    Width(f64),
    /// Calendar months.
    Month,
    /// Calendar years.
    Year,
    /// IPv4 networks: the mask.
    Network(u32),
}

/// Buckets of one width, shifted by an offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Buckets {
    step: Step,
    offset: f64,
    /// How much further buckets of time are moved: weeks begin on Monday, and the epoch was a Thursday.
    time_offset_ns: i64,
}

impl Buckets {
    /// From what stands behind the name of a field in `by (…)`.
    pub fn new(bucket: &Bucket) -> Self {
        let step = match &bucket.size {
            BucketSize::Step(step) => Step::Width(step.value),
            BucketSize::Month => Step::Month,
            BucketSize::Year => Step::Year,
            BucketSize::Ipv4Mask(bits) => Step::Network(mask(*bits)),
        };
        // `1w` is a number like others.
        let is_week = matches!(&bucket.size, BucketSize::Step(step) if step.text == "week");
        Self {
            step,
            offset: bucket.offset.as_ref().map_or(0.0, |offset| offset.value),
            time_offset_ns: if is_week { 4 * DAY_NS } else { 0 },
        }
    }

    /// The fixed width and offset of buckets of time, in nanoseconds; `None` for months and years, which have no fixed
    /// width, and networks.
    pub fn fixed_ns(&self) -> Option<(i64, i64)> {
        match self.step {
            Step::Width(width) => Some((whole(width).max(1), self.offset_ns())),
            _ => None,
        }
    }

    fn offset_ns(&self) -> i64 {
        whole(self.offset).saturating_add(self.time_offset_ns)
    }

    /// The start of the bucket that an instant is in, both in nanoseconds since the epoch.
    pub fn time(&self, t_ns: i64) -> i64 {
        let offset_ns = self.offset_ns();
        let shifted = t_ns.saturating_sub(offset_ns);
        let start = match self.step {
            Step::Month | Step::Year => {
                let (year, month, _) = utc_date(shifted);
                let month = if self.step == Step::Year { 1 } else { month };
                civil_to_ns(year, month, 1, 0, 0, 0, 0).unwrap_or(shifted)
            }
            Step::Width(width) => floor_to(shifted, whole(width).max(1)),
            Step::Network(_) => shifted,
        };
        start.saturating_add(offset_ns)
    }

    /// The start of the bucket that an integer is in.
    pub fn integer(&self, value: i64) -> i64 {
        match self.step {
            Step::Width(width) => {
                let offset = whole(self.offset);
                let shifted = value.saturating_sub(offset);
                floor_to(shifted, whole(width).max(1)).saturating_add(offset)
            }
            _ => value,
        }
    }

    /// The start of the bucket that a number is in. Its digits are those of the step: a step of 0.1 gives 0.3, not
    /// 0.30000000000000004.
    pub fn number(&self, value: f64) -> f64 {
        let Step::Width(width) = self.step else {
            return value;
        };
        let scale = decimal_scale(width);
        let width = (width * scale).round();
        let shifted = ((value - self.offset) * scale).floor();
        (shifted - shifted.rem_euclid(width)) / scale + self.offset
    }

    /// Appends the start of the bucket that a value is in, printed as values of its kind are: integer, decimal, time,
    /// address, duration. A value of another kind is left as it is.
    pub fn write(&self, value: &str, out: &mut String) {
        let may_be_bucketed = value
            .as_bytes()
            .first()
            .is_some_and(|first| first.is_ascii_digit() || *first == b'-');
        if !may_be_bucketed {
            out.push_str(value);
        } else if let Some(integer) = parse_i64(value) {
            let _ = write!(out, "{}", self.integer(integer));
        } else if let Some(number) = parse_decimal(value) {
            write_number(self.number(number), out);
        } else if let Some(t_ns) = parse_rfc3339(value) {
            write_time(self.time(t_ns), out);
        } else if let Some(address) = parse_ipv4(value) {
            write_ipv4(self.address(address), out);
        } else if let Some(duration_ns) = parse_duration(value) {
            write_duration(self.integer(duration_ns), out);
        } else {
            out.push_str(value);
        }
    }

    fn address(&self, address: u32) -> u32 {
        match self.step {
            Step::Network(mask) => address & mask,
            Step::Width(_) => u32::try_from(self.integer(address.into()).max(0)).unwrap_or(address),
            Step::Month | Step::Year => address,
        }
    }
}

/// Nanoseconds are whole.
#[allow(
    clippy::cast_possible_truncation,
    reason = "`as` saturates, and no step or offset is near the ends of i64"
)]
fn whole(value: f64) -> i64 {
    value as i64
}

fn floor_to(value: i64, step: i64) -> i64 {
    value.saturating_sub(value.rem_euclid(step))
}

/// The power of ten that makes a number of few decimal digits an integer.
fn decimal_scale(value: f64) -> f64 {
    let mut scale = 1.0;
    while scale < 1e15 && (value * scale).fract() != 0.0 {
        scale *= 10.0;
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::Number;

    fn number(text: &str) -> Number {
        let value = match text {
            "second" => 1e9,
            "hour" => 3_600e9,
            "week" => 604_800e9,
            other => super::super::number::parse_number(other).unwrap(),
        };
        let text = text.to_owned();
        Number { text, value }
    }

    fn buckets(step: &str, offset: Option<&str>) -> Buckets {
        let size = match (step, step.strip_prefix('/')) {
            (_, Some(bits)) => BucketSize::Ipv4Mask(bits.parse().unwrap()),
            ("month", _) => BucketSize::Month,
            ("year", _) => BucketSize::Year,
            _ => BucketSize::Step(number(step)),
        };
        let offset = offset.map(number);
        Buckets::new(&Bucket { size, offset })
    }

    #[track_caller]
    fn check(step: &str, offset: Option<&str>, pairs: &[(&str, &str)]) {
        let buckets = buckets(step, offset);
        for (value, expected) in pairs {
            let mut out = String::new();
            buckets.write(value, &mut out);
            assert_eq!(&out, expected, "{value} by {step} offset {offset:?}");
        }
    }

    #[test]
    fn times_fall_into_buckets() {
        let t = "2024-05-15T10:20:30.934Z"; // a Wednesday
        for (step, offset, expected) in [
            ("1m", None, "2024-05-15T10:20:00Z"),
            ("second", None, "2024-05-15T10:20:30Z"),
            ("hour", None, "2024-05-15T10:00:00Z"),
            ("1d", None, "2024-05-15T00:00:00Z"),
            ("1d", Some("2h"), "2024-05-15T02:00:00Z"),
            ("1d", Some("-2h"), "2024-05-14T22:00:00Z"),
            ("1d", Some("11h"), "2024-05-14T11:00:00Z"),
            ("week", None, "2024-05-13T00:00:00Z"),
            ("1w", None, "2024-05-09T00:00:00Z"),
            ("month", None, "2024-05-01T00:00:00Z"),
            ("month", Some("15d"), "2024-04-16T00:00:00Z"),
            ("year", None, "2024-01-01T00:00:00Z"),
        ] {
            check(step, offset, &[(t, expected)]);
        }
    }

    #[test]
    fn numbers_fall_into_buckets_of_their_kind() {
        check(
            "10KB",
            None,
            &[
                ("9999", "0"),
                ("10000", "10000"),
                ("-1", "-10000"),
                ("12345.6", "10000"),
                ("", ""),
                ("abc", "abc"),
                ("1.2.3", "1.2.3"),
            ],
        );
        check(
            "0.1",
            None,
            &[("0.35", "0.3"), ("-0.35", "-0.4"), ("7.0", "7")],
        );
        check("10", Some("3"), &[("12", "3"), ("13", "13"), ("2", "-7")]);
        check("1s", None, &[("1.5s", "1s"), ("2m1.25s", "2m1s")]);
        check("week", None, &[("5", "0"), ("1w1s", "1w")]);
    }

    #[test]
    fn addresses_fall_into_networks() {
        check(
            "/24",
            None,
            &[("10.1.2.3", "10.1.2.0"), ("7", "7"), ("x", "x")],
        );
        check("/8", None, &[("10.1.2.3", "10.0.0.0")]);
        check("/0", None, &[("10.1.2.3", "0.0.0.0")]);
    }

    #[test]
    fn buckets_of_fixed_width_say_so() {
        assert_eq!(
            buckets("1h", Some("5m")).fixed_ns(),
            Some((3_600_000_000_000, 300_000_000_000))
        );
        assert_eq!(buckets("month", None).fixed_ns(), None);
    }
}

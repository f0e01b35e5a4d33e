//! Buckets of the `histogram` function: those of VictoriaMetrics, 18 to a power of ten from 1e-9 to 1e18.

use std::fmt::Write as _;

const LOWEST_EXPONENT: i32 = -9;
const HIGHEST_EXPONENT: i32 = 18;
const BUCKETS_PER_DECADE: i32 = 18;

/// Number of the bucket for values above 1e18; that of values up to 1e-9 is 0.
const OVERFLOW: u16 = 487;

/// The number of the bucket that a value falls in; buckets of greater values have greater numbers. `None` for values
/// that are in none: NaN and negative ones.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be in 0..486 first"
)]
pub fn bucket(value: f64) -> Option<u16> {
    if value.is_nan() || value < 0.0 {
        return None;
    }
    let place = (value.log10() - f64::from(LOWEST_EXPONENT)) * f64::from(BUCKETS_PER_DECADE);
    if place < 0.0 {
        return Some(0);
    }
    if place >= f64::from(OVERFLOW - 1) {
        return Some(OVERFLOW);
    }
    // A bucket contains its upper end.
    let index = place as u16;
    let is_lower_end = f64::from(index) == place && index > 0;
    Some(if is_lower_end { index } else { index + 1 })
}

/// Appends the ends of a bucket as `1.000e+00...1.136e+00`; the lower one is not in it.
pub fn write_range(bucket: u16, out: &mut String) {
    match bucket {
        0 => out.push('0'),
        _ => write_end(bucket - 1, out),
    }
    out.push_str("...");
    match bucket {
        OVERFLOW => out.push_str("+Inf"),
        _ => write_end(bucket, out),
    }
}

/// Appends the upper end of a bucket, four digits and an exponent of two.
fn write_end(bucket: u16, out: &mut String) {
    let exponent = f64::from(bucket) / f64::from(BUCKETS_PER_DECADE) + f64::from(LOWEST_EXPONENT);
    let text = format!("{:.3e}", 10_f64.powf(exponent));
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    write!(out, "{digits}e{sign}{exponent:0>2}").expect("writing to a string cannot fail");
}

/// Appends buckets and how many values fell in them, in the order they come, as the JSON that `histogram` gives.
pub fn write_buckets(buckets: impl IntoIterator<Item = (u16, u64)>, out: &mut String) {
    out.push('[');
    let mut separator = "";
    for (bucket, hits) in buckets {
        out.push_str(separator);
        out.push_str("{\"vmrange\":\"");
        write_range(bucket, out);
        write!(out, "\",\"hits\":{hits}}}").expect("writing to a string cannot fail");
        separator = ",";
    }
    out.push(']');
}

const _: () = assert!(
    OVERFLOW as i32 == (HIGHEST_EXPONENT - LOWEST_EXPONENT) * BUCKETS_PER_DECADE + 1,
    "the buckets between, and one for what is below them"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(value: f64) -> String {
        let mut out = String::new();
        write_range(bucket(value).unwrap(), &mut out);
        out
    }

    #[test]
    fn values_fall_into_buckets() {
        for (value, expected) in [
            (5.0, "4.642e+00...5.275e+00"),
            (7.5, "6.813e+00...7.743e+00"),
            (0.0, "0...1.000e-09"),
            (1e-10, "0...1.000e-09"),
            (1000.0, "8.799e+02...1.000e+03"),
            (1e18, "1.000e+18...+Inf"),
            (1e300, "1.000e+18...+Inf"),
            (9.9e17, "8.799e+17...1.000e+18"),
        ] {
            assert_eq!(range(value), expected, "{value}");
        }
        assert_eq!(bucket(-1.0), None);
        assert_eq!(bucket(f64::NAN), None);
    }

    #[test]
    fn buckets_are_written_as_json() {
        let mut out = String::new();
        write_buckets([(0, 2), (bucket(5.0).unwrap(), 1)], &mut out);
        assert_eq!(
            out,
            r#"[{"vmrange":"0...1.000e-09","hits":2},{"vmrange":"4.642e+00...5.275e+00","hits":1}]"#
        );
    }

    proptest! {
        #[test]
        fn a_value_is_in_its_bucket(value in 1e-8_f64..1e17) {
            let range = range(value);
            let (lower, upper) = range.split_once("...").unwrap();
            let (lower, upper): (f64, f64) = (lower.parse().unwrap(), upper.parse().unwrap());
            // Ends are printed with four digits.
            prop_assert!(lower * 0.999 < value && value < upper * 1.001, "{} {}", value, range);
        }
    }
}

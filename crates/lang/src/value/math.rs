//! Arithmetic of the `math` pipe that floats do not have themselves. NaN is what is no number, and stays NaN.

/// Bitwise operation on two numbers, whole and in `0..=2^53-1`; beyond that digits are lost.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates; the range is documented"
)]
pub fn bitwise(left: f64, right: f64, operation: fn(u64, u64) -> u64) -> f64 {
    if left.is_nan() || right.is_nan() {
        return f64::NAN;
    }
    operation(left as u64, right as u64) as f64
}

/// The remainder of a division, with the sign of `left`; NaN for division by zero.
pub fn modulo(left: f64, right: f64) -> f64 {
    left % right
}

/// Rounds to the nearest multiple of `nearest`, halves away from zero, with no more digits than `nearest` has.
pub fn round_to(value: f64, nearest: f64) -> f64 {
    if nearest == 0.0 {
        return f64::NAN;
    }
    let mut scale = 1.0;
    while scale < 1e15 && (nearest * scale).fract() != 0.0 {
        scale *= 10.0;
    }
    (value / nearest).round() * (nearest * scale).round() / scale
}

/// The greatest number; NaN only when all are.
pub fn max(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(f64::NAN, f64::max)
}

/// The least number; NaN only when all are.
pub fn min(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(f64::NAN, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_multiples() {
        for (value, nearest, expected) in [
            (1.26, 0.1, 1.3),
            (0.36, 0.1, 0.4),
            (-1.25, 0.5, -1.5),
            (1_234.0, 100.0, 1_200.0),
            (1.5e9, 1e9, 2e9),
            (7.0, 3.0, 6.0),
        ] {
            assert_eq!(round_to(value, nearest), expected, "{value} {nearest}");
        }
        assert!(round_to(1.0, 0.0).is_nan() && round_to(f64::NAN, 1.0).is_nan());
    }

    #[test]
    fn nan_stays_nan_or_is_passed_over() {
        assert!(bitwise(f64::NAN, 1.0, |a, b| a & b).is_nan());
        assert_eq!(bitwise(6.0, 3.0, |a, b| a ^ b), 5.0);
        assert_eq!(max([f64::NAN, 1.0, 3.0]), 3.0);
        assert_eq!(min([f64::NAN, 1.0, 3.0]), 1.0);
        assert!(min([f64::NAN]).is_nan());
        assert_eq!(modulo(-7.0, 3.0), -1.0);
        assert!(modulo(1.0, 0.0).is_nan());
    }
}

//! Times as people ask for them: absolute, or relative to now.

use super::parse_timestamp;

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a time: use RFC 3339 (2026-11-20T12:00:00Z), an epoch in s, ms, us or ns, or a time relative to \
     now (now, -15m, now-1h30m; units ns us ms s m h d w)"
)]
pub struct TimeExpressionError {
    /// What was given.
    pub text: String,
}

/// The instant, nanoseconds since the epoch, of `now`, `-15m`, `now-1h30m`, `now+5m`, RFC 3339 or an epoch.
pub fn parse_time_expression(text: &str, now_ns: i64) -> Result<i64, TimeExpressionError> {
    let trimmed = text.trim();
    relative(trimmed, now_ns)
        .or_else(|| parse_timestamp(trimmed))
        .ok_or_else(|| TimeExpressionError {
            text: text.chars().take(100).collect(),
        })
}

fn relative(text: &str, now_ns: i64) -> Option<i64> {
    let rest = text.strip_prefix("now").unwrap_or(text).trim_start();
    if rest.is_empty() {
        return (!text.is_empty()).then_some(now_ns);
    }
    if let Some(span) = rest.strip_prefix('-') {
        return now_ns.checked_sub(parse_duration(span.trim_start())?);
    }
    now_ns.checked_add(parse_duration(rest.strip_prefix('+')?.trim_start())?)
}

/// A length of time such as `1h30m` or `250ms`, in nanoseconds; units `ns us ms s m h d w`.
pub fn parse_duration(mut text: &str) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    let mut total = 0_i64;
    while !text.is_empty() {
        let digits = text.find(|character: char| !character.is_ascii_digit())?;
        let value: i64 = text.get(..digits)?.parse().ok()?;
        text = text.get(digits..)?;
        let letters = text
            .find(|character: char| !character.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let unit: i64 = match text.get(..letters)? {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return None,
        };
        total = total.checked_add(value.checked_mul(unit)?)?;
        text = text.get(letters..)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_176_000_000_000_000;
    const MINUTE: i64 = 60_000_000_000;

    #[test]
    fn relative_and_absolute_times_are_understood() {
        let texts = [
            ("now", NOW),
            (" now ", NOW),
            ("-15m", NOW - 15 * MINUTE),
            ("now-1h30m", NOW - 90 * MINUTE),
            ("now - 1d", NOW - 1_440 * MINUTE),
            ("now+5m", NOW + 5 * MINUTE),
            ("-1w", NOW - 7 * 1_440 * MINUTE),
            ("2026-11-20T12:00:00Z", NOW),
            ("1795176000", NOW),
        ];
        for (text, expected) in texts {
            assert_eq!(parse_time_expression(text, NOW), Ok(expected), "{text}");
        }
        for text in [
            "",
            "-",
            "-15",
            "-m",
            "now-",
            "now-5y",
            "15m",
            "-99999999999999w",
            "later",
        ] {
            assert!(parse_time_expression(text, NOW).is_err(), "{text}");
        }
    }
}

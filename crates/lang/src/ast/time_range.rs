//! From times as they were written to ranges of nanoseconds.

use logmill_model::time::{TimeRange, civil_to_ns, parse_timestamp};

use super::{TimeFilter, TimePoint, TimeSpan};
use crate::value::duration::parse_duration;

const SECOND_NS: i64 = 1_000_000_000;
const MINUTE_NS: i64 = 60 * SECOND_NS;
const HOUR_NS: i64 = 60 * MINUTE_NS;

impl TimeFilter {
    /// The range that is meant when it is `now_ns`; it may be empty (`end_ns <= start_ns`).
    pub fn range(&self, now_ns: i64) -> TimeRange {
        let range = self.span.range(now_ns);
        let offset_ns = self.offset.as_ref().map_or(0, |offset| offset.ns);
        TimeRange {
            start_ns: moved(range.start_ns, offset_ns),
            end_ns: moved(range.end_ns, offset_ns),
        }
    }
}

/// `t_ns` moved into the past; the ends of time stay where they are.
fn moved(t_ns: i64, offset_ns: i64) -> i64 {
    match t_ns {
        i64::MIN | i64::MAX => t_ns,
        _ => t_ns.saturating_sub(offset_ns),
    }
}

impl TimeSpan {
    fn range(&self, now_ns: i64) -> TimeRange {
        let after_now = now_ns.saturating_add(1);
        match self {
            Self::UntilNow => until(after_now),
            Self::Last(age) => TimeRange {
                start_ns: ago(now_ns, age.ns).saturating_add(1),
                end_ns: after_now,
            },
            Self::OlderThan { age, inclusive } => {
                until(ago(now_ns, age.ns).saturating_add(i64::from(*inclusive)))
            }
            Self::YoungerThan { age, inclusive } => TimeRange {
                start_ns: ago(now_ns, age.ns).saturating_add(i64::from(!inclusive)),
                end_ns: after_now,
            },
            Self::At(time) => time.range(now_ns),
            Self::After { time, inclusive } => TimeRange {
                start_ns: time.start(now_ns, *inclusive),
                end_ns: i64::MAX,
            },
            Self::Before { time, inclusive } => until(time.end(now_ns, *inclusive)),
            Self::Between {
                start,
                start_inclusive,
                end,
                end_inclusive,
            } => TimeRange {
                start_ns: start.start(now_ns, *start_inclusive),
                end_ns: end.end(now_ns, *end_inclusive),
            },
        }
    }
}

fn until(end_ns: i64) -> TimeRange {
    TimeRange {
        start_ns: i64::MIN,
        end_ns,
    }
}

/// So long ago; a sign means nothing here.
fn ago(now_ns: i64, age_ns: i64) -> i64 {
    now_ns.saturating_sub(age_ns.saturating_abs())
}

impl TimePoint {
    /// A text as a time; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        // Whether a text is a time does not depend on when it is asked.
        resolve(text, 0)?;
        Some(Self {
            text: text.to_owned(),
        })
    }

    /// All of what is written, when it is `now_ns`: a year for `2026`, a day for `2026-11-20`, a nanosecond for times
    /// without an end that is missing.
    pub fn range(&self, now_ns: i64) -> TimeRange {
        // The parser lets no other texts in; one that was made by hand means no time at all.
        resolve(&self.text, now_ns).unwrap_or(TimeRange {
            start_ns: now_ns,
            end_ns: now_ns,
        })
    }

    fn start(&self, now_ns: i64, inclusive: bool) -> i64 {
        self.range(now_ns)
            .start_ns
            .saturating_add(i64::from(!inclusive))
    }

    fn end(&self, now_ns: i64, inclusive: bool) -> i64 {
        let range = self.range(now_ns);
        if inclusive {
            range.end_ns
        } else {
            range.start_ns
        }
    }
}

/// What a text means as a time; `None` when it is none.
fn resolve(text: &str, now_ns: i64) -> Option<TimeRange> {
    let instant = |t_ns: i64| TimeRange {
        start_ns: t_ns,
        end_ns: t_ns.saturating_add(1),
    };
    relative(text, now_ns)
        .map(instant)
        .or_else(|| calendar(text))
        .or_else(|| parse_timestamp(text).map(instant))
}

/// `now`, `now-1h`, `now+1h`, `-1h`, and `1h` for an hour ago.
fn relative(text: &str, now_ns: i64) -> Option<i64> {
    match text.strip_prefix("now") {
        Some("") => Some(now_ns),
        Some(rest) => match rest.strip_prefix('+') {
            Some(span) => Some(now_ns.saturating_add(parse_duration(span)?)),
            None => {
                Some(now_ns.saturating_add(parse_duration(rest).filter(|_| rest.starts_with('-'))?))
            }
        },
        None => parse_duration(text).map(|age_ns| ago(now_ns, age_ns)),
    }
}

/// `2026`, `2026-11`, `2026-11-20`, `2026-11-20T12`, … with a zone or without one, which is UTC.
fn calendar(text: &str) -> Option<TimeRange> {
    let (local, zone_ns) = split_zone(text)?;
    let (date, clock) = match local.split_once(['T', 't']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (local, None),
    };
    let mut parts = date.split('-');
    let year = i32::from(number(parts.next()?, 4)?);
    let month = parts.next().map(two).transpose_option()?;
    let day = parts.next().map(two).transpose_option()?;
    if parts.next().is_some() || (clock.is_some() && day.is_none()) {
        return None;
    }
    let midnight = |year, month, day| civil_to_ns(year, month, day, 0, 0, 0, 0);
    let (start, end) = match (month, day) {
        (None, _) => (midnight(year, 1, 1)?, midnight(year + 1, 1, 1)?),
        (Some(12), None) => (midnight(year, 12, 1)?, midnight(year + 1, 1, 1)?),
        (Some(month), None) => (midnight(year, month, 1)?, midnight(year, month + 1, 1)?),
        (Some(month), Some(day)) => {
            let start = midnight(year, month, day)?;
            let (into_ns, width_ns) = match clock {
                Some(clock) => time_of_day(clock)?,
                None => (0, 24 * HOUR_NS),
            };
            (start + into_ns, start + into_ns + width_ns)
        }
    };
    Some(TimeRange {
        start_ns: start - zone_ns,
        end_ns: end - zone_ns,
    })
}

/// What is in front of a zone, and how much later than UTC its clocks are.
fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return Some((local, 0));
    }
    let Some((local, zone)) = text
        .len()
        .checked_sub(6)
        .and_then(|at| text.split_at_checked(at))
    else {
        return Some((text, 0));
    };
    let sign = match zone.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Some((text, 0)),
    };
    let Some((hours, minutes)) = zone.get(1..).and_then(|zone| zone.split_once(':')) else {
        return Some((text, 0));
    };
    let zone_ns = i64::from(two(hours)?) * HOUR_NS + i64::from(two(minutes)?) * MINUTE_NS;
    Some((local, sign * zone_ns))
}

/// `12`, `12:30`, `12:30:59`, `12:30:59.123`: nanoseconds since midnight, and how many are meant.
fn time_of_day(clock: &str) -> Option<(i64, i64)> {
    let mut parts = clock.splitn(3, ':');
    let hour = two(parts.next()?).filter(|hour| *hour < 24)?;
    let into_ns = i64::from(hour) * HOUR_NS;
    let Some(minute) = parts.next() else {
        return Some((into_ns, HOUR_NS));
    };
    let minute = two(minute).filter(|minute| *minute < 60)?;
    let into_ns = into_ns + i64::from(minute) * MINUTE_NS;
    let Some(second) = parts.next() else {
        return Some((into_ns, MINUTE_NS));
    };
    let (second, fraction) = match second.split_once('.') {
        Some((second, fraction)) => (second, Some(fraction)),
        None => (second, None),
    };
    let second = two(second).filter(|second| *second < 60)?;
    let into_ns = into_ns + i64::from(second) * SECOND_NS;
    match fraction {
        None => Some((into_ns, SECOND_NS)),
        Some(digits) => {
            let width_ns = if digits.len() == 3 { 1_000_000 } else { 1 };
            Some((into_ns + fraction_ns(digits)?, width_ns))
        }
    }
}

fn fraction_ns(digits: &str) -> Option<i64> {
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{digits:0<9}").parse().ok()
}

fn two(digits: &str) -> Option<u8> {
    u8::try_from(number(digits, 2)?).ok()
}

/// Exactly so many digits.
fn number(digits: &str, length: usize) -> Option<u16> {
    let plain = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// `Some(None)` is a part that is there and wrong: `None` for all. `None` is a part that is missing.
trait TransposeOption<T> {
    fn transpose_option(self) -> Option<Option<T>>;
}

impl<T> TransposeOption<T> for Option<Option<T>> {
    fn transpose_option(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(None) => None,
            Some(Some(part)) => Some(Some(part)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ast::Filter;

    /// 2026-11-26T07:00:00Z
    const NOW: i64 = 1_795_676_400_000_000_000;
    const HOUR: i64 = super::HOUR_NS;
    const DAY: i64 = 24 * HOUR;

    fn range(text: &str) -> (i64, i64) {
        match crate::parse(text).unwrap().filter {
            Filter::Time(time) => {
                let range = time.range(NOW);
                (range.start_ns, range.end_ns)
            }
            other => panic!("{other:?} is not a filter of time"),
        }
    }

    #[test]
    fn times_relative_to_now_move_with_it() {
        assert_eq!(range("_time:1h"), (NOW - HOUR + 1, NOW + 1));
        assert_eq!(range("_time:-1h"), (NOW - HOUR + 1, NOW + 1));
        assert_eq!(
            range("_time:1h offset 1d"),
            (NOW - DAY - HOUR + 1, NOW - DAY + 1)
        );
        assert_eq!(range("_time:offset 1h"), (i64::MIN, NOW - HOUR + 1));
        assert_eq!(range("_time:>1h"), (i64::MIN, NOW - HOUR));
        assert_eq!(range("_time:>=1h"), (i64::MIN, NOW - HOUR + 1));
        assert_eq!(range("_time:<1h"), (NOW - HOUR + 1, NOW + 1));
        assert_eq!(range("_time:<=1h"), (NOW - HOUR, NOW + 1));
        assert_eq!(
            range("_time:[now-2h, now-1h)"),
            (NOW - 2 * HOUR, NOW - HOUR)
        );
        assert_eq!(
            range("_time:(-2h, 1h]"),
            (NOW - 2 * HOUR + 1, NOW - HOUR + 1)
        );
        assert_eq!(
            range("_time:2.5d15m42.345s").0,
            NOW - 2 * DAY - 12 * HOUR - 942_345_000_000 + 1
        );
    }

    #[test]
    fn a_time_whose_end_is_missing_is_all_that_begins_so() {
        let day = NOW - 7 * HOUR;
        assert_eq!(range("_time:2026-11-26"), (day, day + DAY));
        assert_eq!(range("_time:2026-11-26Z"), (day, day + DAY));
        assert_eq!(
            range("_time:2026-11-26+05:30"),
            (day - 11 * HOUR / 2, day + DAY - 11 * HOUR / 2)
        );
        assert_eq!(range("_time:2026-11Z"), (day - 25 * DAY, day + 5 * DAY));
        assert_eq!(
            range("_time:2026-11-07:00"),
            (day - 25 * DAY + 7 * HOUR, day + 5 * DAY + 7 * HOUR)
        );
        assert_eq!(range("_time:2026-12").1, range("_time:2027").0);
        assert_eq!(range("_time:2026Z"), (day - 329 * DAY, day + 36 * DAY));
        assert_eq!(range("_time:2026-11-26T07Z"), (NOW, NOW + HOUR));
        assert_eq!(range("_time:2026-11-26T07:00Z"), (NOW, NOW + HOUR / 60));
        assert_eq!(
            range("_time:2026-11-26T07:00:00Z"),
            (NOW, NOW + 1_000_000_000)
        );
        assert_eq!(
            range("_time:2026-11-26T07:00:00.250Z"),
            (NOW + 250_000_000, NOW + 251_000_000)
        );
        assert_eq!(
            range("_time:2026-11-26T07:00:00.000000001Z"),
            (NOW + 1, NOW + 2)
        );
    }

    #[test]
    fn ends_are_in_as_far_as_they_are_written() {
        let day = NOW - 7 * HOUR;
        assert_eq!(
            range("_time:[2026-11-26Z, 2026-11-27Z]"),
            (day, day + 2 * DAY)
        );
        assert_eq!(range("_time:[2026-11-26Z, 2026-11-27Z)"), (day, day + DAY));
        assert_eq!(range("_time:>2026-11-26"), (day + 1, i64::MAX));
        assert_eq!(range("_time:>=2026-11-26"), (day, i64::MAX));
        assert_eq!(range("_time:<2026-11-26"), (i64::MIN, day));
        assert_eq!(range("_time:<=2026-11-26"), (i64::MIN, day + DAY));
        assert_eq!(
            range("_time:>=2026-11-26 offset 1h"),
            (day - HOUR, i64::MAX)
        );
        assert_eq!(range("_time:[1795676400, now]"), (NOW, NOW + 1));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "_time:foo",
            "_time:2026-13",
            "_time:2026-11-31",
            "_time:2026-11-26T24",
            "_time:[2026-11-26",
            "_time:[2026-11-26, ]",
            "_time:",
            "_time:5m offset",
            "_time:now-",
            "_time:2026-11-26T07:00:00.Z",
        ] {
            assert!(crate::parse(text).is_err(), "{text}");
        }
    }
}

//! `_time:…`.

use super::{Parser, Result, VALUE_STOPS};
use crate::ast::{DayRange, Duration, Filter, TimeFilter, TimePoint, TimeSpan, WeekRange, Weekday};
use crate::value;

const HINT: &str = "times are written as 5m, 2026-11-20, 2026-11-20T12:00:00Z, now-1h, >=2026-11-20, [2026-11-01, 2026-11-20), each with or without `offset 1h`";

impl Parser<'_> {
    /// What follows `_time:`.
    pub(super) fn time(&mut self) -> Result<Filter> {
        if self.accept("*") {
            return Ok(Filter::All);
        }
        if self.accept("day_range") {
            return self.day_range();
        }
        if self.accept("week_range") {
            return self.week_range();
        }
        let span = if self.is("offset") {
            TimeSpan::UntilNow
        } else {
            self.time_span()?
        };
        let offset = self.time_offset()?;
        Ok(Filter::Time(TimeFilter { span, offset }))
    }

    fn time_span(&mut self) -> Result<TimeSpan> {
        if self.is_any(&["[", "("]) {
            return self.time_between();
        }
        let before = self.accept("<");
        let after = !before && self.accept(">");
        let inclusive = self.accept("=");
        let at = self.at;
        let text = self
            .text_until(VALUE_STOPS, "a time")
            .map_err(|error| error.with_hint(HINT))?;
        if let Some(ns) = value::duration::parse_duration(&text) {
            let age = Duration { text, ns };
            return Ok(match (before, after) {
                (true, _) => TimeSpan::YoungerThan { age, inclusive },
                (_, true) => TimeSpan::OlderThan { age, inclusive },
                _ => TimeSpan::Last(age),
            });
        }
        let time = self.time_point(at, text)?;
        Ok(match (before, after) {
            (true, _) => TimeSpan::Before { time, inclusive },
            (_, true) => TimeSpan::After { time, inclusive },
            _ => TimeSpan::At(time),
        })
    }

    fn time_between(&mut self) -> Result<TimeSpan> {
        let start_inclusive = self.opening("range of time")?;
        let at = self.at;
        let start = self.text_until(VALUE_STOPS, "the beginning of the range of time")?;
        let start = self.time_point(at, start)?;
        self.expect(",", "between the ends of the range of time")?;
        let at = self.at;
        let end = self.text_until(VALUE_STOPS, "the end of the range of time")?;
        let end = self.time_point(at, end)?;
        let end_inclusive = self.closing("range of time")?;
        Ok(TimeSpan::Between {
            start,
            start_inclusive,
            end,
            end_inclusive,
        })
    }

    fn time_point(&self, at: usize, text: String) -> Result<TimePoint> {
        TimePoint::parse(&text).ok_or_else(|| {
            self.error_at(at, format!("`{text}` is no time"))
                .with_hint(HINT)
        })
    }

    /// `offset 1h`, if it is there.
    fn time_offset(&mut self) -> Result<Option<Duration>> {
        if !self.accept("offset") {
            return Ok(None);
        }
        self.duration("the offset").map(Some)
    }

    /// A duration.
    pub(super) fn duration(&mut self, what: &str) -> Result<Duration> {
        let at = self.at;
        let text = self.text_until(VALUE_STOPS, what)?;
        match value::duration::parse_duration(&text) {
            Some(ns) => Ok(Duration { text, ns }),
            None => Err(self
                .error_at(at, format!("{what} has to be a duration, `{text}` is none"))
                .with_hint(
                    "durations are written as 5m or 1h30m; units are ns, us, ms, s, m, h, d, w, y",
                )),
        }
    }

    fn day_range(&mut self) -> Result<Filter> {
        let start_inclusive = self.opening("day range")?;
        let start_minute = self.minute_of_day()?;
        self.expect(",", "between the ends of the day range")?;
        let end_minute = self.minute_of_day()?;
        let end_inclusive = self.closing("day range")?;
        let offset = self.time_offset()?;
        Ok(Filter::DayRange(DayRange {
            start_minute,
            start_inclusive,
            end_minute,
            end_inclusive,
            offset,
        }))
    }

    fn minute_of_day(&mut self) -> Result<u16> {
        let at = self.at;
        let text = self.text_until(VALUE_STOPS, "a time of the day")?;
        let minute = || {
            let (hours, minutes) = text.split_once(':')?;
            let digits =
                |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            let parse = |part: &str| digits(part).then(|| part.parse::<u16>().ok()).flatten();
            let minute = parse(hours)? * 60 + parse(minutes).filter(|minutes| *minutes < 60)?;
            Some(minute).filter(|minute| *minute <= 1440)
        };
        minute().ok_or_else(|| {
            self.error_at(at, format!("`{text}` is no time of the day"))
                .with_hint("write hours and minutes, as in day_range[08:00, 18:00)")
        })
    }

    fn week_range(&mut self) -> Result<Filter> {
        let start_inclusive = self.opening("week range")?;
        let start = self.weekday()?;
        self.expect(",", "between the ends of the week range")?;
        let end = self.weekday()?;
        let end_inclusive = self.closing("week range")?;
        let offset = self.time_offset()?;
        Ok(Filter::WeekRange(WeekRange {
            start,
            start_inclusive,
            end,
            end_inclusive,
            offset,
        }))
    }

    fn weekday(&mut self) -> Result<Weekday> {
        let at = self.at;
        let text = self.text_until(VALUE_STOPS, "a day of the week")?;
        Ok(match text.to_ascii_lowercase().as_str() {
            "sun" | "sunday" => Weekday::Sunday,
            "mon" | "monday" => Weekday::Monday,
            "tue" | "tuesday" => Weekday::Tuesday,
            "wed" | "wednesday" => Weekday::Wednesday,
            "thu" | "thursday" => Weekday::Thursday,
            "fri" | "friday" => Weekday::Friday,
            "sat" | "saturday" => Weekday::Saturday,
            _ => {
                let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
                return Err(self.unknown(at, "day of the week", &text, days));
            }
        })
    }
}

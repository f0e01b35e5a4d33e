//! `_time:…`: ranges of time, as they were written.

/// A span of time as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duration {
    /// `1h30m`, `-2h`.
    pub text: String,
    /// Nanoseconds.
    pub ns: i64,
}

/// A point in time as it was written: absolute (`2026-11-20T12:00:00Z`, or with its end missing: `2026-11`, a whole
/// month), an epoch, or relative to now (`now`, `now-1h`, `-1h`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimePoint {
    /// As written. The parser lets only texts in that are a time.
    pub text: String,
}

/// `_time:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFilter {
    /// The span.
    pub span: TimeSpan,
    /// `offset 1h`: the span is moved so far into the past.
    pub offset: Option<Duration>,
}

/// A span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeSpan {
    /// Nothing before an `offset`: everything until now.
    UntilNow,
    /// `5m`: the last five minutes.
    Last(Duration),
    /// `>5m`, `>=5m`: older than that.
    OlderThan {
        /// Age.
        age: Duration,
        /// Whether exactly this age is in.
        inclusive: bool,
    },
    /// `<5m`, `<=5m`: younger than that.
    YoungerThan {
        /// Age.
        age: Duration,
        /// Whether exactly this age is in.
        inclusive: bool,
    },
    /// `2026-11-20`: the whole day, month, hour, … that is written.
    At(TimePoint),
    /// `>2026-11-20`, `>=2026-11-20`.
    After {
        /// From here.
        time: TimePoint,
        /// Whether this nanosecond is in.
        inclusive: bool,
    },
    /// `<2026-11-20`, `<=2026-11-20`.
    Before {
        /// Until here.
        time: TimePoint,
        /// Whether it is in: all of the day, month, … that is written.
        inclusive: bool,
    },
    /// `[2026-11-20, 2026-11-21)`.
    Between {
        /// From here.
        start: TimePoint,
        /// `[`, not `(`.
        start_inclusive: bool,
        /// Until here.
        end: TimePoint,
        /// `]`, not `)`: all of the day, month, … that is written.
        end_inclusive: bool,
    },
}

/// `_time:day_range[08:00, 18:00) offset 2h`: a span of every day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayRange {
    /// Minute of the day at which it begins, `0..=1440`.
    pub start_minute: u16,
    /// `[`, not `(`.
    pub start_inclusive: bool,
    /// Minute of the day at which it ends, `0..=1440`.
    pub end_minute: u16,
    /// `]`, not `)`.
    pub end_inclusive: bool,
    /// How much later than UTC the clock is that is meant.
    pub offset: Option<Duration>,
}

/// `_time:week_range[Mon, Fri] offset 2h`: some days of every week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeekRange {
    /// Day with which it begins.
    pub start: Weekday,
    /// `[`, not `(`.
    pub start_inclusive: bool,
    /// Day with which it ends.
    pub end: Weekday,
    /// `]`, not `)`.
    pub end_inclusive: bool,
    /// How much later than UTC the clock is that is meant.
    pub offset: Option<Duration>,
}

/// A day of the week; as a number, Sunday is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weekday {
    /// `Sun`
    Sunday,
    /// `Mon`
    Monday,
    /// `Tue`
    Tuesday,
    /// `Wed`
    Wednesday,
    /// `Thu`
    Thursday,
    /// `Fri`
    Friday,
    /// `Sat`
    Saturday,
}

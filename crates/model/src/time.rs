//! Time: ranges, and the parsing of the ways people and programs write it.
//!
//! A timestamp is an `i64` of nanoseconds since the epoch, UTC, everywhere in Logmill.

mod civil;
mod expression;
mod parse;

pub use civil::{civil_to_ns, format_rfc3339, month_number, utc_date, year_for};
pub use expression::{TimeExpressionError, parse_duration, parse_time_expression};
pub use parse::{parse_epoch_f64, parse_epoch_i64, parse_timestamp};

/// Nanoseconds of a second.
pub const SECOND_NS: i64 = 1_000_000_000;
/// Nanoseconds of a day.
pub const DAY_NS: i64 = 86_400 * SECOND_NS;
/// The oldest time a record may have, 1970-01-01T00:00:00Z.
pub const MIN_NS: i64 = 0;
/// The first time a record may not have any more, 2262-01-01T00:00:00Z.
pub const MAX_NS: i64 = 9_214_646_400 * SECOND_NS;

/// Whether a record may have this time.
pub const fn in_range(t_ns: i64) -> bool {
    MIN_NS <= t_ns && t_ns < MAX_NS
}

/// A half-open range of time, `start_ns <= t < end_ns`, nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// First nanosecond in the range.
    pub start_ns: i64,
    /// First nanosecond after the range.
    pub end_ns: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self {
        start_ns: i64::MIN,
        end_ns: i64::MAX,
    };

    /// Whether `t_ns` is in the range.
    pub const fn contains(&self, t_ns: i64) -> bool {
        self.start_ns <= t_ns && t_ns < self.end_ns
    }

    /// Whether any instant of `min_ns..=max_ns` is in the range.
    pub const fn overlaps_inclusive(&self, min_ns: i64, max_ns: i64) -> bool {
        self.start_ns <= max_ns && min_ns < self.end_ns
    }
}

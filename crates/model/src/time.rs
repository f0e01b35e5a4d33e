//! Time: ranges, and the parsing of the ways people and programs write it.
//!
//! A timestamp is an `i64` of nanoseconds since the epoch, UTC, everywhere in Logmill.

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

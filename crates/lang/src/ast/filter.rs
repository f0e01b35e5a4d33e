//! Filters: which records.

use super::{DayRange, Matcher, Query, StreamFilter, TimeFilter, WeekRange};

/// Which records are meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// `*`: every record.
    All,
    /// `a b`, `a and b`: two or more, none of them an `And`.
    And(Vec<Filter>),
    /// `a or b`: two or more, none of them an `Or`.
    Or(Vec<Filter>),
    /// `!a`, `-a`, `not a`; never a `Not` in a `Not`.
    Not(Box<Filter>),
    /// `_time:…`: records of a range of time.
    Time(TimeFilter),
    /// `_time:day_range[08:00, 18:00)`: records of some hours of every day.
    DayRange(DayRange),
    /// `_time:week_range[Mon, Fri]`: records of some days of every week.
    WeekRange(WeekRange),
    /// `{host="a"}`: records of streams with such labels.
    Stream(StreamFilter),
    /// `_stream_id:…`, `_stream_id:in(…)`: records of these streams.
    StreamId(Values),
    /// `field:…`: records in which the value of `field` is so.
    Field {
        /// Its name; `_msg` when none was written.
        field: String,
        /// What its value has to be like.
        matcher: Matcher,
    },
}

impl Filter {
    /// `field:matcher`.
    pub fn field(field: impl Into<String>, matcher: Matcher) -> Self {
        Self::Field {
            field: field.into(),
            matcher,
        }
    }

    /// Those that both mean; `All` vanishes.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (Self::And(mut left), Self::And(right)) => {
                left.extend(right);
                Self::And(left)
            }
            (Self::And(mut left), right) => {
                left.push(right);
                Self::And(left)
            }
            (left, Self::And(mut right)) => {
                right.insert(0, left);
                Self::And(right)
            }
            (left, right) => Self::And(vec![left, right]),
        }
    }
}

/// A list of values, or the query that makes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// As written.
    List(Vec<String>),
    /// The values of [`Query::value_field`] in its answer.
    Query(Box<Query>),
}

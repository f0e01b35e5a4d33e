//! The syntax tree of a query.
//!
//! Plain data: what a query says, not what it means to an engine. Names of fields stand as they were written (a filter
//! without one has `_msg`); what may be left out in a query and has a fixed default is filled in; times relative to now
//! stay relative. `Display` prints canonical LogsQL, which parses to the same tree.

mod field;
mod filter;
mod matcher;
mod math;
mod pipe;
mod stats;
mod stream;
mod time;
mod time_range;
mod visit;

pub use field::FieldPattern;
pub use filter::{Filter, Values};
pub use matcher::{Bound, Comparison, Matcher, Number, Operand, Range};
pub use math::{MathEntry, MathExpr, MathFunction, MathOperator};
pub use pipe::{
    CollapseNums, Extract, ExtractRegexp, Facets, FieldValues, First, Format, Join, OneField, Pack,
    Pipe, Renaming, Replace, ReplaceRegexp, ResultPolicy, Sort, SortField, StreamContext, Top,
    Uniq, Unpack, UnpackSyslog, UnpackWords, Unroll,
};
pub use stats::{Bucket, BucketSize, ByField, Stats, StatsEntry, StatsFunction};
pub use stream::{LabelFilter, LabelMatch, StreamFilter};
pub use time::{DayRange, Duration, TimeFilter, TimePoint, TimeSpan, WeekRange, Weekday};

/// A query: records that match a filter, and what is done to them, one pipe after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// `options(…)` in front of the query.
    pub options: Options,
    /// Which records.
    pub filter: Filter,
    /// What is done to them.
    pub pipes: Vec<Pipe>,
}

/// `options(…)`: what a query asks of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How many threads at most.
    pub concurrency: Option<u64>,
    /// Whether the range of time that came beside the query (`start`, `end`) is not to be applied to it.
    pub ignore_global_time_filter: Option<bool>,
}

impl Query {
    /// All records that match `filter`.
    pub fn new(filter: Filter) -> Self {
        Self {
            options: Options::default(),
            filter,
            pipes: Vec::new(),
        }
    }

    /// The name of the field whose values a subquery in `in(…)` gives: that of a `fields` or `uniq` pipe with a single
    /// name at its end. The parser refuses other subqueries there, so for those it is never `None`.
    pub fn value_field(&self) -> Option<&str> {
        match self.pipes.last()? {
            Pipe::Fields(patterns) => match patterns.as_slice() {
                [FieldPattern::Name(name)] => Some(name),
                _ => None,
            },
            Pipe::Uniq(uniq) => match uniq.by.as_slice() {
                [name] => Some(name),
                _ => None,
            },
            _ => None,
        }
    }
}

//! Filters as conditions.
//!
//! A record without a field has the empty text in it, so a filter always has an answer: conditions are taken for false
//! where they are null, and negation is `IS NOT TRUE`.

mod matcher;
mod stream;
mod typed;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, cast, lit};
use logmill_lang::ast::{DayRange, Filter, TimeFilter, Values, WeekRange};
use logmill_lang::value;
use logmill_model::TimeRange;

use super::functions;
use super::scope::{Kind, STREAM, STREAM_ID, Scope, TIME, Value};
use crate::predicate::time_literal;

const DAY_NS: i64 = 86_400_000_000_000;
const MINUTE_NS: i64 = 60_000_000_000;

/// What holds of the records that a filter means.
pub(super) fn condition(scope: &Scope, filter: &Filter, now_ns: i64) -> Result<Expr> {
    Lowering { scope, now_ns }.filter(filter)
}

struct Lowering<'a> {
    scope: &'a Scope,
    now_ns: i64,
}

impl Lowering<'_> {
    fn filter(&self, filter: &Filter) -> Result<Expr> {
        match filter {
            Filter::All => Ok(lit(true)),
            Filter::And(parts) => self.joined(parts, Expr::and),
            Filter::Or(parts) => self.joined(parts, Expr::or),
            Filter::Not(inner) => Ok(functions::is_not_true(self.filter(inner)?)),
            Filter::Time(time) => Ok(self.time(time)),
            Filter::DayRange(range) => Ok(self.of_time(|time| day_range(time, range))),
            Filter::WeekRange(range) => Ok(self.of_time(|time| week_range(time, range))),
            Filter::Stream(selector) => stream::condition(self.scope.get(STREAM), selector),
            Filter::StreamId(values) => {
                let ids = list(values)?;
                Ok(stream::of_ids(self.scope.get(STREAM_ID), ids))
            }
            Filter::Field { field, matcher } => matcher::condition(self.scope, field, matcher),
        }
    }

    fn joined(&self, parts: &[Filter], join: fn(Expr, Expr) -> Expr) -> Result<Expr> {
        let parts = parts.iter().map(|part| self.filter(part));
        let parts: Vec<Expr> = parts.collect::<Result<_>>()?;
        Ok(parts.into_iter().reduce(join).unwrap_or_else(|| lit(true)))
    }

    fn time(&self, filter: &TimeFilter) -> Expr {
        let range = filter.range(self.now_ns);
        match self.scope.get(TIME) {
            Some(value) => in_range(value, range),
            None => lit(false),
        }
    }

    /// A condition on the time of a record; false where it has none.
    fn of_time(&self, condition: impl Fn(Expr) -> Expr) -> Expr {
        match self.scope.get(TIME) {
            Some(value) if value.kind == Kind::Time => condition(cast(value.expr, DataType::Int64)),
            Some(value) => {
                let time = |text: &[&str]| value::time::parse_rfc3339(text.first()?);
                condition(functions::integer("time", vec![value.expr], time))
            }
            None => lit(false),
        }
    }
}

/// Values in a range of time.
pub(super) fn in_range(value: Value, range: TimeRange) -> Expr {
    if value.kind != Kind::Time {
        let spec = format!("{range:?}");
        return functions::predicate("time_range", &spec, value.expr, move |text| {
            value::time::parse_rfc3339(text).is_some_and(|t_ns| range.contains(t_ns))
        });
    }
    let time = value.expr;
    let start = (range.start_ns > TimeRange::ALL.start_ns)
        .then(|| time.clone().gt_eq(time_literal(range.start_ns)));
    let end =
        (range.end_ns < TimeRange::ALL.end_ns).then(|| time.clone().lt(time_literal(range.end_ns)));
    start
        .into_iter()
        .chain(end)
        .reduce(Expr::and)
        .unwrap_or_else(|| lit(true))
}

/// The values of a list; a subquery has become one before.
fn list(values: &Values) -> Result<&[String]> {
    match values {
        Values::List(list) => Ok(list),
        Values::Query(_) => Err(DataFusionError::NotImplemented(
            "not supported: a subquery in this place".to_owned(),
        )),
    }
}

/// `n` modulo `of`, never negative.
fn modulo(n: Expr, of: i64) -> Expr {
    (n % lit(of) + lit(of)) % lit(of)
}

fn day_range(time_ns: Expr, range: &DayRange) -> Expr {
    let offset_ns = range.offset.as_ref().map_or(0, |offset| offset.ns);
    let time = modulo(time_ns + lit(offset_ns), DAY_NS);
    let start = lit(i64::from(range.start_minute) * MINUTE_NS);
    let end = lit(i64::from(range.end_minute) * MINUTE_NS);
    let after = if range.start_inclusive {
        time.clone().gt_eq(start)
    } else {
        time.clone().gt(start)
    };
    after.and(if range.end_inclusive {
        time.lt_eq(end)
    } else {
        time.lt(end)
    })
}

fn week_range(time_ns: Expr, range: &WeekRange) -> Expr {
    // The epoch was a Thursday.
    const EPOCH_DAY: i64 = 4;
    let offset_ns = range.offset.as_ref().map_or(0, |offset| offset.ns);
    let time = modulo(
        time_ns + lit(offset_ns) + lit(EPOCH_DAY * DAY_NS),
        7 * DAY_NS,
    );
    let start = range.start as i64 + i64::from(!range.start_inclusive);
    let end = range.end as i64 + i64::from(range.end_inclusive);
    time.clone()
        .gt_eq(lit(start * DAY_NS))
        .and(time.lt(lit(end * DAY_NS)))
}

//! Counts over time.

use std::cmp::Reverse;
use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampNanosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::IntervalUnit;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::functions::datetime::date_bin;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit};
use futures::StreamExt;
use logmill_model::TimeRange;
use logmill_model::time::{DAY_NS, MAX_NS, MIN_NS, SECOND_NS};
use logmill_query_api::{Error, Histogram, HistogramQuery, Interval, Series, ViewLimits};

use super::text::Texts;
use super::{View, count_of, internal, unknown_field};
use crate::predicate;

const MILLISECOND_NS: i64 = SECOND_NS / 1_000;
const MINUTE_NS: i64 = 60 * SECOND_NS;
const HOUR_NS: i64 = 60 * MINUTE_NS;

/// Lengths of buckets that people count in.
const ROUND_NS: [i64; 33] = [
    MILLISECOND_NS,
    2 * MILLISECOND_NS,
    5 * MILLISECOND_NS,
    10 * MILLISECOND_NS,
    20 * MILLISECOND_NS,
    50 * MILLISECOND_NS,
    100 * MILLISECOND_NS,
    200 * MILLISECOND_NS,
    500 * MILLISECOND_NS,
    SECOND_NS,
    2 * SECOND_NS,
    5 * SECOND_NS,
    10 * SECOND_NS,
    15 * SECOND_NS,
    30 * SECOND_NS,
    MINUTE_NS,
    2 * MINUTE_NS,
    5 * MINUTE_NS,
    10 * MINUTE_NS,
    15 * MINUTE_NS,
    30 * MINUTE_NS,
    HOUR_NS,
    2 * HOUR_NS,
    3 * HOUR_NS,
    6 * HOUR_NS,
    12 * HOUR_NS,
    DAY_NS,
    2 * DAY_NS,
    7 * DAY_NS,
    14 * DAY_NS,
    30 * DAY_NS,
    90 * DAY_NS,
    365 * DAY_NS,
];

/// Buckets that cover a range of time, aligned to the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buckets {
    interval_ns: i64,
    /// Start of the first one.
    first_ns: i64,
    count: usize,
}

impl Buckets {
    /// The buckets of a question, within the bound.
    pub(super) fn of(query: &HistogramQuery, limits: &ViewLimits) -> Result<Self, Error> {
        let range = possible(query.selection.range);
        let most = limits.histogram_max_buckets;
        let invalid = |message: String| Error::Invalid {
            code: "invalid_interval",
            message,
        };
        let (interval_ns, number) = match query.interval {
            Interval::Every(interval_ns)
                if interval_ns < MILLISECOND_NS || interval_ns % MILLISECOND_NS != 0 =>
            {
                return Err(invalid("interval is in whole milliseconds".to_owned()));
            }
            Interval::Every(interval_ns) => (interval_ns, buckets_in(range, interval_ns)),
            Interval::AtMost(wanted) => {
                if !(1..=most).contains(&wanted) {
                    return Err(invalid(format!("buckets is 1 to {most}, not {wanted}")));
                }
                let round = ROUND_NS
                    .into_iter()
                    .map(|length| (length, buckets_in(range, length)));
                let fits = |(_, number): &(i64, u128)| *number <= u128::from(wanted);
                let longest = ROUND_NS[ROUND_NS.len() - 1];
                // Of few buckets of a long time, the longest round ones are still too short.
                let doubled = std::iter::successors(Some(longest), |length| length.checked_mul(2))
                    .map(|length| (length, buckets_in(range, length)));
                let fallback = (i64::MAX, buckets_in(range, i64::MAX));
                round.chain(doubled).find(fits).unwrap_or(fallback)
            }
        };
        if number > u128::from(most) {
            let message = format!(
                "the range has {number} buckets of this interval; the limit is {most}: take a longer interval, or auto"
            );
            return Err(invalid(message));
        }
        Ok(Self {
            interval_ns,
            first_ns: first_bucket(range, interval_ns),
            count: usize::try_from(number).unwrap_or(0),
        })
    }

    fn starts(&self) -> Vec<i64> {
        let numbers = (0..self.count).filter_map(|index| i64::try_from(index).ok());
        numbers
            .map(|index| {
                self.first_ns
                    .saturating_add(index.saturating_mul(self.interval_ns))
            })
            .collect()
    }

    fn index(&self, start_ns: i64) -> Option<usize> {
        let distance = i128::from(start_ns) - i128::from(self.first_ns);
        let index = usize::try_from(distance.div_euclid(i128::from(self.interval_ns))).ok()?;
        (index < self.count).then_some(index)
    }
}

/// The part of a range that records may have.
fn possible(range: TimeRange) -> TimeRange {
    TimeRange {
        start_ns: range.start_ns.max(MIN_NS),
        end_ns: range.end_ns.min(MAX_NS),
    }
}

fn first_bucket(range: TimeRange, interval_ns: i64) -> i64 {
    let start = range.start_ns.div_euclid(interval_ns);
    start.saturating_mul(interval_ns)
}

fn buckets_in(range: TimeRange, interval_ns: i64) -> u128 {
    if range.start_ns >= range.end_ns {
        return 0;
    }
    let first = i128::from(range.start_ns.div_euclid(interval_ns));
    let last = i128::from((range.end_ns - 1).div_euclid(interval_ns));
    (last - first + 1).unsigned_abs()
}

impl View<'_> {
    pub(super) async fn histogram(
        &self,
        query: &HistogramQuery,
        buckets: Buckets,
    ) -> Result<Histogram> {
        let mut warnings = Vec::new();
        let by = query.by.as_deref().and_then(|name| {
            let named = predicate::named(&self.table, name);
            if named.is_none() {
                warnings.push(unknown_field(name));
            }
            named.map(|(value, _)| value)
        });
        let mut counts = Counts {
            buckets,
            of_values: HashMap::new(),
            bytes: 0,
            memory: self.memory("histogram"),
        };
        if buckets.count > 0 {
            let groups = [bucket_of(buckets.interval_ns)].into_iter().chain(by);
            let plan = self.records()?.aggregate(groups, [count(lit(1_i64))])?;
            let mut batches = self.execute(&plan.build()?).await?;
            while let Some(batch) = batches.next().await {
                counts.add(&batch?)?;
            }
        }
        let (series, other) = counts.series(usize::try_from(query.limit).unwrap_or(usize::MAX));
        let all = series.iter().map(|series| &series.counts).chain(&other);
        let total = all.flatten().sum();
        Ok(Histogram {
            interval_ns: buckets.interval_ns,
            range: query.selection.range,
            buckets: buckets.starts(),
            series,
            other,
            total,
            warnings,
            stats: self.stats(total),
        })
    }
}

/// The start of a record's bucket.
fn bucket_of(interval_ns: i64) -> Expr {
    let interval = ScalarValue::new_interval_mdn(0, 0, interval_ns);
    debug_assert_eq!(
        interval.data_type(),
        arrow_schema::DataType::Interval(IntervalUnit::MonthDayNano)
    );
    date_bin().call(vec![Expr::Literal(interval, None), predicate::timestamp()])
}

/// Counts by value and bucket, as they come.
struct Counts {
    buckets: Buckets,
    /// Of each value the buckets that are not empty.
    of_values: HashMap<Option<String>, Vec<(usize, u64)>>,
    bytes: usize,
    memory: MemoryReservation,
}

/// What a value takes beside its text, bytes: about.
const VALUE_BYTES: usize = 96;

impl Counts {
    /// Takes in rows of bucket, value (if any) and count.
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let [starts, between @ .., numbers] = batch.columns() else {
            return Err(internal("a histogram without columns"));
        };
        let starts = starts.as_primitive::<TimestampNanosecondType>();
        let numbers = numbers.as_primitive::<Int64Type>();
        let by = between.first();
        let texts = by.map(Texts::of).transpose()?;
        for row in 0..batch.num_rows() {
            let Some(bucket) = self.buckets.index(starts.value(row)) else {
                continue;
            };
            let value = match (by, &texts) {
                (Some(array), Some(texts)) if !array.is_null(row) => {
                    Some(texts.text(row).into_owned())
                }
                _ => None,
            };
            let length = value.as_ref().map_or(0, String::len);
            let counts = self.of_values.entry(value).or_insert_with(|| {
                self.bytes += VALUE_BYTES + length;
                Vec::new()
            });
            counts.push((bucket, count_of(numbers.value(row))));
            self.bytes += size_of::<(usize, u64)>();
        }
        self.memory.try_resize(self.bytes)
    }

    /// The commonest values, and what is left.
    fn series(self, most: usize) -> (Vec<Series>, Option<Vec<u64>>) {
        let buckets = self.buckets.count;
        let total = |counts: &[(usize, u64)]| counts.iter().map(|(_, count)| count).sum::<u64>();
        let mut values: Vec<_> = self.of_values.into_iter().collect();
        values.sort_by_cached_key(|(value, counts)| (Reverse(total(counts)), value.clone()));
        let rest = values.split_off(most.min(values.len()));
        let dense = |counts: &[(usize, u64)], into: &mut [u64]| {
            for (bucket, count) in counts {
                if let Some(sum) = into.get_mut(*bucket) {
                    *sum += count;
                }
            }
        };
        let series = values.into_iter().map(|(value, sparse)| {
            let mut counts = vec![0; buckets];
            dense(&sparse, &mut counts);
            Series { value, counts }
        });
        let series = series.collect();
        let other = (!rest.is_empty()).then(|| {
            let mut counts = vec![0; buckets];
            for (_, sparse) in &rest {
                dense(sparse, &mut counts);
            }
            counts
        });
        (series, other)
    }
}

#[cfg(test)]
mod tests {
    use logmill_model::TenantId;
    use logmill_query_api::Selection;

    use super::*;

    fn buckets(start_ns: i64, end_ns: i64, interval: Interval) -> Result<Buckets, Error> {
        let range = TimeRange { start_ns, end_ns };
        let query = HistogramQuery {
            selection: Selection::all(TenantId::default_tenant(), range),
            by: None,
            interval,
            limit: 10,
            timeout_ms: None,
        };
        Buckets::of(&query, &ViewLimits::default())
    }

    #[test]
    fn buckets_cover_the_range_and_are_aligned() {
        let found = buckets(90 * SECOND_NS, 241 * SECOND_NS, Interval::Every(MINUTE_NS)).unwrap();
        let starts = [60, 120, 180, 240].map(|second| second * SECOND_NS);
        assert_eq!(found.starts(), starts);
        assert_eq!(found.index(240 * SECOND_NS), Some(3));
        assert_eq!(found.index(300 * SECOND_NS), None);
        assert_eq!(buckets(5, 5, Interval::AtMost(7)).unwrap().count, 0);
    }

    #[test]
    fn round_intervals_make_no_more_buckets_than_wanted() {
        for (start, end) in [(0, HOUR_NS), (7, DAY_NS + 3), (i64::MIN, i64::MAX), (5, 6)] {
            for wanted in [1, 2, 60, 1_000] {
                let found = buckets(start, end, Interval::AtMost(wanted)).unwrap();
                assert!(
                    (1..=wanted).contains(&(found.count as u64)),
                    "{start} {end} {wanted}: {found:?}"
                );
            }
        }
        let hour = buckets(0, HOUR_NS, Interval::AtMost(60)).unwrap();
        assert_eq!((hour.interval_ns, hour.count), (MINUTE_NS, 60));
    }

    #[test]
    fn too_many_buckets_are_refused() {
        for interval in [
            Interval::Every(MILLISECOND_NS),
            Interval::Every(0),
            Interval::AtMost(0),
            Interval::AtMost(u64::MAX),
        ] {
            let refused = buckets(0, HOUR_NS, interval).unwrap_err();
            assert_eq!(refused.code(), "invalid_interval");
        }
    }
}

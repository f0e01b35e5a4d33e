//! The `stats` pipe.

use std::collections::{BTreeMap, BTreeSet};

use logmill_lang::Query;
use logmill_lang::ast::{FieldPattern, Filter, Stats, StatsFunction};
use logmill_lang::value::bucket::Buckets;
use logmill_lang::value::number::{format_number, parse_number};
use logmill_lang::value::order::compare;
use logmill_lang::value::{histogram, json};
use logmill_model::TimeRange;

use crate::pipes::select;
use crate::{Interpreter, Result, Row, Rows, set};

pub(crate) fn stats(
    interpreter: &Interpreter<'_>,
    rows: &mut Rows,
    stats: &Stats,
    query: &Query,
    range: TimeRange,
) -> Result<()> {
    let mut groups: BTreeMap<Vec<String>, Vec<Row>> = BTreeMap::new();
    if stats.by.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    for row in &rows.rows {
        let key = stats.by.iter().map(|by| {
            let value = rows.get(row, &by.field);
            match &by.bucket {
                Some(bucket) => {
                    let mut start = String::new();
                    Buckets::new(bucket).write(&value, &mut start);
                    start
                }
                None => value,
            }
        });
        groups.entry(key.collect()).or_default().push(row.clone());
    }
    let seconds = seconds(interpreter, stats, query, range);
    let mut results = Vec::new();
    for (key, group) in groups {
        let mut result = Row::new();
        for (by, value) in stats.by.iter().zip(key) {
            set(&mut result, &by.field, value);
        }
        for entry in &stats.functions {
            let mut group = Rows {
                rows: group.clone(),
                are_stored: rows.are_stored,
            };
            if let Some(condition) = &entry.condition {
                interpreter.filter(&mut group, condition)?;
            }
            let value = Group {
                rows: &group,
                seconds,
            }
            .value(&entry.function);
            set(&mut result, &entry.result_field, value);
        }
        results.push(result);
    }
    *rows = Rows::computed(results);
    Ok(())
}

/// What rates are per: the bucket of time, or the time that is asked for; `None` when that has no end.
fn seconds(
    interpreter: &Interpreter<'_>,
    stats: &Stats,
    query: &Query,
    range: TimeRange,
) -> Option<f64> {
    let bucket = stats.by.iter().find(|by| by.field == "_time");
    let step_ns = bucket
        .and_then(|by| Buckets::new(by.bucket.as_ref()?).fixed_ns())
        .map(|(step_ns, _)| step_ns);
    let filters = match &query.filter {
        Filter::And(filters) => filters.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut whole = range;
    for filter in filters {
        if let Filter::Time(filter) = filter {
            let own = filter.range(interpreter.now_ns);
            whole.start_ns = whole.start_ns.max(own.start_ns);
            whole.end_ns = whole.end_ns.min(own.end_ns);
        }
    }
    let is_bounded =
        whole.start_ns > TimeRange::ALL.start_ns && whole.end_ns < TimeRange::ALL.end_ns;
    let whole_ns = is_bounded.then(|| whole.end_ns.saturating_sub(whole.start_ns));
    let ns = step_ns.or(whole_ns).filter(|ns| *ns > 0)?;
    Some(ns as f64 / 1e9)
}

/// The records of a group.
struct Group<'a> {
    rows: &'a Rows,
    seconds: Option<f64>,
}

impl Group<'_> {
    fn value(&self, function: &StatsFunction) -> String {
        let rows = &self.rows.rows;
        match function {
            StatsFunction::Avg(fields) => {
                let numbers = self.numbers(fields);
                format_number(numbers.iter().sum::<f64>() / numbers.len() as f64)
            }
            StatsFunction::Count(fields) => {
                let all = fields.iter().any(FieldPattern::is_all);
                let counted = rows.iter().filter(|row| all || self.has_any(row, fields));
                counted.count().to_string()
            }
            StatsFunction::CountEmpty(fields) => {
                let empty = rows.iter().filter(|row| !self.has_any(row, fields));
                empty.count().to_string()
            }
            StatsFunction::CountUniq { fields, limit }
            | StatsFunction::CountUniqHash { fields, limit } => {
                let tuples = rows.iter().map(|row| -> Vec<String> {
                    fields.iter().map(|name| self.rows.get(row, name)).collect()
                });
                let unique: BTreeSet<_> = tuples
                    .filter(|tuple| tuple.iter().any(|value| !value.is_empty()))
                    .collect();
                let limit = limit.filter(|limit| *limit > 0).unwrap_or(u64::MAX);
                (unique.len() as u64).min(limit).to_string()
            }
            StatsFunction::Histogram(field) => {
                let mut buckets: BTreeMap<u16, u64> = BTreeMap::new();
                let values = rows.iter().map(|row| self.rows.get(row, field));
                for number in values.filter_map(|value| parse_number(&value)) {
                    if let Some(bucket) = histogram::bucket(number) {
                        *buckets.entry(bucket).or_insert(0) += 1;
                    }
                }
                written(|out| histogram::write_buckets(buckets, out))
            }
            StatsFunction::JsonValues { fields, limit } => {
                let objects = rows.iter().map(|row| self.object(row, fields));
                written(|out| json::write_array(objects.take(taken(*limit)), out))
            }
            StatsFunction::Max(fields) => self.ranked(fields).pop().unwrap_or_default(),
            StatsFunction::Min(fields) => {
                self.ranked(fields).into_iter().next().unwrap_or_default()
            }
            StatsFunction::Median(fields) => quantile(&self.ranked(fields), 0.5),
            StatsFunction::Quantile { phi, fields } => quantile(&self.ranked(fields), phi.value),
            StatsFunction::Rate => self.per_second(rows.len() as f64),
            StatsFunction::RateSum(fields) => self.per_second(self.sum(fields)),
            StatsFunction::RowAny(fields) => match rows.first() {
                Some(row) => self.object(row, fields),
                None => "{}".to_owned(),
            },
            StatsFunction::RowMax { by, fields } => self.extreme_row(by, fields, true),
            StatsFunction::RowMin { by, fields } => self.extreme_row(by, fields, false),
            StatsFunction::Sum(fields) => format_number(self.sum(fields)),
            StatsFunction::SumLen(fields) => {
                let lengths = self.present_values(fields).into_iter();
                lengths.map(|value| value.len()).sum::<usize>().to_string()
            }
            StatsFunction::UniqValues { fields, limit } => {
                let mut values = self.sorted(fields);
                values.sort_by(|left, right| compare(left, right).then(left.cmp(right)));
                values.dedup();
                values.truncate(taken(*limit));
                written(|out| json::write_array(values, out))
            }
            StatsFunction::Values { fields, limit } => {
                let values = rows.iter().flat_map(|row| {
                    fields.iter().flat_map(|pattern| match pattern {
                        FieldPattern::Name(name) => vec![self.rows.get(row, name)],
                        FieldPattern::Prefix(_) => {
                            let pattern = std::slice::from_ref(pattern);
                            select(self.rows, row, pattern).into_values().collect()
                        }
                    })
                });
                written(|out| json::write_array(values.take(taken(*limit)), out))
            }
        }
    }

    /// Whether one of the fields has a value.
    fn has_any(&self, row: &Row, fields: &[FieldPattern]) -> bool {
        !select(self.rows, row, fields).is_empty()
    }

    /// All values of the fields that are not empty.
    fn present_values(&self, fields: &[FieldPattern]) -> Vec<String> {
        let selected = self.rows.rows.iter();
        selected
            .flat_map(|row| select(self.rows, row, fields).into_values())
            .collect()
    }

    fn numbers(&self, fields: &[FieldPattern]) -> Vec<f64> {
        let values = self.present_values(fields).into_iter();
        values.filter_map(|value| parse_number(&value)).collect()
    }

    /// The sum of the numbers; NaN if there are none.
    fn sum(&self, fields: &[FieldPattern]) -> f64 {
        let numbers = self.numbers(fields);
        numbers
            .into_iter()
            .reduce(|left, right| left + right)
            .unwrap_or(f64::NAN)
    }

    fn per_second(&self, value: f64) -> String {
        format_number(self.seconds.map_or(value, |seconds| value / seconds))
    }

    fn sorted(&self, fields: &[FieldPattern]) -> Vec<String> {
        let mut values = self.present_values(fields);
        values.sort_by(|left, right| compare(left, right));
        values
    }

    /// Values in their order; NaN, which is no number, has no place in it.
    fn ranked(&self, fields: &[FieldPattern]) -> Vec<String> {
        let mut values = self.sorted(fields);
        values.retain(|value| value != "NaN");
        values
    }

    fn object(&self, row: &Row, fields: &[FieldPattern]) -> String {
        let selected = select(self.rows, row, fields);
        let pairs = selected.iter();
        let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
        written(|out| json::write_object(pairs, out))
    }

    /// The record with the least or greatest value of a field; records without one are passed over.
    fn extreme_row(&self, by: &str, fields: &[FieldPattern], greatest: bool) -> String {
        let mut best: Option<(&Row, String)> = None;
        for row in &self.rows.rows {
            let value = self.rows.get(row, by);
            let is_better = best.as_ref().is_none_or(|(_, best)| {
                let order = compare(&value, best);
                if greatest {
                    order.is_gt()
                } else {
                    order.is_lt()
                }
            });
            if !value.is_empty() && is_better {
                best = Some((row, value));
            }
        }
        match best {
            Some((row, _)) => self.object(row, fields),
            None => "{}".to_owned(),
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list"
)]
fn quantile(sorted: &[String], phi: f64) -> String {
    let place = (phi.clamp(0.0, 1.0) * sorted.len() as f64) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(place.min(last)).cloned().unwrap_or_default()
}

fn taken(limit: Option<u64>) -> usize {
    let limit = limit.filter(|limit| *limit > 0).unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn written(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

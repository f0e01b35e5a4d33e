//! The `stats` pipe: one aggregation of the engine.

mod bucket;

use arrow_schema::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::core::expr_fn::{coalesce, greatest, least};
use datafusion::functions_aggregate::expr_fn::{avg, count, count_distinct, max, min, sum};
use datafusion::logical_expr::{Expr, ExprFunctionExt, cast, lit, when};
use logmill_lang::ast::{FieldPattern, Stats, StatsEntry, StatsFunction};
use logmill_lang::value::{hash, number, order};
use logmill_model::TimeRange;

use super::aggregates::{self, Pick};
use super::functions::{self, Object};
use super::pipes::{Context, Packed, group_key};
use super::rows::Rows;
use super::scope::{Kind, Scope, TIME, Value, column};

/// Groups the records, and computes functions of every group.
pub(super) fn stats<'a>(
    context: &Context<'a>,
    rows: &mut Rows<'a>,
    stats: &Stats,
    range: TimeRange,
) -> Result<()> {
    let mut groups = Vec::new();
    let mut columns = Vec::new();
    for by in &stats.by {
        let (key, kind) = match &by.bucket {
            Some(bucket) => bucket::key(&rows.scope, &by.field, bucket),
            None => group_key(&rows.scope, &by.field),
        };
        let own = rows.new_name();
        groups.push(key.alias(&own));
        columns.push((by.field.clone(), Value::new(column(&own), kind)));
    }
    let mut functions = Functions {
        rows,
        aggregates: Vec::new(),
        condition: None,
        seconds: seconds(stats, range),
    };
    for entry in &stats.functions {
        functions.condition = context.stats_condition(functions.rows, entry.condition.as_ref())?;
        let value = functions.entry(entry)?;
        columns.push((entry.result_field.clone(), value));
    }
    let mut aggregates = functions.aggregates;
    if groups.is_empty() && aggregates.is_empty() {
        // An aggregation computes something, even if all that is asked is known without a look at records.
        aggregates.push(count(lit(1_i64)).alias(rows.new_name()));
    }
    rows.aggregate(groups, aggregates, Vec::new())?;
    // Functions of the results become columns, so that what follows has them at hand.
    let mut computed: Vec<&mut Expr> = columns
        .iter_mut()
        .map(|(_, value)| &mut value.expr)
        .filter(|expr| !matches!(expr, Expr::Column(_)))
        .collect();
    if !computed.is_empty() {
        rows.compute(&mut computed)?;
    }
    rows.scope = Scope::computed(columns);
    Ok(())
}

/// What rates are per: the bucket of time, or the whole range that is asked; `None` when it has no end.
#[allow(clippy::cast_precision_loss, reason = "a rate is no exact number")]
fn seconds(stats: &Stats, range: TimeRange) -> Option<f64> {
    let of_time = stats.by.iter().find(|by| by.field == TIME);
    let step_ns = of_time
        .and_then(|by| by.bucket.as_ref())
        .and_then(bucket::fixed_ns);
    let ends = range.start_ns > TimeRange::ALL.start_ns && range.end_ns < TimeRange::ALL.end_ns;
    let whole_ns = || ends.then(|| range.end_ns.saturating_sub(range.start_ns));
    let ns = step_ns.or_else(whole_ns).filter(|ns| *ns > 0)?;
    Some(ns as f64 / 1e9)
}

struct Functions<'r, 'a> {
    rows: &'r mut Rows<'a>,
    aggregates: Vec<Expr>,
    /// Which records of a group the function is about.
    condition: Option<Expr>,
    seconds: Option<f64>,
}

/// Numbers of fields: of each, its values, and how many values there are.
struct Numbers {
    sums: Vec<(Expr, Kind)>,
    counts: Vec<Expr>,
}

impl Functions<'_, '_> {
    /// Adds an aggregate, over the records that the condition holds of.
    fn add(&mut self, aggregate: Expr) -> Result<Expr> {
        self.add_where(aggregate, None)
    }

    /// Adds an aggregate over fewer records.
    fn add_where(&mut self, aggregate: Expr, further: Option<Expr>) -> Result<Expr> {
        let name = self.rows.new_name();
        let condition = match (self.condition.clone(), further) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.or(other),
        };
        let aggregate = match condition {
            Some(condition) => {
                // The builder forgets DISTINCT.
                let is_distinct =
                    matches!(&aggregate, Expr::AggregateFunction(call) if call.params.distinct);
                let filtered = aggregate.filter(condition);
                match is_distinct {
                    true => filtered.distinct().build()?,
                    false => filtered.build()?,
                }
            }
            None => aggregate,
        };
        self.aggregates.push(aggregate.alias(&name));
        Ok(column(&name))
    }

    fn entry(&mut self, entry: &StatsEntry) -> Result<Value> {
        match &entry.function {
            StatsFunction::Count(fields) => self.count(fields),
            StatsFunction::CountEmpty(fields) => {
                let present = is_present(&self.rows.scope, fields);
                let empty = functions::is_not_true(present);
                let count = self.add_where(count(lit(1_i64)), Some(empty))?;
                Ok(Value::new(count, Kind::Integer))
            }
            StatsFunction::CountUniq { fields, limit } => {
                let key = tuple(&self.rows.scope, fields);
                self.count_distinct(key, *limit)
            }
            StatsFunction::CountUniqHash { fields, limit } => {
                let hash = |values: &[&str]| {
                    let text = values.first().filter(|text| !text.is_empty())?;
                    Some(hash::hash(text).cast_signed())
                };
                let key = tuple(&self.rows.scope, fields);
                let key = functions::integer("hash_of", vec![key], hash);
                self.count_distinct(key, *limit)
            }
            StatsFunction::Sum(fields) => {
                let sum = self.sum(fields)?;
                Ok(Value::new(or_nan(sum), Kind::Float))
            }
            StatsFunction::RateSum(fields) => {
                let sum = or_nan(self.sum(fields)?);
                Ok(Value::new(self.per_second(sum), Kind::Float))
            }
            StatsFunction::Rate => {
                let rows = self.add(count(lit(1_i64)))?;
                let rows = cast(rows, DataType::Float64);
                Ok(Value::new(self.per_second(rows), Kind::Float))
            }
            StatsFunction::Avg(fields) => self.average(fields),
            StatsFunction::SumLen(fields) => self.sum_len(fields),
            StatsFunction::Min(fields) => self.extreme(fields, false),
            StatsFunction::Max(fields) => self.extreme(fields, true),
            StatsFunction::Median(fields) => self.quantile(0.5, fields),
            StatsFunction::Quantile { phi, fields } => self.quantile(phi.value, fields),
            StatsFunction::Histogram(field) => {
                let value = self.rows.scope.get(field);
                let number = value.map_or_else(no_number, Value::number);
                let histogram = self.add(aggregates::histogram(number))?;
                Ok(Value::text(histogram))
            }
            StatsFunction::UniqValues { fields, limit } => self.values(fields, true, *limit),
            StatsFunction::Values { fields, limit } => self.values(fields, false, *limit),
            StatsFunction::JsonValues { fields, limit } => {
                let Packed { names, values } = Packed::new(&self.rows.scope, fields);
                let all = self.add(aggregates::json_values(names, values, *limit))?;
                Ok(Value::text(all))
            }
            StatsFunction::RowAny(fields) => self.row(Pick::Any, None, fields),
            StatsFunction::RowMin { by, fields } => self.row(Pick::Least, Some(by), fields),
            StatsFunction::RowMax { by, fields } => self.row(Pick::Greatest, Some(by), fields),
        }
    }

    fn count(&mut self, fields: &[FieldPattern]) -> Result<Value> {
        let all = fields.iter().any(FieldPattern::is_all);
        let present = (!all).then(|| is_present(&self.rows.scope, fields));
        let count = self.add_where(count(lit(1_i64)), present)?;
        Ok(Value::new(count, Kind::Integer))
    }

    fn count_distinct(&mut self, key: Expr, limit: Option<u64>) -> Result<Value> {
        let distinct = self.add(count_distinct(key))?;
        let distinct = match limit.and_then(|limit| i64::try_from(limit).ok()) {
            Some(limit) if limit > 0 => least(vec![distinct, lit(limit)]),
            _ => distinct,
        };
        Ok(Value::new(distinct, Kind::Integer))
    }

    fn per_second(&self, value: Expr) -> Expr {
        match self.seconds {
            Some(seconds) => value / lit(seconds),
            None => value,
        }
    }

    /// The numbers in fields; a sum over integers stays exact until its end.
    fn numbers(&self, fields: &[FieldPattern]) -> Numbers {
        let scope = &self.rows.scope;
        let mut numbers = Numbers {
            sums: Vec::new(),
            counts: Vec::new(),
        };
        for (_, value) in scope.matching(fields) {
            let (number, kind) = match value.kind {
                Kind::Integer => (value.expr, Kind::Integer),
                Kind::Boolean | Kind::Time => continue,
                Kind::Float | Kind::Text => (value.number(), Kind::Float),
            };
            numbers.counts.push(count(number.clone()));
            numbers.sums.push((sum(number), kind));
        }
        if let Some(object) = scope.open_matching(fields) {
            let total = functions::float("object_sum", "", object.clone(), |text| {
                members(text).map(|(sum, _)| sum)
            });
            let found = functions::integer("object_numbers", vec![object], |values| {
                members(values.first()?).map(|(_, count)| count)
            });
            numbers.sums.push((sum(total), Kind::Float));
            numbers.counts.push(sum(found));
        }
        numbers
    }

    /// The sum of the numbers in fields; null when there are none.
    fn sum(&mut self, fields: &[FieldPattern]) -> Result<Expr> {
        let mut sums = Vec::new();
        for (sum, kind) in self.numbers(fields).sums {
            let sum = self.add(sum)?;
            sums.push(if kind == Kind::Integer {
                cast(sum, DataType::Float64)
            } else {
                sum
            });
        }
        if let [only] = sums.as_slice() {
            return Ok(only.clone());
        }
        let some = sums.iter().map(|sum| sum.clone().is_not_null());
        let Some(some) = some.reduce(Expr::or) else {
            return Ok(no_number());
        };
        let parts = sums.into_iter().map(|sum| coalesce(vec![sum, lit(0.0)]));
        let total = parts.reduce(|left, right| left + right);
        when(some, total.unwrap_or_else(no_number)).end()
    }

    fn average(&mut self, fields: &[FieldPattern]) -> Result<Value> {
        let numbers = self.numbers(fields);
        let average = if let [(Expr::AggregateFunction(sum), _)] = numbers.sums.as_slice()
            && let [number] = sum.params.args.as_slice()
            && numbers.counts.len() == 1
            && self.rows.scope.open_matching(fields).is_none()
        {
            self.add(avg(cast(number.clone(), DataType::Float64)))?
        } else {
            let mut found = Vec::new();
            for count in numbers.counts {
                found.push(self.add(count)?);
            }
            let found = found
                .into_iter()
                .map(|count| coalesce(vec![count, lit(0_i64)]));
            let found = found.reduce(|left, right| left + right);
            let found = found.unwrap_or_else(|| lit(0_i64));
            self.sum(fields)? / cast(found, DataType::Float64)
        };
        Ok(Value::new(or_nan(average), Kind::Float))
    }

    fn sum_len(&mut self, fields: &[FieldPattern]) -> Result<Value> {
        let scope = &self.rows.scope;
        let length = |text: &[&str]| i64::try_from(text.first()?.len()).ok();
        let columns = scope.matching(fields).into_iter();
        let columns =
            columns.map(|(_, value)| functions::integer("len_of", vec![value.expr], length));
        let open = scope.open_matching(fields).map(|object| {
            functions::integer("object_len", vec![object], |values| {
                let members = Object::read(values.first()?).into_texts();
                i64::try_from(members.map(|(_, text)| text.len()).sum::<usize>()).ok()
            })
        });
        let mut lengths = Vec::new();
        for length in columns.chain(open).collect::<Vec<_>>() {
            lengths.push(coalesce(vec![self.add(sum(length))?, lit(0_i64)]));
        }
        let total = lengths.into_iter().reduce(|left, right| left + right);
        Ok(Value::new(
            total.unwrap_or_else(|| lit(0_i64)),
            Kind::Integer,
        ))
    }

    fn extreme(&mut self, fields: &[FieldPattern], greatest_of: bool) -> Result<Value> {
        let scope = &self.rows.scope;
        let mut columns: Vec<Value> = scope
            .matching(fields)
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        if let Some(object) = scope.open_matching(fields) {
            let name = if greatest_of {
                "object_max"
            } else {
                "object_min"
            };
            let best = functions::text(name, "", vec![object], move |values, out| {
                let members = Object::read(values.first().unwrap_or(&"")).into_texts();
                let members = members.map(|(_, text)| text);
                let members = members.filter(|text| aggregates::is_ranked(text));
                let best = if greatest_of {
                    members.max_by(|left, right| order::compare(left, right))
                } else {
                    members.min_by(|left, right| order::compare(left, right))
                };
                out.push_str(&best.unwrap_or_default());
            });
            columns.push(Value::text(best));
        }
        let kind = columns.first().map_or(Kind::Text, |value| value.kind);
        let typed = matches!(kind, Kind::Integer | Kind::Float | Kind::Time)
            && columns.iter().all(|value| value.kind == kind);
        if !typed {
            let values = columns.into_iter().map(|value| value.expr).collect();
            let best = self.add(aggregates::extreme(values, greatest_of))?;
            return Ok(Value::text(best));
        }
        let mut best = Vec::new();
        for value in columns {
            let value = if kind == Kind::Float {
                value.number()
            } else {
                value.expr
            };
            let function = if greatest_of { max } else { min };
            best.push(self.add(function(value))?);
        }
        let best = match best.as_slice() {
            [only] => only.clone(),
            _ if greatest_of => greatest(best),
            _ => least(best),
        };
        Ok(Value::new(best, kind))
    }

    fn quantile(&mut self, phi: f64, fields: &[FieldPattern]) -> Result<Value> {
        let columns = self.rows.scope.matching(fields);
        let is_number = |kind: Kind| matches!(kind, Kind::Integer | Kind::Float);
        let open = self.rows.scope.open_matching(fields);
        let numbers = !columns.is_empty()
            && open.is_none()
            && columns.iter().all(|(_, value)| is_number(value.kind));
        let values = columns.into_iter().map(|(_, value)| value.expr).collect();
        let value = self.add(aggregates::quantile(values, open, phi, numbers))?;
        let kind = if numbers { Kind::Float } else { Kind::Text };
        Ok(Value::new(value, kind))
    }

    fn values(
        &mut self,
        fields: &[FieldPattern],
        unique: bool,
        limit: Option<u64>,
    ) -> Result<Value> {
        let columns = self.rows.scope.matching(fields).into_iter();
        let mut values: Vec<Expr> = columns.map(|(_, value)| value.expr).collect();
        // A field that no record has is empty in all of them.
        let absent = fields.iter().filter(|field| match field {
            FieldPattern::Name(name) => self.rows.scope.get(name).is_none(),
            FieldPattern::Prefix(_) => false,
        });
        values.extend(absent.map(|_| lit("")));
        let open = self.rows.scope.open_matching(fields);
        let values = self.add(aggregates::values(values, open, unique, limit))?;
        Ok(Value::text(values))
    }

    fn row(&mut self, pick: Pick, by: Option<&String>, fields: &[FieldPattern]) -> Result<Value> {
        let by = by
            .and_then(|by| self.rows.scope.get(by))
            .map(|value| value.expr);
        let Packed { names, values } = Packed::new(&self.rows.scope, fields);
        if pick != Pick::Any && by.is_none() {
            return Ok(Value::text(lit("{}")));
        }
        let row = self.add(aggregates::row(pick, by, names, values))?;
        Ok(Value::text(row))
    }
}

fn no_number() -> Expr {
    lit(ScalarValue::Float64(None))
}

fn or_nan(number: Expr) -> Expr {
    coalesce(vec![number, lit(f64::NAN)])
}

/// Whether one of the fields has a value.
fn is_present(scope: &Scope, fields: &[FieldPattern]) -> Expr {
    let columns = scope.matching(fields).into_iter();
    let present = columns.map(|(_, value)| value.is_present());
    let open = scope.open_matching(fields).map(functions::has_members);
    present
        .chain(open)
        .reduce(Expr::or)
        .unwrap_or_else(|| lit(false))
}

/// Fields as one value; none where all are empty.
fn tuple(scope: &Scope, fields: &[String]) -> Expr {
    let values = fields.iter().map(|name| scope.get(name));
    let values: Vec<Option<Value>> = values.collect();
    if let [only] = values.as_slice() {
        return match only {
            Some(value) => value.clone().key(),
            None => lit(ScalarValue::Utf8View(None)),
        };
    }
    let values = values
        .into_iter()
        .map(|value| value.map_or_else(|| lit(""), |value| value.expr));
    functions::text("tuple", "", values.collect(), |values, out| {
        if values.iter().all(|value| value.is_empty()) {
            return;
        }
        for value in values {
            out.push_str(&value.len().to_string());
            out.push(':');
            out.push_str(value);
        }
    })
}

/// The sum of the numbers in an object, and how many there are.
fn members(object: &str) -> Option<(f64, i64)> {
    let members = Object::read(object).into_texts();
    let numbers = members.filter_map(|(_, text)| number::parse_number(&text));
    let (sum, count) = numbers.fold((0.0, 0), |(sum, count), number| (sum + number, count + 1));
    (count > 0).then_some((sum, count))
}

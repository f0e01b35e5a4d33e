//! The commonest values of several fields, counted in one pass over the records.

use std::cmp::Reverse;
use std::collections::HashMap;

use arrow_array::{Array, ArrayRef, RecordBatch};
use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::Expr;
use logmill_model::field;
use logmill_query_api::{Error, Facet, Facets, LeftOut, LeftOutReason, ValueCount, ViewLimits};
use logmill_schema::ColumnType;

use super::View;
use super::fold::{Fold, fold};
use super::text::{Texts, runs};
use crate::predicate;

/// Fields that are not counted unless they are asked for: nearly every record has another value.
const OWN_VALUES: [&str; 6] = [
    field::TIMESTAMP,
    field::MESSAGE,
    field::TRACE_ID,
    field::SPAN_ID,
    // Its parts are counted.
    field::STREAM,
    field::OVERFLOW,
];

/// What is to be counted.
pub(super) struct FacetColumns {
    /// Names and where their values come from.
    columns: Vec<(String, Expr)>,
    /// Whether somebody wants to know of each of them.
    asked: bool,
    left_out: Vec<LeftOut>,
}

impl View<'_> {
    /// The fields that are asked for, or those that usually have few values.
    pub(super) fn facet_columns(&self, asked: Option<&[String]>) -> Result<FacetColumns, Error> {
        let most = usize::try_from(self.limits.facet_max_fields).unwrap_or(usize::MAX);
        let mut names: Vec<&str> = Vec::new();
        for name in asked.unwrap_or_default() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let mut left_out = Vec::new();
        let mut leave_out = |name: &str, reason| {
            let field = name.to_owned();
            left_out.push(LeftOut { field, reason });
        };
        if asked.is_some() {
            if names.len() > most {
                let message = format!("{} fields are more than the limit of {most}", names.len());
                return Err(Error::Invalid {
                    code: "invalid_limit",
                    message,
                });
            }
        } else {
            // Floats are measured, and seldom the same twice.
            let columns = self.table.columns();
            let columns = columns.filter(|(_, kind)| *kind != ColumnType::Float);
            let columns = columns.map(|(name, _)| name);
            names.extend(columns.filter(|name| !OWN_VALUES.contains(name)));
            for name in names.split_off(most.min(names.len())) {
                leave_out(name, LeftOutReason::NotCounted);
            }
        }
        let mut columns = Vec::new();
        for name in names {
            match predicate::named(&self.table, name) {
                Some((value @ Expr::Column(_), _)) => columns.push((name.to_owned(), value)),
                Some((value, _)) => columns.push((name.to_owned(), value.alias(name))),
                None => leave_out(name, LeftOutReason::NoValues),
            }
        }
        Ok(FacetColumns {
            columns,
            asked: asked.is_some(),
            left_out,
        })
    }

    pub(super) async fn facets(&self, columns: FacetColumns, limit: u64) -> Result<Facets> {
        let FacetColumns {
            columns,
            asked,
            mut left_out,
        } = columns;
        let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let plan = self.session.records(self.conditions.clone(), &values, None);
        let plan = plan.await?;
        let bounds = Bounds::of(self.limits);
        let counted = fold(&self.session, &plan, || TopValues {
            fields: vec![FieldValues::default(); names.len()],
            rows: 0,
            bounds,
            memory: self.memory("facets"),
        });
        let counted = counted.await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut facets = Vec::new();
        for (field, counted) in names.into_iter().zip(counted.fields) {
            let reason = match counted.state {
                State::Counted if counted.records > 0 => {
                    facets.push(counted.facet(field, limit));
                    continue;
                }
                State::Counted if asked => LeftOutReason::NoValues,
                State::Counted => continue,
                State::TooMany => LeftOutReason::TooManyValues,
                State::TooLong => LeftOutReason::ValuesTooLong,
            };
            left_out.push(LeftOut { field, reason });
        }
        Ok(Facets {
            facets,
            left_out,
            total: counted.rows,
            stats: self.stats(counted.rows),
        })
    }
}

/// Beyond which a field is not counted any more.
#[derive(Clone, Copy)]
struct Bounds {
    values: usize,
    value_bytes: usize,
}

impl Bounds {
    fn of(limits: &ViewLimits) -> Self {
        let size = |bound: u64| usize::try_from(bound).unwrap_or(usize::MAX);
        Self {
            values: size(limits.facet_max_values),
            value_bytes: size(limits.facet_value_max_bytes),
        }
    }
}

/// Whether the values of a field are all counted, and why not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    #[default]
    Counted,
    TooMany,
    TooLong,
}

/// Counts of a field's values.
#[derive(Clone, Debug, Default)]
struct FieldValues {
    counts: HashMap<String, u64>,
    records: u64,
    state: State,
}

impl FieldValues {
    fn give_up(&mut self, state: State) {
        self.state = self.state.max(state);
        self.counts = HashMap::new();
    }

    fn add(&mut self, value: &str, count: u64, bounds: Bounds) {
        if self.state != State::Counted {
            return;
        }
        self.records += count;
        if let Some(known) = self.counts.get_mut(value) {
            *known += count;
        } else if value.len() > bounds.value_bytes {
            self.give_up(State::TooLong);
        } else if self.counts.len() >= bounds.values {
            self.give_up(State::TooMany);
        } else {
            self.counts.insert(value.to_owned(), count);
        }
    }

    fn add_column(&mut self, column: &ArrayRef, bounds: Bounds) -> Result<()> {
        if self.state != State::Counted || column.null_count() == column.len() {
            return Ok(());
        }
        let texts = Texts::of(column)?;
        runs(column, &texts, |row, count| {
            self.add(&texts.text(row), count, bounds);
        });
        Ok(())
    }

    fn facet(self, field: String, limit: usize) -> Facet {
        let values = self.counts.into_iter();
        let mut values: Vec<_> = values
            .map(|(value, count)| ValueCount { value, count })
            .collect();
        let distinct = values.len() as u64;
        values.sort_unstable_by(|a, b| {
            (Reverse(a.count), &a.value).cmp(&(Reverse(b.count), &b.value))
        });
        values.truncate(limit);
        Facet {
            field,
            values,
            distinct,
            records: self.records,
        }
    }
}

/// Counts of the values of each field.
struct TopValues {
    fields: Vec<FieldValues>,
    rows: u64,
    bounds: Bounds,
    memory: MemoryReservation,
}

/// What a value takes beside its text, bytes: about.
const VALUE_BYTES: usize = 64;

impl TopValues {
    fn account(&self) -> Result<()> {
        let values = self.fields.iter().flat_map(|field| field.counts.keys());
        let bytes = values.map(|value| VALUE_BYTES + value.len()).sum();
        self.memory.try_resize(bytes)
    }
}

impl Fold for TopValues {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        for (field, column) in self.fields.iter_mut().zip(batch.columns()) {
            field.add_column(column, self.bounds)?;
        }
        self.account()
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.rows += other.rows;
        for (field, other) in self.fields.iter_mut().zip(other.fields) {
            if other.state > State::Counted {
                field.give_up(other.state);
            }
            for (value, count) in other.counts {
                field.add(&value, count, self.bounds);
            }
        }
        self.account()
    }
}

//! The commonest values of several fields, counted in one pass over the records. What a segment says of its values is not
//! counted again.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::Expr;
use logmill_model::{TimeRange, field};
use logmill_query_api::{
    Error, Facet, Facets, LeftOut, LeftOutReason, Selection, ValueCount, ViewLimits,
};
use logmill_schema::ColumnType;
use logmill_segment::{ColumnValues, VALUE_BYTES_MAX, VALUES_MAX, ValueCounts};
use logmill_store::{MemtableBatch, SegmentHandle, Snapshot};

use super::View;
use super::fold::{Fold, fold};
use super::text::{Texts, runs};
use super::whole::{unless_empty, with_scan};
use crate::predicate;
use crate::session::Session;
use crate::stats::stats;

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

    /// What segments say of which all records are selected; and a snapshot of the others, if there are any.
    pub(super) async fn known_facets(
        &self,
        selection: &Selection,
        columns: &FacetColumns,
    ) -> Result<(TopValues, Option<Snapshot>)> {
        let mut counted = self.top_values(columns);
        let (whole, mut rest) = self.whole_segments(selection);
        for handle in whole {
            match self.segment_values(&handle, columns).await {
                Some(values) => {
                    counted.rows += handle.row().rows;
                    counted.add_counted(values.iter().map(Option::as_ref));
                    counted.account()?;
                }
                None => rest.segments.push(handle),
            }
        }
        if selection.is_of_time_alone() && !self.session.table.is_in_postgres() {
            rest.memtable.retain(|batch| {
                !self.add_from_memory(batch, selection.range, columns, &mut counted)
            });
            counted.account()?;
        }
        Ok((counted, unless_empty(rest)))
    }

    /// The values that a segment has of each of these columns, as far as it has the column; none where it does not say, or
    /// cannot be read: a scan says why.
    async fn segment_values(
        &self,
        handle: &Arc<SegmentHandle>,
        columns: &FacetColumns,
    ) -> Option<Vec<Option<ColumnValues>>> {
        let segment = self.session.table.open(handle).await.ok()?;
        let values = self.session.table.values(handle).await.ok()??;
        let told = self.told(columns, |name| segment.column(name), &values)?;
        Some(told.into_iter().map(Option::<&_>::cloned).collect())
    }

    /// Adds what is known of a batch in memory all of whose records are selected; whether that was possible, or there was
    /// nothing to add.
    fn add_from_memory(
        &self,
        batch: &MemtableBatch,
        range: TimeRange,
        columns: &FacetColumns,
        counted: &mut TopValues,
    ) -> bool {
        let Some(counts) = batch.counts() else {
            return false;
        };
        let (min_ns, max_ns) = (counts.min_timestamp_ns, counts.max_timestamp_ns);
        if !range.contains(min_ns) || !range.contains(max_ns) {
            return !range.overlaps_inclusive(min_ns, max_ns);
        }
        let Some(values) = batch.values() else {
            return false;
        };
        let kind = |name: &str| values.columns.column(name);
        let Some(values) = self.told(columns, kind, &values.values) else {
            return false;
        };
        counted.rows += batch.rows().num_rows() as u64;
        counted.add_counted(values.into_iter());
        true
    }

    /// The values that some records have of each of these columns, as far as they have the column, by what is said of all of
    /// theirs: their types, and their values. None where it is not said.
    fn told<'a>(
        &self,
        columns: &FacetColumns,
        kind: impl Fn(&str) -> Option<ColumnType>,
        values: &'a ValueCounts,
    ) -> Option<Vec<Option<&'a ColumnValues>>> {
        let bounds = Bounds::of(self.limits);
        // Then they leave no column out that we would not.
        let as_strict = bounds.values <= VALUES_MAX && bounds.value_bytes <= VALUE_BYTES_MAX;
        let of_column = |(name, value): &(String, Expr)| {
            let Expr::Column(_) = value else {
                // It is a member of the overflow.
                return kind(field::OVERFLOW).is_none().then_some(None);
            };
            let Some(kind) = kind(name) else {
                return Some(None);
            };
            let values = values.get(name)?;
            let same_text = self.table.column(name) == Some(kind);
            let told = as_strict || matches!(values, ColumnValues::Counts(_));
            (same_text && told).then_some(Some(values))
        };
        columns.columns.iter().map(of_column).collect()
    }

    fn top_values(&self, columns: &FacetColumns) -> TopValues {
        TopValues {
            fields: vec![FieldValues::default(); columns.columns.len()],
            rows: 0,
            bounds: Bounds::of(self.limits),
            memory: self.memory("facets"),
        }
    }

    pub(super) async fn facets(
        &self,
        columns: FacetColumns,
        known: TopValues,
        scanned: Option<Session>,
        limit: u64,
    ) -> Result<Facets> {
        let mut counted = known;
        let mut took = self.stats(0);
        if let Some(session) = scanned {
            let values: Vec<_> = columns
                .columns
                .iter()
                .map(|(_, value)| value.clone())
                .collect();
            let plan = session.records(self.conditions.clone(), &values, None);
            let plan = plan.await?;
            let rest = fold(&session, &plan, || self.top_values(&columns));
            counted.merge(rest.await?)?;
            took = with_scan(took, &stats(&session, self.begun, 0));
        }
        took.rows_matched = counted.rows;
        let FacetColumns {
            columns,
            asked,
            mut left_out,
        } = columns;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut facets = Vec::new();
        let names = columns.into_iter().map(|(name, _)| name);
        for (field, counted) in names.zip(counted.fields) {
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
            stats: took,
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
pub(super) struct TopValues {
    fields: Vec<FieldValues>,
    rows: u64,
    bounds: Bounds,
    memory: MemoryReservation,
}

/// What a value takes beside its text, bytes: about.
const VALUE_BYTES: usize = 64;

impl TopValues {
    /// Takes in what was counted elsewhere, in the order of the fields.
    fn add_counted<'a>(&mut self, values: impl Iterator<Item = Option<&'a ColumnValues>>) {
        for (field, values) in self.fields.iter_mut().zip(values) {
            match values {
                None => {}
                Some(ColumnValues::Counts(counts)) => {
                    for (value, count) in counts {
                        field.add(value, *count, self.bounds);
                    }
                }
                Some(ColumnValues::TooMany) => field.give_up(State::TooMany),
                Some(ColumnValues::TooLong) => field.give_up(State::TooLong),
            }
        }
    }

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

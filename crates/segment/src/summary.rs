//! What a segment says of its rows beside them, of rows that are still in memory.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use logmill_model::field;
use logmill_schema::{ColumnType, TableSchema};

use crate::gather::{Column, Columns};
use crate::order::positions;
use crate::rollup::Rollup;
use crate::text_chunk::TextColumn;
use crate::values::{ColumnValues, ValueCounts, ValueCountsBuilder};
use crate::{Error, Result};

/// Counts of a batch's rows over time.
#[derive(Debug)]
pub struct BatchCounts {
    /// Oldest record.
    pub min_timestamp_ns: i64,
    /// Newest record.
    pub max_timestamp_ns: i64,
    /// Counts per minute, level and service.
    pub rollup: Rollup,
}

impl BatchCounts {
    /// Of a batch with `timestamp` and at least one row.
    pub fn of(batch: &RecordBatch) -> Result<Self> {
        let batches = std::slice::from_ref(batch);
        let schema = only(batch, |field, _| {
            COUNTED_BY.contains(&field.name().as_str())
        });
        let columns = Columns::of(batches, &schema)?;
        let rows = positions(batches);
        let times = || rows.iter().map(|at| columns.time(at));
        let (Some(min_timestamp_ns), Some(max_timestamp_ns)) = (times().min(), times().max())
        else {
            return Err(Error::Empty);
        };
        let mut rollup = Rollup::default();
        rollup.count(&columns, &rows);
        Ok(Self {
            min_timestamp_ns,
            max_timestamp_ns,
            rollup,
        })
    }
}

/// Columns that a rollup tells apart.
const COUNTED_BY: [&str; 2] = [field::LEVEL, field::SERVICE];

/// The values of a batch's columns.
#[derive(Debug)]
pub struct BatchValues {
    /// Columns that have a value, and their types.
    pub columns: TableSchema,
    /// Their values.
    pub values: ValueCounts,
}

impl BatchValues {
    /// Of a batch with `timestamp`.
    pub fn of(batch: &RecordBatch) -> Result<Self> {
        let batches = std::slice::from_ref(batch);
        let there = |_: &Field, column: &ArrayRef| column.logical_null_count() < column.len();
        let schema = only(batch, there);
        let columns = Columns::of(batches, &schema)?;
        let rows = positions(batches);
        let mut values = ValueCountsBuilder::default();
        let mut kinds = TableSchema::new();
        for field in schema.fields() {
            let column = columns.get(field.name());
            let counted = match column {
                Some(Column::Plain(arrays)) => ColumnValues::of_rows(arrays, &rows),
                Some(Column::Dictionary(dictionary)) => {
                    let texts: Vec<&str> = dictionary.values().iter().map(String::as_str).collect();
                    let keys = rows.iter().map(|at| dictionary.key(at).unwrap_or(u32::MAX));
                    Some(ColumnValues::of_keys(&texts, &keys.collect::<Vec<_>>()))
                }
                _ => column.and_then(TextColumn::of).map(|texts| {
                    ColumnValues::of_texts(rows.iter().filter_map(|at| texts.get(at)))
                }),
            };
            values.add(field.name(), counted);
            if let Some(kind) = ColumnType::of(field) {
                kinds.add(field.name(), kind);
            }
        }
        Ok(Self {
            columns: kinds,
            values: values.finish(),
        })
    }
}

/// The schema of some columns.
fn only(batch: &RecordBatch, wanted: impl Fn(&Field, &ArrayRef) -> bool) -> SchemaRef {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns = columns.filter(|(field, column)| wanted(field, column));
    let fields: Vec<_> = columns.map(|(field, _)| field.clone()).collect();
    Arc::new(Schema::new(fields))
}

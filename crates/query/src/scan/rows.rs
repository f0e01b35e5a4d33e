//! Reads rows that were found, with the asked columns. They are few, and what takes the time is decoding a page for each
//! column and granule: so granules, and where there are fewer than threads also columns, are dealt out.

use std::cmp::Reverse;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use datafusion::common::{DataFusionError, Result};
use logmill_segment::GRANULE_ROWS;
use tokio::task::JoinSet;

use super::row_set::RowSet;
use super::unit::{Reading, Unit};

/// Granules that a task reads at most.
const TASK_GRANULES: usize = 4;

/// What decoding a page takes beside its bytes, in bytes: about.
const PAGE_BYTES: u64 = 4_096;

/// Some rows of a unit.
struct Piece {
    unit: Unit,
    /// In order.
    rows: Vec<u32>,
}

/// Reads rows of units, by their numbers in the row groups, in order.
pub(super) async fn read_rows(
    found: Vec<(Unit, Vec<u32>)>,
    reading: &Reading,
    threads: usize,
) -> Result<Vec<RecordBatch>> {
    let granules: usize = found.iter().map(|(_, rows)| runs(rows).count()).sum();
    let most = granules.div_ceil(threads).clamp(1, TASK_GRANULES);
    let pieces: Vec<Piece> = found
        .into_iter()
        .flat_map(|(unit, rows)| pieces(&unit, &rows, most))
        .collect();
    let mut tasks = JoinSet::new();
    let mut read = Vec::with_capacity(pieces.len());
    for (at, piece) in pieces.iter().enumerate() {
        let schemas = dealt(&reading.schema, &piece.unit, threads.div_ceil(pieces.len()));
        read.push(vec![None; schemas.len()]);
        for (part, schema) in schemas.into_iter().enumerate() {
            let (unit, rows) = (piece.unit.clone(), RowSet::of_numbers(&piece.rows));
            let reading = Reading {
                schema,
                ..reading.clone()
            };
            tasks.spawn(async move {
                let mut reader = unit.read_rows(&reading, rows);
                let mut batches = Vec::new();
                while let Some((_, batch)) = reader.next_granule().await? {
                    batches.push(batch);
                }
                Ok((at, part, concat_batches(&reading.schema, &batches)?))
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        let (at, part, batch) = joined(done)?;
        if let Some(place) = read
            .get_mut(at)
            .and_then(|parts: &mut Vec<_>| parts.get_mut(part))
        {
            *place = Some(batch);
        }
    }
    let parts = read.into_iter().map(|parts| parts.into_iter().flatten());
    parts
        .map(|parts| side_by_side(&parts.collect::<Vec<_>>(), &reading.schema))
        .collect()
}

/// The runs of rows of one granule.
fn runs(rows: &[u32]) -> impl Iterator<Item = &[u32]> {
    rows.chunk_by(|one, other| granule(*one) == granule(*other))
}

const fn granule(row: u32) -> usize {
    row as usize / GRANULE_ROWS
}

/// Rows of so many granules at most.
fn pieces(unit: &Unit, rows: &[u32], most: usize) -> Vec<Piece> {
    let runs: Vec<&[u32]> = runs(rows).collect();
    let pieces = runs.chunks(most).map(|runs| Piece {
        unit: unit.clone(),
        rows: runs.concat(),
    });
    pieces.collect()
}

/// The asked columns in so many parts at most, each about as long to read.
fn dealt(schema: &SchemaRef, unit: &Unit, parts: usize) -> Vec<SchemaRef> {
    let fields = schema.fields();
    let parts = parts.min(fields.len());
    if parts < 2 {
        return vec![schema.clone()];
    }
    let segment = &unit.part.segment;
    let granules = segment.granules_of(unit.row_group).len().max(1) as u64;
    let mut weighed: Vec<_> = fields
        .iter()
        .map(|field| {
            let column = Schema::new(vec![field.clone()]);
            let bytes = segment.column_bytes(unit.row_group, &column) / granules;
            (bytes + PAGE_BYTES, field)
        })
        .collect();
    weighed.sort_by_key(|(bytes, _)| Reverse(*bytes));
    let mut dealt = vec![(0, Vec::new()); parts];
    for (bytes, field) in weighed {
        if let Some((load, fields)) = dealt.iter_mut().min_by_key(|(load, _)| *load) {
            *load += bytes;
            fields.push(field.clone());
        }
    }
    let schemas = dealt
        .into_iter()
        .map(|(_, fields)| Arc::new(Schema::new(fields)));
    schemas.collect()
}

/// The same rows of several parts of the columns, as one batch; columns that were not read are null.
fn side_by_side(parts: &[RecordBatch], schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = parts.first().map_or(0, RecordBatch::num_rows);
    let column = |field: &Field| -> ArrayRef {
        let mut found = parts
            .iter()
            .filter_map(|part| part.column_by_name(field.name()));
        let found = found.next().cloned();
        found.unwrap_or_else(|| new_null_array(field.data_type(), rows))
    };
    let columns = schema.fields().iter().map(|field| column(field)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        schema.clone(),
        columns,
        &options,
    )?)
}

/// What a task of a scan came to.
pub(crate) fn joined<T>(task: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    task.map_err(|error| DataFusionError::Execution(format!("a task of a scan: {error}")))?
}

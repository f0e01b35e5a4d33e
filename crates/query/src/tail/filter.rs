//! What of an arriving batch is to be told.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, UInt64Array};
use arrow_schema::{Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::physical_expr::projection::ProjectionExprs;
use logmill_query_api::LogQuery;
use logmill_schema::{ColumnType, TableSchema};

use super::queue::Found;
use crate::compiled::{CompiledCondition, adapted};
use crate::page::projection;
use crate::records;
use crate::table::view_schema;

/// A selection, compiled for the columns that the tenant has.
pub(super) struct LiveFilter {
    state: Arc<SessionState>,
    /// Of which only the conditions and the columns are used.
    query: LogQuery,
    table: TableSchema,
    compiled: Compiled,
}

struct Compiled {
    condition: CompiledCondition,
    /// All columns, as records show them.
    all: SchemaRef,
    /// The columns of the answer, where some were asked for.
    columns: Option<ProjectionExprs>,
}

impl LiveFilter {
    /// Compiles the selection and the fields of a query.
    pub(super) fn new(
        state: Arc<SessionState>,
        query: LogQuery,
        table: TableSchema,
    ) -> Result<Self> {
        Ok(Self {
            compiled: compile(&state, &query, &table)?,
            state,
            query,
            table,
        })
    }

    /// The rows of a batch that match; `None` when none does.
    pub(super) fn matching(&mut self, batch: &RecordBatch) -> Result<Option<Found>> {
        self.take_in(batch.schema_ref())?;
        let rows = batch.num_rows();
        let found = self.compiled.condition.matches(batch)?;
        let rows_found: Vec<u64> = found.values().set_indices().map(|row| row as u64).collect();
        if rows_found.is_empty() {
            return Ok(None);
        }
        Ok(Some(Found {
            rows: rows_found,
            of: rows as u64,
            row_bytes: (used_bytes(batch) / rows.max(1)) as u64,
        }))
    }

    /// Copies rows of a batch, with the columns of the answer.
    pub(super) fn take(&self, batch: &RecordBatch, rows: &UInt64Array) -> Result<RecordBatch> {
        let taken = arrow_select::take::take_record_batch(batch, rows)?;
        let taken = adapted(&taken, &self.compiled.all)?;
        match &self.compiled.columns {
            Some(columns) => columns
                .make_projector(taken.schema_ref())?
                .project_batch(&taken),
            None => Ok(taken),
        }
    }

    /// Conditions mean what the types of the columns make of them: they are compiled anew when these change.
    fn take_in(&mut self, schema: &Schema) -> Result<()> {
        let is_known = |field: &Arc<arrow_schema::Field>| {
            let kind = ColumnType::of(field).unwrap_or(ColumnType::String);
            let known = self.table.column(field.name());
            known.is_some_and(|known| known.join(kind) == known)
        };
        if schema.fields().iter().all(is_known) {
            return Ok(());
        }
        self.table.merge(schema);
        self.compiled = compile(&self.state, &self.query, &self.table)?;
        Ok(())
    }
}

fn compile(state: &SessionState, query: &LogQuery, table: &TableSchema) -> Result<Compiled> {
    let conditions = records::conditions_but_time(table, &query.selection)?;
    let all = view_schema(table);
    let filter = records::simplified(state, all.clone(), conditions)?;
    let condition = CompiledCondition::new(state, filter, &all)?;
    let columns = match &query.fields {
        Some(_) => {
            let (columns, _) = projection(table, query);
            let columns = records::projection(state, &columns, &all)?;
            Some(ProjectionExprs::from(columns))
        }
        None => None,
    };
    Ok(Compiled {
        condition,
        all,
        columns,
    })
}

/// Bytes of a batch, each buffer counted as far as it is used: columns may share one that is much longer.
fn used_bytes(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    let used = columns.map(|column| {
        let used = column.to_data().get_slice_memory_size();
        used.unwrap_or_else(|_unknown| column.get_buffer_memory_size())
    });
    used.sum()
}

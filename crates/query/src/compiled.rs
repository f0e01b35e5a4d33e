//! A condition, compiled for rows that are in memory: of a scan, of a delete, of a tail.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use arrow_select::filter::prep_null_mask_filter;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;

use crate::functions::with_literals;

/// One condition over some columns of a table.
#[derive(Debug)]
pub(crate) struct CompiledCondition {
    pub(crate) expr: Arc<dyn PhysicalExpr>,
    /// The columns that it is about, with the table's types.
    schema: SchemaRef,
}

impl CompiledCondition {
    /// Of a condition over a table of this schema.
    pub(crate) fn new(state: &dyn Session, condition: Expr, table: &SchemaRef) -> Result<Self> {
        let columns = condition.column_refs().into_iter();
        let columns: BTreeSet<usize> = columns
            .map(|column| Ok(table.index_of(&column.name)?))
            .collect::<Result<_>>()?;
        let columns: Vec<usize> = columns.into_iter().collect();
        let schema = Arc::new(table.project(&columns)?);
        let condition = with_literals(condition)?;
        let expr = state.create_physical_expr(condition, &DFSchema::try_from(schema.clone())?)?;
        Ok(Self { expr, schema })
    }

    /// The columns that it is about, with the table's types.
    pub(crate) const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The condition's answer for each row, never null.
    pub(crate) fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        self.evaluate(&adapted(batch, &self.schema)?)
    }

    /// The condition's answer for each of `rows` rows, by the columns that it is about.
    pub(crate) fn matches_columns(
        &self,
        columns: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<BooleanArray> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = self.schema.clone();
        self.evaluate(&RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let found = self.expr.evaluate(batch)?.into_array(batch.num_rows())?;
        let found = found
            .as_boolean_opt()
            .ok_or_else(|| DataFusionError::Internal("a filter is not a condition".to_owned()))?;
        Ok(match found.null_count() {
            0 => found.clone(),
            _ => prep_null_mask_filter(found),
        })
    }
}

/// A batch with the columns of a schema: see [`logmill_schema::adapt`].
pub(crate) fn adapted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    logmill_schema::adapt(batch, schema).map_err(|error| DataFusionError::External(Box::new(error)))
}

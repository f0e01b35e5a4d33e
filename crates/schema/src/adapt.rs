//! Bringing a batch to another schema without losing a value.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

/// A batch that cannot be brought to a schema.
#[derive(Debug, thiserror::Error)]
#[error("column {column} of type {from} cannot become {to}")]
pub struct AdaptError {
    /// The column's name.
    pub column: String,
    /// Its Arrow type.
    pub from: String,
    /// The wanted Arrow type.
    pub to: String,
}

/// `batch` with the columns of `schema`: missing ones are null, others promoted along
/// [`ColumnType::join`](crate::ColumnType::join) (integer to float, anything to text, dictionary to plain
/// and back). Columns that `schema` does not name are dropped.
pub fn adapt(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, AdaptError> {
    let _ = (batch, schema);
    unimplemented!("helper")
}

/// All rows of `batches`, in order, as one batch of `schema`.
pub fn concat(batches: &[RecordBatch], schema: &SchemaRef) -> Result<RecordBatch, AdaptError> {
    let _ = (batches, schema);
    unimplemented!("helper")
}

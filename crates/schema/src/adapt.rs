//! Bringing a batch to another schema without losing a value.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, SchemaRef};

/// A batch that cannot be brought to a schema.
#[derive(Debug, thiserror::Error)]
#[error("column {column} of type {from} cannot become {to}: {detail}")]
pub struct AdaptError {
    /// The column's name.
    pub column: String,
    /// Its Arrow type.
    pub from: String,
    /// The wanted Arrow type.
    pub to: String,
    /// What the kernel says.
    pub detail: String,
}

/// `batch` with the columns of `schema`: missing ones are null, others promoted along
/// [`ColumnType::join`](crate::ColumnType::join) (integer to float, anything to text, dictionary to plain
/// and back). Columns that `schema` does not name are dropped.
pub fn adapt(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, AdaptError> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => promote(column, field.name(), field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|error| {
        AdaptError {
            column: "timestamp".to_owned(),
            from: "null".to_owned(),
            to: "not null".to_owned(),
            detail: error.to_string(),
        }
    })
}

/// A column as another type of the lattice; it is what it was when it has the type already.
pub fn promote(column: &ArrayRef, name: &str, to: &DataType) -> Result<ArrayRef, AdaptError> {
    if column.data_type() == to {
        return Ok(column.clone());
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, to, &options).map_err(|error| AdaptError {
        column: name.to_owned(),
        from: column.data_type().to_string(),
        to: to.to_string(),
        detail: error.to_string(),
    })
}

/// All rows of `batches`, in order, as one batch of `schema`.
pub fn concat(batches: &[RecordBatch], schema: &SchemaRef) -> Result<RecordBatch, AdaptError> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    for field in schema.fields() {
        let parts = batches
            .iter()
            .map(|batch| match batch.column_by_name(field.name()) {
                Some(column) => promote(column, field.name(), field.data_type()),
                None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let error = |detail: String| AdaptError {
            column: field.name().clone(),
            from: "batches".to_owned(),
            to: field.data_type().to_string(),
            detail,
        };
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        let column = match parts.as_slice() {
            [] => new_null_array(field.data_type(), 0),
            parts => arrow_select::concat::concat(parts).map_err(|e| error(e.to_string()))?,
        };
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|error| {
        AdaptError {
            column: "timestamp".to_owned(),
            from: "batches".to_owned(),
            to: "one batch".to_owned(),
            detail: error.to_string(),
        }
    })
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, Int32Type};
    use arrow_array::{
        Array, BooleanArray, DictionaryArray, Float64Array, Int64Array, StringArray,
        TimestampNanosecondArray,
    };
    use arrow_schema::Schema;

    use super::*;
    use crate::{ColumnType, TableSchema};

    fn batch(times: &[i64], name: &str, kind: ColumnType, values: ArrayRef) -> RecordBatch {
        let times = TimestampNanosecondArray::from(times.to_vec()).with_timezone("UTC");
        let fields = vec![ColumnType::Timestamp.field("timestamp"), kind.field(name)];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(times), values]).unwrap()
    }

    fn merged(batches: &[RecordBatch]) -> SchemaRef {
        let mut table = TableSchema::new();
        for batch in batches {
            table.merge(batch.schema_ref());
        }
        table.to_arrow()
    }

    #[test]
    fn types_that_meet_keep_every_value() {
        let batches = [
            batch(
                &[1, 2],
                "x",
                ColumnType::Integer,
                Arc::new(Int64Array::from(vec![Some(7), None])),
            ),
            batch(
                &[3],
                "x",
                ColumnType::Float,
                Arc::new(Float64Array::from(vec![2.5])),
            ),
        ];
        let one = concat(&batches, &merged(&batches)).unwrap();
        let column = one
            .column_by_name("x")
            .unwrap()
            .as_primitive::<Float64Type>();
        assert_eq!(
            (column.value(0), column.is_null(1), column.value(2)),
            (7.0, true, 2.5)
        );

        let mut batches = batches.to_vec();
        batches.push(batch(
            &[4],
            "x",
            ColumnType::Boolean,
            Arc::new(BooleanArray::from(vec![true])),
        ));
        batches.push(batch(
            &[5],
            "x",
            ColumnType::String,
            Arc::new(StringArray::from(vec!["s"])),
        ));
        let one = concat(&batches, &merged(&batches)).unwrap();
        let column = one.column_by_name("x").unwrap().as_string::<i32>();
        let values: Vec<_> = column.iter().collect();
        assert_eq!(
            values,
            [Some("7"), None, Some("2.5"), Some("true"), Some("s")]
        );
        assert_eq!(one.num_rows(), 5);
    }

    #[test]
    fn missing_columns_are_null_and_unnamed_ones_dropped() {
        let values: DictionaryArray<Int32Type> = vec!["a"].into_iter().collect();
        let first = batch(&[1], "service", ColumnType::String, Arc::new(values));
        let second = batch(
            &[2],
            "y",
            ColumnType::Integer,
            Arc::new(Int64Array::from(vec![1])),
        );
        let schema = merged(std::slice::from_ref(&first));
        let adapted = adapt(&second, &schema).unwrap();
        assert_eq!(adapted.schema(), schema);
        assert!(adapted.column_by_name("service").unwrap().is_null(0));
        assert!(adapted.column_by_name("y").is_none());
        let both = concat(&[first, second], &schema).unwrap();
        let service = both
            .column_by_name("service")
            .unwrap()
            .as_dictionary::<Int32Type>();
        let service = service.downcast_dict::<StringArray>().unwrap();
        assert_eq!(service.into_iter().collect::<Vec<_>>(), [Some("a"), None]);
    }
}

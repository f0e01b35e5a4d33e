//! Rows scattered over batches, gathered into one array a granule at a time.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray, new_null_array,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field};
use arrow_select::interleave::interleave;
use logmill_schema::promote;
use rustc_hash::FxHashMap;

use crate::{Error, Position, Result};

/// One column of all batches.
pub(crate) enum Column {
    /// Text that is its own array in every batch that has it.
    Text(Vec<Option<StringArray>>),
    /// Text of few values: one dictionary for all batches, and each batch's keys in it.
    Dictionary {
        values: Arc<StringArray>,
        keys: Vec<Option<Int32Array>>,
    },
    /// Anything else.
    Plain(Vec<ArrayRef>),
}

impl Column {
    /// The column `field` of all batches, promoted to its type where it has another.
    pub(crate) fn of(batches: &[RecordBatch], field: &Field) -> Result<Self> {
        let promoted = |batch: &RecordBatch| -> Result<Option<ArrayRef>> {
            let column = batch.column_by_name(field.name());
            let promoted = column.map(|column| promote(column, field.name(), field.data_type()));
            Ok(promoted.transpose()?)
        };
        match field.data_type() {
            DataType::Utf8 => {
                let text = |batch| {
                    let column = promoted(batch)?;
                    Ok(column.map(|column| column.as_string::<i32>().clone()))
                };
                Ok(Self::Text(batches.iter().map(text).collect::<Result<_>>()?))
            }
            DataType::Dictionary(_, _) => {
                let columns = batches.iter().map(promoted).collect::<Result<Vec<_>>>()?;
                Ok(dictionary(&columns))
            }
            kind => {
                let plain = |batch: &RecordBatch| {
                    let column = promoted(batch)?;
                    Ok(column.unwrap_or_else(|| new_null_array(kind, batch.num_rows())))
                };
                let plain = batches.iter().map(plain).collect::<Result<_>>()?;
                Ok(Self::Plain(plain))
            }
        }
    }

    /// The rows' values as one array.
    pub(crate) fn gather(&self, rows: &[Position]) -> Result<ArrayRef> {
        match self {
            Self::Text(texts) => Ok(Arc::new(gather_text(texts, rows)?)),
            Self::Dictionary { values, keys } => {
                let mut valid = BooleanBufferBuilder::new(rows.len());
                let mut numbers = Vec::with_capacity(rows.len());
                for at in rows {
                    let (row, keys) = (at.row as usize, &keys[at.batch as usize]);
                    let keys = keys.as_ref().filter(|keys| keys.is_valid(row));
                    valid.append(keys.is_some());
                    numbers.push(keys.map_or(0, |keys| keys.values()[row]));
                }
                let keys = Int32Array::new(ScalarBuffer::from(numbers), nulls(valid));
                let array = DictionaryArray::<Int32Type>::try_new(keys, values.clone());
                Ok(Arc::new(array.map_err(gathering)?))
            }
            Self::Plain(arrays) => {
                let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
                let rows: Vec<(usize, usize)> = rows
                    .iter()
                    .map(|at| (at.batch as usize, at.row as usize))
                    .collect();
                interleave(&arrays, &rows).map_err(gathering)
            }
        }
    }
}

fn gathering(source: ArrowError) -> Error {
    Error::Arrow {
        operation: "gathering rows",
        source,
    }
}

fn gather_text(texts: &[Option<StringArray>], rows: &[Position]) -> Result<StringArray> {
    let value = |at: &Position| {
        let texts = texts[at.batch as usize].as_ref()?;
        let row = at.row as usize;
        (!texts.is_null(row)).then(|| texts.value(row).as_bytes())
    };
    let mut bytes = Vec::with_capacity(rows.len() * BYTES_EXPECTED);
    let mut offsets: Vec<i32> = Vec::with_capacity(rows.len() + 1);
    offsets.push(0);
    let mut valid = BooleanBufferBuilder::new(rows.len());
    for at in rows {
        let value = value(at);
        valid.append(value.is_some());
        bytes.extend_from_slice(value.unwrap_or_default());
        let end = i32::try_from(bytes.len()).map_err(|_too_long| {
            let problem = "more than 2 GiB of text in one granule".to_owned();
            gathering(ArrowError::InvalidArgumentError(problem))
        })?;
        offsets.push(end);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls(valid)).map_err(gathering)
}

/// Bytes of a text, about, for a first guess at what a granule takes.
const BYTES_EXPECTED: usize = 96;

fn nulls(mut valid: BooleanBufferBuilder) -> Option<NullBuffer> {
    let nulls = NullBuffer::new(valid.finish());
    (nulls.null_count() > 0).then_some(nulls)
}

/// One dictionary for the values of all batches, in ascending order.
fn dictionary(columns: &[Option<ArrayRef>]) -> Column {
    let parts: Vec<_> = columns
        .iter()
        .map(|column| {
            let column = column.as_ref()?.as_dictionary_opt::<Int32Type>()?;
            Some((column.keys(), column.values().as_string_opt::<i32>()?))
        })
        .collect();
    let mut values: Vec<&str> = parts
        .iter()
        .flatten()
        .flat_map(|(_, values)| values.iter().flatten())
        .collect();
    values.sort_unstable();
    values.dedup();
    let numbers: FxHashMap<&str, i32> = values.iter().copied().zip(0..).collect();
    let keys = parts
        .iter()
        .map(|part| {
            let (keys, own) = part.as_ref()?;
            let translated: Vec<Option<i32>> = own
                .iter()
                .map(|value| value.and_then(|value| numbers.get(value).copied()))
                .collect();
            let key = |key: Option<i32>| translated.get(usize::try_from(key?).ok()?).copied()?;
            Some(keys.iter().map(key).collect())
        })
        .collect();
    Column::Dictionary {
        values: Arc::new(StringArray::from(values)),
        keys,
    }
}

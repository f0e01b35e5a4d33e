//! Rows scattered over batches, column by column.

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray, new_null_array};
use std::sync::Arc;

use arrow_schema::{ArrowError, DataType, Field, SchemaRef};
use arrow_select::interleave::interleave;
use logmill_schema::promote;
use rustc_hash::FxHashMap;

use crate::order::timestamps;
use crate::{Error, Position, Result};

/// Batches, each column of all of them as one.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    times: Vec<&'a [i64]>,
    by_name: FxHashMap<String, Column>,
}

impl<'a> Columns<'a> {
    /// The columns of `schema`, promoted to their types where batches have others.
    pub(crate) fn of(batches: &'a [RecordBatch], schema: &SchemaRef) -> Result<Self> {
        let column = |field: &Arc<Field>| Ok((field.name().clone(), Column::of(batches, field)?));
        Ok(Self {
            times: batches.iter().map(timestamps).collect::<Result<_>>()?,
            by_name: schema.fields().iter().map(column).collect::<Result<_>>()?,
        })
    }

    /// A row's time, in nanoseconds since the epoch.
    #[inline]
    pub(crate) fn time(&self, at: &Position) -> i64 {
        self.times[at.batch as usize][at.row as usize]
    }

    /// The column of this name, if the schema has one.
    pub(crate) fn get(&self, name: &str) -> Option<&Column> {
        self.by_name.get(name)
    }

    /// Some rows as one batch of `schema`, which has plain text where the columns have dictionaries.
    pub(crate) fn take(&self, schema: &SchemaRef, rows: &[Position]) -> Result<RecordBatch> {
        let places = indices(rows);
        let columns = schema
            .fields()
            .iter()
            .map(|field| match self.get(field.name()) {
                Some(Column::Texts(texts)) => {
                    let texts = rows.iter().map(|at| texts.get(at));
                    Ok(Arc::new(texts.collect::<StringArray>()) as ArrayRef)
                }
                Some(Column::Dictionary(dictionary)) => {
                    let texts = rows.iter().map(|at| dictionary.get(at));
                    Ok(Arc::new(texts.collect::<StringArray>()) as ArrayRef)
                }
                Some(Column::Plain(arrays)) => gather(arrays, &places),
                None => Ok(new_null_array(field.data_type(), rows.len())),
            })
            .collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(schema.clone(), columns).map_err(|source| Error::Arrow {
            operation: "gathering rows",
            source,
        })
    }

    /// Bytes of all texts of a row.
    pub(crate) fn text_bytes(&self, at: &Position) -> usize {
        let texts = self.by_name.values().filter_map(|column| match column {
            Column::Texts(texts) => texts.get(at),
            Column::Dictionary(dictionary) => dictionary.get(at),
            Column::Plain(_) => None,
        });
        texts.map(str::len).sum()
    }

    /// The column of this name, if it is a dictionary.
    pub(crate) fn dictionary(&self, name: &str) -> Option<&Dictionary> {
        match self.get(name) {
            Some(Column::Dictionary(dictionary)) => Some(dictionary),
            _ => None,
        }
    }

    /// The column of this name, if it is text without a dictionary.
    pub(crate) fn texts(&self, name: &str) -> Option<&Texts> {
        match self.get(name) {
            Some(Column::Texts(texts)) => Some(texts),
            _ => None,
        }
    }
}

/// One column of all batches.
#[derive(Debug)]
pub(crate) enum Column {
    /// Text.
    Texts(Texts),
    /// Text of few values.
    Dictionary(Dictionary),
    /// Anything else.
    Plain(Vec<ArrayRef>),
}

/// Text: an array of each batch that has the column.
#[derive(Debug)]
pub(crate) struct Texts(Vec<Option<StringArray>>);

/// Text of few values: one dictionary for all batches.
#[derive(Debug)]
pub(crate) struct Dictionary {
    /// In ascending order, each once.
    values: Vec<String>,
    parts: Vec<Option<Part>>,
}

/// A batch's keys, and for each value of its own dictionary the place in that of all.
#[derive(Debug)]
struct Part {
    keys: Int32Array,
    numbers: Vec<Option<u32>>,
}

impl Column {
    fn of(batches: &[RecordBatch], field: &Field) -> Result<Self> {
        let promoted = |batch: &RecordBatch| -> Result<Option<ArrayRef>> {
            let column = batch.column_by_name(field.name());
            let promoted = column.map(|column| promote(column, field.name(), field.data_type()));
            Ok(promoted.transpose()?)
        };
        match field.data_type() {
            DataType::Utf8 => {
                let text = |batch| {
                    let column = promoted(batch)?;
                    Ok(column.and_then(|column| column.as_string_opt::<i32>().cloned()))
                };
                let texts = batches.iter().map(text).collect::<Result<_>>()?;
                Ok(Self::Texts(Texts(texts)))
            }
            DataType::Dictionary(_, _) => {
                let columns = batches.iter().map(promoted).collect::<Result<Vec<_>>>()?;
                Ok(Self::Dictionary(Dictionary::of(&columns)))
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
}

impl Texts {
    /// A row's text.
    #[inline]
    pub(crate) fn get(&self, at: &Position) -> Option<&str> {
        let texts = self.0[at.batch as usize].as_ref()?;
        let row = at.row as usize;
        texts.is_valid(row).then(|| texts.value(row))
    }
}

impl Dictionary {
    fn of(columns: &[Option<ArrayRef>]) -> Self {
        let parts: Vec<_> = columns
            .iter()
            .map(|column| {
                let column = column.as_ref()?.as_dictionary_opt::<Int32Type>()?;
                Some((column.keys(), column.values().as_string_opt::<i32>()?))
            })
            .collect();
        let all = parts.iter().flatten().flat_map(|(_, values)| values.iter());
        let mut numbers: FxHashMap<&str, u32> = all.flatten().map(|value| (value, 0)).collect();
        let mut values: Vec<&str> = numbers.keys().copied().collect();
        values.sort_unstable();
        numbers.extend(values.iter().copied().zip(0..));
        let number = |value: Option<&str>| value.and_then(|value| numbers.get(value).copied());
        let part = |part: &Option<(&Int32Array, &StringArray)>| {
            let (keys, values) = (*part)?;
            Some(Part {
                keys: keys.clone(),
                numbers: values.iter().map(number).collect(),
            })
        };
        Self {
            parts: parts.iter().map(part).collect(),
            values: values.into_iter().map(str::to_owned).collect(),
        }
    }

    /// All values, in ascending order.
    pub(crate) fn values(&self) -> &[String] {
        &self.values
    }

    /// A row's text.
    pub(crate) fn get(&self, at: &Position) -> Option<&str> {
        self.key(at)
            .and_then(|key| self.values.get(key as usize))
            .map(String::as_str)
    }

    /// The place of a row's value among [`Dictionary::values`].
    #[inline]
    pub(crate) fn key(&self, at: &Position) -> Option<u32> {
        let part = self.parts[at.batch as usize].as_ref()?;
        let row = at.row as usize;
        if part.keys.is_null(row) {
            return None;
        }
        part.numbers
            .get(part.keys.values()[row] as usize)
            .copied()
            .flatten()
    }
}

/// Places as [`interleave`] takes them.
pub(crate) fn indices<'a>(rows: impl IntoIterator<Item = &'a Position>) -> Vec<(usize, usize)> {
    rows.into_iter()
        .map(|at| (at.batch as usize, at.row as usize))
        .collect()
}

/// Rows of a column that is no text, as one array.
pub(crate) fn gather(arrays: &[ArrayRef], rows: &[(usize, usize)]) -> Result<ArrayRef> {
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    interleave(&arrays, rows).map_err(|source: ArrowError| Error::Arrow {
        operation: "gathering rows",
        source,
    })
}

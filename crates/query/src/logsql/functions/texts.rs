//! Columns of any type as the texts that records show.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampNanosecondType, UInt64Type};
use arrow_array::{Array, ArrayRef, StringViewArray};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use datafusion::common::Result;
use logmill_lang::value;
use logmill_model::time;

/// A column of texts.
pub(crate) struct Texts {
    array: ArrayRef,
}

impl Texts {
    /// Of any column.
    pub(crate) fn new(column: &ArrayRef) -> Result<Self> {
        Ok(Self {
            array: as_texts(column)?,
        })
    }

    /// The column itself; rows without a value are null.
    pub(super) fn view(&self) -> &StringViewArray {
        self.array.as_string_view()
    }

    /// The text of a row; the empty one where there is no value.
    pub(crate) fn get(&self, row: usize) -> &str {
        let texts = self.view();
        if texts.is_null(row) {
            ""
        } else {
            texts.value(row)
        }
    }

    /// Whether a row certainly has the same text as the row before it, at the cost of comparing two integers.
    pub(crate) fn repeats(&self, row: usize) -> bool {
        let texts = self.view();
        let Some(before) = row.checked_sub(1) else {
            return false;
        };
        let views = texts.views();
        views[before] == views[row] && texts.is_null(before) == texts.is_null(row)
    }
}

/// The column as texts, `Utf8View`.
fn as_texts(column: &ArrayRef) -> Result<ArrayRef> {
    let rows = 0..column.len();
    let mut text = String::new();
    let mut texts = match column.data_type() {
        DataType::Utf8View => return Ok(column.clone()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Dictionary(_, _) | DataType::Null => {
            return Ok(cast(column, &DataType::Utf8View)?);
        }
        _ => StringViewBuilder::with_capacity(column.len()),
    };
    let mut append = |row: usize, write: &mut dyn FnMut(usize, &mut String)| {
        if column.is_null(row) {
            texts.append_null();
            return;
        }
        text.clear();
        write(row, &mut text);
        texts.append_value(&text);
    };
    match column.data_type() {
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>();
            rows.for_each(|row| append(row, &mut |row, out| write_i64(values.value(row), out)));
        }
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>();
            rows.for_each(|row| {
                append(row, &mut |row, out| {
                    out.push_str(&values.value(row).to_string());
                });
            });
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            rows.for_each(|row| {
                append(row, &mut |row, out| {
                    value::number::write_number(values.value(row), out);
                });
            });
        }
        DataType::Boolean => {
            let values = column.as_boolean();
            rows.for_each(|row| {
                append(row, &mut |row, out| {
                    out.push_str(if values.value(row) { "true" } else { "false" });
                });
            });
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = column.as_primitive::<TimestampNanosecondType>();
            rows.for_each(|row| append(row, &mut |row, out| write_time(values.value(row), out)));
        }
        _ => return Ok(cast(column, &DataType::Utf8View)?),
    }
    Ok(Arc::new(texts.finish()))
}

fn write_i64(number: i64, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn write_time(t_ns: i64, out: &mut String) {
    let mut bytes = Vec::with_capacity(32);
    time::format_rfc3339(t_ns, &mut bytes);
    out.push_str(&String::from_utf8_lossy(&bytes));
}

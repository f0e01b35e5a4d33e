//! Values as the texts that a record's JSON has, without the quotes.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, StringViewArray};
use arrow_schema::{DataType, TimeUnit};
use datafusion::common::{DataFusionError, Result};
use logmill_model::time::format_rfc3339;

/// A column of the table, its values as texts.
pub(super) enum Texts<'a> {
    Text(&'a StringViewArray),
    Boolean(&'a BooleanArray),
    Integer(&'a [i64]),
    Float(&'a [f64]),
    /// Nanoseconds.
    Timestamp(&'a [i64]),
}

impl<'a> Texts<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Utf8View => Self::Text(array.as_string_view()),
            DataType::Boolean => Self::Boolean(array.as_boolean()),
            DataType::Int64 => Self::Integer(array.as_primitive::<Int64Type>().values()),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().values()),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Self::Timestamp(array.as_primitive::<TimestampNanosecondType>().values())
            }
            other => {
                let problem = format!("a column of the table has the type {other}");
                return Err(DataFusionError::Internal(problem));
            }
        })
    }

    /// The text of a row that has a value.
    pub(super) fn text(&self, row: usize) -> Cow<'a, str> {
        match self {
            Self::Text(texts) => Cow::Borrowed(texts.value(row)),
            Self::Boolean(values) => {
                Cow::Borrowed(if values.value(row) { "true" } else { "false" })
            }
            Self::Integer(values) => Cow::Owned(values[row].to_string()),
            // By its shortest text, as JSON has it.
            Self::Float(values) => Cow::Owned(ryu::Buffer::new().format(values[row]).to_owned()),
            Self::Timestamp(values) => {
                let mut text = Vec::new();
                format_rfc3339(values[row], &mut text);
                Cow::Owned(String::from_utf8_lossy(&text).into_owned())
            }
        }
    }

    /// A number that equal values of a batch have in common, and others do not; the same text may be behind several.
    pub(super) fn key(&self, row: usize) -> u128 {
        match self {
            Self::Text(texts) => texts.views()[row],
            Self::Boolean(values) => u128::from(values.value(row)),
            Self::Integer(values) | Self::Timestamp(values) => {
                u128::from(values[row].cast_unsigned())
            }
            Self::Float(values) => u128::from(values[row].to_bits()),
        }
    }
}

/// The rows of a batch by their value: a row of each different one, and how many there are. Most rows are told apart by
/// their key alone; in a segment, equal values stand together and have one text.
pub(super) fn runs(array: &ArrayRef, texts: &Texts<'_>, mut found: impl FnMut(usize, u64)) {
    let nulls = array.logical_nulls();
    let mut counts: rustc_hash::FxHashMap<u128, (usize, u64)> = rustc_hash::FxHashMap::default();
    let mut last: Option<(u128, usize, u64)> = None;
    for row in 0..array.len() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            continue;
        }
        let key = texts.key(row);
        match &mut last {
            Some((known, _, count)) if *known == key => *count += 1,
            _ => {
                if let Some((key, row, count)) = last.replace((key, row, 1)) {
                    counts.entry(key).or_insert((row, 0)).1 += count;
                }
            }
        }
    }
    if let Some((key, row, count)) = last {
        counts.entry(key).or_insert((row, 0)).1 += count;
    }
    for (row, count) in counts.into_values() {
        found(row, count);
    }
}

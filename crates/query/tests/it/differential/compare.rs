//! Whether two answers are the same, as far as the language says what they are.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampNanosecondType, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use logmill_interpreter::Row;
use logmill_lang::value::number::format_number;
use logmill_lang::value::time::format_time;
use logmill_lang::value::{json, logfmt};
use logmill_model::field;

/// The rows of a batch, as texts.
pub(crate) fn rows(batch: &RecordBatch) -> Vec<Row> {
    let mut rows = vec![Row::new(); batch.num_rows()];
    for (name, column) in batch.schema().fields().iter().zip(batch.columns()) {
        for (index, row) in rows.iter_mut().enumerate() {
            let text = text(column, index);
            if name.name() == field::OVERFLOW {
                let members = json::flatten(&text).into_iter().flatten();
                for (name, value) in members.filter(|(_, value)| !value.is_empty()) {
                    row.entry(name.into_owned()).or_insert(value.into_owned());
                }
            } else if !text.is_empty() {
                row.insert(name.name().clone(), text);
            }
        }
    }
    rows
}

fn text(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Float64 => format_number(column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Timestamp(..) => {
            let nanoseconds = arrow_cast::cast(
                column,
                &DataType::Timestamp(arrow_schema::TimeUnit::Nanosecond, Some("UTC".into())),
            );
            let nanoseconds = nanoseconds.unwrap();
            format_time(
                nanoseconds
                    .as_primitive::<TimestampNanosecondType>()
                    .value(row),
            )
        }
        _ => {
            let text = arrow_cast::cast(column, &DataType::Utf8).unwrap();
            let text: Arc<dyn Array> = text;
            text.as_string::<i32>().value(row).to_owned()
        }
    }
}

/// What differs between two answers whose rows may be in any order; `None` when nothing does. Rows without a value are in
/// no answer.
pub(crate) fn difference(found: &[Row], expected: &[Row]) -> Option<String> {
    let present = |row: &&Row| !row.is_empty();
    let mut found: Vec<&Row> = found.iter().filter(present).collect();
    let mut missing = Vec::new();
    for row in expected.iter().filter(present) {
        match found.iter().position(|other| same(other, row)) {
            Some(index) => {
                found.swap_remove(index);
            }
            None => missing.push(row),
        }
    }
    if missing.is_empty() && found.is_empty() {
        return None;
    }
    let some = |rows: &[&Row]| {
        let rows: Vec<String> = rows
            .iter()
            .take(3)
            .map(|row| format!("  {row:?}"))
            .collect();
        rows.join("\n")
    };
    Some(format!(
        "{} rows are missing, such as\n{}\n{} rows are too many, such as\n{}",
        missing.len(),
        some(&missing),
        found.len(),
        some(&found)
    ))
}

fn same(left: &Row, right: &Row) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|((name, left), (other, right))| name == other && same_value(left, right))
}

/// Numbers may differ in their last digits; lists in their order, and packed records in that of their fields.
fn same_value(left: &str, right: &str) -> bool {
    if left == right {
        return true;
    }
    if let (Ok(left), Ok(right)) = (left.parse::<f64>(), right.parse::<f64>()) {
        return (left - right).abs() <= 1e-9 * left.abs().max(right.abs());
    }
    sorted(left) == sorted(right)
}

/// A long number without its last digits; other texts as they are.
fn rounded(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && text.len() > 9 => format!("{number:.9e}"),
        _ => text.to_owned(),
    }
}

/// A text with the parts of lists, objects and logfmt lines in order.
fn sorted(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = if let Some(items) = json::array_items(text) {
        items.iter().map(|item| sorted(item).join(" ")).collect()
    } else if let Some(fields) = json::flatten(text) {
        fields
            .iter()
            .map(|(name, value)| format!("{name}: {}", rounded(value)))
            .collect()
    } else {
        let fields = logfmt::parse(text).into_iter();
        fields
            .map(|(name, value)| format!("{name}={}", rounded(&value)))
            .collect()
    };
    parts.sort_unstable();
    parts
}

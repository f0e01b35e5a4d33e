//! Answers as text: records and rows of Arrow batches as JSON, CSV and Arrow IPC.
//!
//! Columns are prepared once a batch, then rows are written without a value tree.

mod texts;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, Float32Array, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use logmill_model::json::write_string;
use logmill_model::{field, time};

pub use texts::TextObject;

/// A column whose values can be written as JSON, one row at a time.
enum Column<'a> {
    Text(TextColumn<'a>),
    Boolean(&'a arrow_array::BooleanArray),
    Integer(Box<dyn Fn(usize) -> i64 + 'a>),
    Unsigned(Box<dyn Fn(usize) -> u64 + 'a>),
    Float(Box<dyn Fn(usize) -> f64 + 'a>),
    /// Nanoseconds.
    Timestamp(Box<dyn Fn(usize) -> Option<i64> + 'a>),
    Display(ArrayFormatter<'a>),
    Null,
}

enum TextColumn<'a> {
    Plain(&'a StringArray),
    View(&'a arrow_array::StringViewArray),
    Large(&'a arrow_array::LargeStringArray),
}

impl TextColumn<'_> {
    fn value(&self, row: usize) -> &str {
        match self {
            Self::Plain(array) => array.value(row),
            Self::View(array) => array.value(row),
            Self::Large(array) => array.value(row),
        }
    }
}

/// A batch ready to be written.
pub struct Renderer<'a> {
    columns: Vec<(&'a str, Vec<u8>, &'a ArrayRef, Column<'a>)>,
}

/// Dictionaries become plain, so that every column can be read by row.
pub fn plain(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (old, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let column = match column.data_type() {
            DataType::Dictionary(_, value) => cast(column, value)?,
            _ => column.clone(),
        };
        let data_type = column.data_type().clone();
        fields.push(arrow_schema::Field::new(old.name(), data_type, true));
        columns.push(column);
    }
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = std::sync::Arc::new(arrow_schema::Schema::new(fields));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

impl<'a> Renderer<'a> {
    /// Prepares a batch that [`plain`] made.
    pub fn new(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let fields = batch.schema_ref().fields();
        let columns = fields.iter().zip(batch.columns()).map(|(field, array)| {
            let mut key = Vec::new();
            write_string(field.name(), &mut key);
            key.push(b':');
            Ok((field.name().as_str(), key, array, column(array)?))
        });
        Ok(Self {
            columns: columns.collect::<Result<_, ArrowError>>()?,
        })
    }

    /// Appends a row as a JSON object of the fields that have a value; the members of the overflow column stand beside
    /// the others.
    pub fn write_record(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        for (name, key, array, column) in &self.columns {
            if array.is_null(row) || matches!(column, Column::Null) {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            match column {
                Column::Text(texts) if *name == field::OVERFLOW => {
                    let object = texts.value(row);
                    let members = object
                        .strip_prefix('{')
                        .and_then(|rest| rest.strip_suffix('}'));
                    match members {
                        Some(members) if !members.is_empty() => {
                            out.extend_from_slice(members.as_bytes());
                        }
                        // Not an object of ours: shown as the text it is.
                        _ => {
                            out.extend_from_slice(key);
                            write_string(object, out);
                        }
                    }
                }
                _ => {
                    out.extend_from_slice(key);
                    write_value(column, row, out);
                }
            }
        }
        out.push(b'}');
    }

    /// Appends a row as a JSON array.
    pub fn write_row(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, (_, _, array, column)) in self.columns.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            if array.is_null(row) {
                out.extend_from_slice(b"null");
            } else {
                write_value(column, row, out);
            }
        }
        out.push(b']');
    }
}

macro_rules! numbers {
    ($kind:ident, $array:expr, $type:ty) => {{
        let values = $array.as_primitive::<$type>().values();
        Column::$kind(Box::new(move |row| values[row].into()))
    }};
}

fn column(array: &ArrayRef) -> Result<Column<'_>, ArrowError> {
    Ok(match array.data_type() {
        DataType::Null => Column::Null,
        DataType::Utf8 => Column::Text(TextColumn::Plain(array.as_string())),
        DataType::Utf8View => Column::Text(TextColumn::View(array.as_string_view())),
        DataType::LargeUtf8 => Column::Text(TextColumn::Large(array.as_string())),
        DataType::Boolean => Column::Boolean(array.as_boolean()),
        DataType::Int8 => numbers!(Integer, array, Int8Type),
        DataType::Int16 => numbers!(Integer, array, Int16Type),
        DataType::Int32 => numbers!(Integer, array, Int32Type),
        DataType::Int64 => numbers!(Integer, array, Int64Type),
        DataType::UInt8 => numbers!(Unsigned, array, UInt8Type),
        DataType::UInt16 => numbers!(Unsigned, array, UInt16Type),
        DataType::UInt32 => numbers!(Unsigned, array, UInt32Type),
        DataType::UInt64 => numbers!(Unsigned, array, UInt64Type),
        DataType::Float32 => {
            let values: &Float32Array = array.as_primitive();
            // By its shortest text, so that 0.1 does not become 0.10000000149011612.
            Column::Float(Box::new(move |row| {
                ryu::Buffer::new()
                    .format(values.value(row))
                    .parse()
                    .unwrap_or(f64::NAN)
            }))
        }
        DataType::Float64 => numbers!(Float, array, Float64Type),
        DataType::Timestamp(unit, _) => timestamps(array, *unit),
        _ => Column::Display(ArrayFormatter::try_new(array.as_ref(), &DISPLAY)?),
    })
}

const DISPLAY: FormatOptions<'static> = FormatOptions::new();

fn timestamps(array: &ArrayRef, unit: TimeUnit) -> Column<'_> {
    let (values, scale) = match unit {
        TimeUnit::Second => (
            array.as_primitive::<TimestampSecondType>().values(),
            1_000_000_000,
        ),
        TimeUnit::Millisecond => (
            array.as_primitive::<TimestampMillisecondType>().values(),
            1_000_000,
        ),
        TimeUnit::Microsecond => (
            array.as_primitive::<TimestampMicrosecondType>().values(),
            1_000,
        ),
        TimeUnit::Nanosecond => (array.as_primitive::<TimestampNanosecondType>().values(), 1),
    };
    Column::Timestamp(Box::new(move |row| values[row].checked_mul(scale)))
}

fn write_value(column: &Column<'_>, row: usize, out: &mut Vec<u8>) {
    match column {
        Column::Text(texts) => write_string(texts.value(row), out),
        Column::Boolean(values) => {
            out.extend_from_slice(if values.value(row) { b"true" } else { b"false" });
        }
        Column::Integer(value) => {
            out.extend_from_slice(itoa::Buffer::new().format(value(row)).as_bytes());
        }
        Column::Unsigned(value) => {
            out.extend_from_slice(itoa::Buffer::new().format(value(row)).as_bytes());
        }
        Column::Float(value) => write_float(value(row), out),
        Column::Timestamp(value) => match value(row) {
            Some(t_ns) => {
                out.push(b'"');
                time::format_rfc3339(t_ns, out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        },
        Column::Display(formatter) => write_string(&formatter.value(row).to_string(), out),
        Column::Null => out.extend_from_slice(b"null"),
    }
}

/// JSON has no NaN and no infinity.
fn write_float(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends a batch's rows as CSV (RFC 4180), times as RFC 3339; a header first when `header` is true.
pub fn write_csv(batch: &RecordBatch, header: bool, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let mut writer = arrow_csv::WriterBuilder::new()
        .with_header(header)
        .build(out);
    writer.write(&times_as_text(&plain(batch)?)?)
}

/// The batch with its times as RFC 3339 text.
fn times_as_text(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (old, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let array: ArrayRef = match column(array)? {
            Column::Timestamp(value) => {
                let text = |row| {
                    let mut text = Vec::new();
                    time::format_rfc3339(value(row)?, &mut text);
                    String::from_utf8(text).ok()
                };
                let rows = 0..batch.num_rows();
                std::sync::Arc::new(StringArray::from_iter(
                    rows.map(|row| if array.is_null(row) { None } else { text(row) }),
                ))
            }
            _ => array.clone(),
        };
        fields.push(arrow_schema::Field::new(
            old.name(),
            array.data_type().clone(),
            true,
        ));
        columns.push(array);
    }
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let schema = std::sync::Arc::new(arrow_schema::Schema::new(fields));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BooleanArray, DictionaryArray, Float64Array, Int64Array, StringViewArray,
        TimestampNanosecondArray,
    };
    use arrow_schema::{Field, Schema};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let field =
            |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), true);
        let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
        let columns = columns.into_iter().map(|(_, array)| array).collect();
        plain(&RecordBatch::try_new(Arc::new(schema), columns).unwrap()).unwrap()
    }

    fn records(batch: &RecordBatch) -> Vec<Value> {
        let renderer = Renderer::new(batch).unwrap();
        let record = |row| {
            let mut out = Vec::new();
            renderer.write_record(row, &mut out);
            serde_json::from_slice(&out).unwrap()
        };
        (0..batch.num_rows()).map(record).collect()
    }

    #[test]
    fn records_have_what_has_a_value() {
        let services: DictionaryArray<Int32Type> = vec![Some("a"), None].into_iter().collect();
        let times = TimestampNanosecondArray::from(vec![0, 1_500_000_000]).with_timezone("UTC");
        let overflow = StringArray::from(vec![Some(r#"{"x":{"y":1},"z":"q"}"#), None]);
        let source = batch(vec![
            ("timestamp", Arc::new(times)),
            ("service", Arc::new(services)),
            ("id", Arc::new(Int64Array::from(vec![Some(i64::MAX), None]))),
            ("f", Arc::new(Float64Array::from(vec![f64::NAN, 2.0]))),
            ("ok", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("_overflow", Arc::new(overflow)),
        ]);
        let expected = [
            json!({"timestamp": "1970-01-01T00:00:00Z", "service": "a", "id": i64::MAX, "f": null, "ok": true,
                   "x": {"y": 1}, "z": "q"}),
            json!({"timestamp": "1970-01-01T00:00:01.500Z", "f": 2.0}),
        ];
        assert_eq!(records(&source), expected);
        let mut row = Vec::new();
        Renderer::new(&source).unwrap().write_row(1, &mut row);
        let row: Value = serde_json::from_slice(&row).unwrap();
        assert_eq!(
            row,
            json!(["1970-01-01T00:00:01.500Z", null, null, 2.0, null, null])
        );
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let times = TimestampNanosecondArray::from(vec![Some(0), None]).with_timezone("UTC");
        let texts = StringViewArray::from(vec![Some("a \"b\", c"), None]);
        let source = batch(vec![("t", Arc::new(times)), ("m", Arc::new(texts))]);
        let mut out = Vec::new();
        write_csv(&source, true, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "t,m\n1970-01-01T00:00:00Z,\"a \"\"b\"\", c\"\n,\n");
    }

    proptest! {
        #[test]
        fn texts_and_numbers_are_the_json_they_should_be(
            text in prop::option::of("\\PC{0,9}|[\\x00-\\x2f\\\\]{0,9}"),
            number in prop::option::of(any::<f64>()),
            integer in any::<i64>(),
        ) {
            let source = batch(vec![
                ("t\"x", Arc::new(StringArray::from(vec![text.as_deref()]))),
                ("n", Arc::new(Float64Array::from(vec![number]))),
                ("i", Arc::new(Int64Array::from(vec![integer]))),
            ]);
            let found = &records(&source)[0];
            prop_assert_eq!(found["i"].as_i64(), Some(integer));
            prop_assert_eq!(found["t\"x"].as_str(), text.as_deref());
            prop_assert_eq!(found["n"].as_f64(), number.filter(|n| n.is_finite()));
        }
    }
}

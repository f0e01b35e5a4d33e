//! Rows of Arrow batches as `DataRow` messages.
//!
//! | field | bytes | |
//! |---|---|---|
//! | type | 1 | `D` |
//! | length | 4 | of all that follows and itself |
//! | columns | 2 | |
//! | value | 4 + n each | length (-1: null) and bytes, as text or in the type's binary format |
//!
//! Columns are prepared once a batch; rows are then written into the connection's buffer without a value tree.

use std::fmt::Write;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use bytes::{BufMut, BytesMut};
use logmill_model::time;
use logmill_query_api::render::plain;
use pgwire::api::Type;

use crate::{numeric, types};

/// Microseconds from the epoch to 2000-01-01, where PostgreSQL's times begin.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
/// The same in days.
const POSTGRES_EPOCH_DAYS: i32 = 10_957;

/// A column of an answer, as it was described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Type,
}

/// The values of a column of a batch, by row.
enum Values<'a> {
    Text(Box<dyn Fn(usize) -> &'a str + 'a>),
    Bytes(Box<dyn Fn(usize) -> &'a [u8] + 'a>),
    Boolean(&'a arrow_array::BooleanArray),
    Int2(Box<dyn Fn(usize) -> i16 + 'a>),
    Int4(Box<dyn Fn(usize) -> i32 + 'a>),
    Int8(Box<dyn Fn(usize) -> i64 + 'a>),
    Float4(&'a [f32]),
    Float8(&'a [f64]),
    /// Microseconds since the epoch, and whether they are of a zone.
    Time(Box<dyn Fn(usize) -> i64 + 'a>, bool),
    /// Days since the epoch.
    Date(&'a [i32]),
    Numeric(ArrayFormatter<'a>),
    Display(ArrayFormatter<'a>),
    Null,
}

const DISPLAY: FormatOptions<'static> = FormatOptions::new();

/// A batch ready to be written.
pub(crate) struct Rows {
    batch: RecordBatch,
}

impl Rows {
    /// Brings a batch to the types that were described.
    pub(crate) fn new(batch: &RecordBatch, columns: &[Column]) -> Result<Self, ArrowError> {
        let mut batch = plain(batch)?;
        for (index, column) in columns.iter().enumerate() {
            let array = batch.column(index);
            // A statement that was described before the values of its parameters were known.
            if types::of_arrow(array.data_type()) != column.kind {
                let target = types::to_arrow(&column.kind).unwrap_or(DataType::Utf8View);
                let array = cast(array, &target)?;
                let mut arrays = batch.columns().to_vec();
                let mut fields = batch.schema_ref().fields().to_vec();
                let field = fields[index].as_ref().clone().with_data_type(target);
                fields[index] = field.into();
                arrays[index] = array;
                batch = RecordBatch::try_new(arrow_schema::Schema::new(fields).into(), arrays)?;
            }
        }
        Ok(Self { batch })
    }

    pub(crate) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Appends some of the rows, until `enough_bytes` are there; how many. `binary` says for each column how.
    pub(crate) fn write(
        &self,
        rows: Range<usize>,
        binary: &[bool],
        enough_bytes: usize,
        out: &mut BytesMut,
    ) -> Result<usize, ArrowError> {
        let values = self.batch.columns().iter().map(values);
        let values: Vec<_> = values.collect::<Result<_, _>>()?;
        let count = i16::try_from(values.len())
            .map_err(|_many| ArrowError::InvalidArgumentError("too many columns".to_owned()))?;
        let first = rows.start;
        for row in rows.clone() {
            if out.len() >= enough_bytes {
                return Ok(row - first);
            }
            out.put_u8(b'D');
            let begin = out.len();
            out.put_i32(0);
            out.put_i16(count);
            for ((array, values), binary) in self.batch.columns().iter().zip(&values).zip(binary) {
                let at = out.len();
                out.put_i32(-1);
                if array.is_null(row) || matches!(values, Values::Null) {
                    continue;
                }
                if *binary {
                    values.write_binary(row, out);
                } else {
                    values.write_text(row, out);
                }
                put_length(out, at, at + 4)?;
            }
            put_length(out, begin, begin)?;
        }
        Ok(rows.len())
    }
}

/// Writes at `at` how long what follows `from` is.
fn put_length(out: &mut BytesMut, at: usize, from: usize) -> Result<(), ArrowError> {
    let length = i32::try_from(out.len() - from)
        .map_err(|_long| ArrowError::InvalidArgumentError("a row is too long".to_owned()))?;
    if let Some(mut place) = out.get_mut(at..at + 4) {
        place.put_i32(length);
    }
    Ok(())
}

macro_rules! numbers {
    ($kind:ident, $array:expr, $type:ty) => {{
        let values = $array.as_primitive::<$type>().values();
        Values::$kind(Box::new(move |row| values[row].into()))
    }};
}

fn values(array: &ArrayRef) -> Result<Values<'_>, ArrowError> {
    Ok(match array.data_type() {
        DataType::Null => Values::Null,
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            Values::Text(Box::new(|row| texts.value(row)))
        }
        DataType::LargeUtf8 => {
            let texts = array.as_string::<i64>();
            Values::Text(Box::new(|row| texts.value(row)))
        }
        DataType::Utf8View => {
            let texts = array.as_string_view();
            Values::Text(Box::new(|row| texts.value(row)))
        }
        DataType::Binary => {
            let bytes = array.as_binary::<i32>();
            Values::Bytes(Box::new(|row| bytes.value(row)))
        }
        DataType::LargeBinary => {
            let bytes = array.as_binary::<i64>();
            Values::Bytes(Box::new(|row| bytes.value(row)))
        }
        DataType::BinaryView => {
            let bytes = array.as_binary_view();
            Values::Bytes(Box::new(|row| bytes.value(row)))
        }
        DataType::Boolean => Values::Boolean(array.as_boolean()),
        DataType::Int8 => numbers!(Int2, array, Int8Type),
        DataType::Int16 => numbers!(Int2, array, Int16Type),
        DataType::UInt8 => numbers!(Int2, array, UInt8Type),
        DataType::Int32 => numbers!(Int4, array, Int32Type),
        DataType::UInt16 => numbers!(Int4, array, UInt16Type),
        DataType::Int64 => numbers!(Int8, array, Int64Type),
        DataType::UInt32 => numbers!(Int8, array, UInt32Type),
        DataType::Float32 => Values::Float4(array.as_primitive::<Float32Type>().values()),
        DataType::Float64 => Values::Float8(array.as_primitive::<Float64Type>().values()),
        DataType::Timestamp(unit, zone) => times(array, *unit, zone.is_some()),
        DataType::Date32 => Values::Date(array.as_primitive::<Date32Type>().values()),
        DataType::UInt64 | DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => {
            Values::Numeric(ArrayFormatter::try_new(array, &DISPLAY)?)
        }
        _ => Values::Display(ArrayFormatter::try_new(array, &DISPLAY)?),
    })
}

/// What PostgreSQL's microseconds cannot hold of a time is cut off.
fn times(array: &ArrayRef, unit: TimeUnit, zoned: bool) -> Values<'_> {
    let micros: Box<dyn Fn(usize) -> i64> = match unit {
        TimeUnit::Second => {
            let values = array.as_primitive::<TimestampSecondType>().values();
            Box::new(|row| values[row].saturating_mul(1_000_000))
        }
        TimeUnit::Millisecond => {
            let values = array.as_primitive::<TimestampMillisecondType>().values();
            Box::new(|row| values[row].saturating_mul(1_000))
        }
        TimeUnit::Microsecond => {
            let values = array.as_primitive::<TimestampMicrosecondType>().values();
            Box::new(|row| values[row])
        }
        TimeUnit::Nanosecond => {
            let values = array.as_primitive::<TimestampNanosecondType>().values();
            Box::new(|row| values[row].div_euclid(1_000))
        }
    };
    Values::Time(micros, zoned)
}

impl Values<'_> {
    fn write_binary(&self, row: usize, out: &mut BytesMut) {
        match self {
            Self::Text(text) => out.put_slice(text(row).as_bytes()),
            Self::Bytes(bytes) => out.put_slice(bytes(row)),
            Self::Boolean(values) => out.put_u8(u8::from(values.value(row))),
            Self::Int2(value) => out.put_i16(value(row)),
            Self::Int4(value) => out.put_i32(value(row)),
            Self::Int8(value) => out.put_i64(value(row)),
            Self::Float4(values) => out.put_f32(values[row]),
            Self::Float8(values) => out.put_f64(values[row]),
            Self::Time(micros, _) => out.put_i64(micros(row).saturating_sub(POSTGRES_EPOCH_US)),
            Self::Date(days) => out.put_i32(days[row].saturating_sub(POSTGRES_EPOCH_DAYS)),
            Self::Numeric(number) => numeric::encode(&number.value(row).to_string(), out),
            Self::Display(text) => out.put_slice(text.value(row).to_string().as_bytes()),
            Self::Null => {}
        }
    }

    fn write_text(&self, row: usize, out: &mut BytesMut) {
        match self {
            Self::Boolean(values) => out.put_u8(if values.value(row) { b't' } else { b'f' }),
            Self::Int2(value) => put_integer(value(row), out),
            Self::Int4(value) => put_integer(value(row), out),
            Self::Int8(value) => put_integer(value(row), out),
            Self::Float4(values) => put_float(values[row], out),
            Self::Float8(values) => put_float(values[row], out),
            Self::Time(micros, zoned) => put_time(micros(row), *zoned, out),
            Self::Date(days) => put_date(days[row], out),
            Self::Bytes(bytes) => {
                out.put_slice(b"\\x");
                for byte in bytes(row) {
                    put_display(format_args!("{byte:02x}"), out);
                }
            }
            Self::Numeric(number) => put_display(number.value(row), out),
            Self::Text(_) | Self::Display(_) | Self::Null => self.write_binary(row, out),
        }
    }
}

fn put_integer(value: impl itoa::Integer, out: &mut BytesMut) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// As PostgreSQL writes them: `1` and not `1.0`, `Infinity`, `NaN`.
fn put_float(value: impl ryu::Float + Into<f64>, out: &mut BytesMut) {
    let mut buffer = ryu::Buffer::new();
    let text = match value.into() {
        wide if wide.is_finite() => {
            let text = buffer.format(value);
            text.strip_suffix(".0").unwrap_or(text)
        }
        wide if wide.is_nan() => "NaN",
        wide if wide > 0.0 => "Infinity",
        _ => "-Infinity",
    };
    out.put_slice(text.as_bytes());
}

fn put_display(value: impl std::fmt::Display, out: &mut BytesMut) {
    // A buffer in memory takes what it is given.
    let _ = write!(out, "{value}");
}

/// `2026-11-20 10:00:00.5+00`
fn put_time(micros: i64, zoned: bool, out: &mut BytesMut) {
    let mut text = Vec::with_capacity(32);
    time::format_rfc3339(micros.saturating_mul(1_000), &mut text);
    let text = text.strip_suffix(b"Z").unwrap_or(&text);
    let (date, clock) = text
        .split_at_checked("2026-11-20".len())
        .unwrap_or((text, b""));
    out.put_slice(date);
    out.put_u8(b' ');
    out.put_slice(clock.get(1..).unwrap_or_default());
    if zoned {
        out.put_slice(b"+00");
    }
}

fn put_date(days: i32, out: &mut BytesMut) {
    const DAY_NS: i64 = 86_400_000_000_000;
    let mut text = Vec::with_capacity(32);
    time::format_rfc3339(i64::from(days).saturating_mul(DAY_NS), &mut text);
    out.put_slice(text.split(|byte| *byte == b'T').next().unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BooleanArray, Date32Array, DictionaryArray, Float64Array, Int64Array, StringViewArray,
        TimestampNanosecondArray, UInt64Array,
    };
    use bytes::Buf;

    use super::*;

    fn batch() -> RecordBatch {
        let times = TimestampNanosecondArray::from(vec![Some(1_795_132_800_123_456_789), None]);
        let services: DictionaryArray<Int32Type> = vec![Some("pay"), None].into_iter().collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("t", Arc::new(times.with_timezone("UTC"))),
            ("s", Arc::new(services)),
            (
                "m",
                Arc::new(StringViewArray::from(vec![Some("grüße"), Some("")])),
            ),
            ("i", Arc::new(Int64Array::from(vec![Some(-7), None]))),
            ("u", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
            (
                "f",
                Arc::new(Float64Array::from(vec![Some(2.0), Some(f64::NAN)])),
            ),
            (
                "b",
                Arc::new(BooleanArray::from(vec![Some(true), Some(false)])),
            ),
            ("d", Arc::new(Date32Array::from(vec![Some(0), None]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
            .unwrap()
    }

    fn columns(batch: &RecordBatch) -> Vec<Column> {
        let column = |field: &Arc<arrow_schema::Field>| Column {
            name: field.name().clone(),
            kind: types::of_arrow(field.data_type()),
        };
        batch.schema().fields().iter().map(column).collect()
    }

    /// The values of the rows, from the messages.
    fn read(mut bytes: &[u8]) -> Vec<Vec<Option<Vec<u8>>>> {
        let mut rows = Vec::new();
        while bytes.has_remaining() {
            assert_eq!(bytes.get_u8(), b'D');
            let length = usize::try_from(bytes.get_i32()).unwrap();
            let (mut row, rest) = bytes.split_at(length - 4);
            bytes = rest;
            let count = row.get_i16();
            let values = (0..count).map(|_column| {
                let length = usize::try_from(row.get_i32()).ok()?;
                let (value, rest) = row.split_at(length);
                row = rest;
                Some(value.to_vec())
            });
            rows.push(values.collect());
            assert!(row.is_empty());
        }
        rows
    }

    #[test]
    fn text_is_as_postgres_writes_it() {
        let batch = batch();
        let mut out = BytesMut::new();
        let rows = Rows::new(&batch, &columns(&batch)).unwrap();
        rows.write(0..2, &[false; 8], usize::MAX, &mut out).unwrap();
        let read = read(&out);
        let text = |row: usize| -> Vec<Option<String>> {
            let values = read[row].iter().cloned();
            values
                .map(|v| v.map(|v| String::from_utf8(v).unwrap()))
                .collect()
        };
        let first = [
            "2026-11-20 00:00:00.123456+00",
            "pay",
            "grüße",
            "-7",
            "18446744073709551615",
            "2",
            "t",
            "1970-01-01",
        ];
        assert_eq!(text(0), first.map(|value| Some(value.to_owned())));
        let second = [
            None,
            None,
            Some(""),
            None,
            None,
            Some("NaN"),
            Some("f"),
            None,
        ];
        assert_eq!(text(1), second.map(|value| value.map(str::to_owned)));
    }

    #[test]
    fn binary_is_as_postgres_writes_it() {
        let batch = batch();
        let mut out = BytesMut::new();
        let rows = Rows::new(&batch, &columns(&batch)).unwrap();
        rows.write(0..1, &[true; 8], usize::MAX, &mut out).unwrap();
        let row = &read(&out)[0];
        let value = |index: usize| row[index].as_deref().unwrap();
        assert_eq!(
            value(0),
            (1_795_132_800_123_456 - POSTGRES_EPOCH_US).to_be_bytes()
        );
        assert_eq!(value(1), b"pay");
        assert_eq!(value(3), (-7_i64).to_be_bytes());
        assert_eq!(
            numeric::decode(value(4)).as_deref(),
            Some("18446744073709551615")
        );
        assert_eq!(value(5), 2.0_f64.to_be_bytes());
        assert_eq!(value(6), [1]);
        assert_eq!(value(7), (-POSTGRES_EPOCH_DAYS).to_be_bytes());
    }

    #[test]
    fn a_column_is_sent_as_it_was_described() {
        let batch = batch();
        let mut described = columns(&batch);
        described[3].kind = Type::TEXT;
        let mut out = BytesMut::new();
        let rows = Rows::new(&batch, &described).unwrap();
        rows.write(0..1, &[true; 8], usize::MAX, &mut out).unwrap();
        assert_eq!(read(&out)[0][3].as_deref(), Some(&b"-7"[..]));
    }
}

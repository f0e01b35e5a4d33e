//! Rows of the table as batches.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringViewBuilder, TimestampNanosecondBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, SchemaRef};
use logmill_catalog::{RowColumn, RowKey};
use rustc_hash::FxHashMap;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::row_column;
use crate::{Error, Result};

/// What begins COPY's binary format, but for the length of an extension that nobody uses.
const HEADER_BYTES: usize = 19;
/// A batch is full at so many rows, or bytes as they came.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: usize = 4 << 20;

/// Turns what a reading sends into batches of a schema whose text columns are `Utf8View`.
#[derive(Debug)]
pub struct RowDecoder {
    schema: SchemaRef,
    columns: Vec<RowColumn>,
    /// The schema's column for each of the table's that has one.
    targets: Vec<Option<usize>>,
    attributes: FxHashMap<String, usize>,
    builders: Vec<Builder>,
    with_keys: bool,
    keys: Vec<RowKey>,
    buffer: Vec<u8>,
    position: usize,
    begun: bool,
    ended: bool,
    rows: usize,
    bytes: usize,
}

/// Values of one column.
#[derive(Debug)]
enum Builder {
    Time(TimestampNanosecondBuilder),
    Text(StringViewBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Boolean(BooleanBuilder),
}

/// A value of a row.
#[derive(Debug)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

impl RowDecoder {
    /// A decoder of rows that have [`RowDecoder::columns`]; `with_keys` for those that a deletion reads.
    pub fn new(schema: SchemaRef, with_keys: bool) -> Result<Self> {
        let (mut columns, mut targets) = (Vec::new(), Vec::new());
        let (mut attributes, mut builders) = (FxHashMap::default(), Vec::new());
        let mut has_text = false;
        for (index, field) in schema.fields().iter().enumerate() {
            let builder = Builder::of(field.data_type())?;
            has_text |= matches!(builder, Builder::Text(_));
            builders.push(builder);
            match row_column(field.name()) {
                Some(column) => {
                    columns.push(column);
                    targets.push(Some(index));
                }
                None => {
                    attributes.insert(field.name().clone(), index);
                }
            }
        }
        if !attributes.is_empty() {
            columns.push(RowColumn::Attributes);
            targets.push(None);
        }
        if has_text || !attributes.is_empty() {
            columns.push(RowColumn::Exact);
            targets.push(None);
        }
        Ok(Self {
            schema,
            columns,
            targets,
            attributes,
            builders,
            with_keys,
            keys: Vec::new(),
            buffer: Vec::new(),
            position: 0,
            begun: false,
            ended: false,
            rows: 0,
            bytes: 0,
        })
    }

    /// The table's columns that are to be read.
    pub fn columns(&self) -> &[RowColumn] {
        &self.columns
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.position);
        self.position = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next full batch of what was pushed, and the keys of its rows; with `rest` also one that is not full. `None` when
    /// there is none.
    pub fn next(&mut self, rest: bool) -> Result<Option<(RecordBatch, Vec<RowKey>)>> {
        while self.rows < BATCH_ROWS && self.bytes < BATCH_BYTES {
            let Some(fields) = self.next_row()? else {
                break;
            };
            self.decode(&fields)?;
        }
        let is_full = self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES;
        if self.rows == 0 || !(is_full || rest) {
            return Ok(None);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        let batch = batch.map_err(|error| Error::Row(error.to_string()))?;
        Ok(Some((batch, std::mem::take(&mut self.keys))))
    }

    /// Whether everything came that was sent.
    pub fn is_complete(&self) -> bool {
        self.ended
    }

    /// The places of the next row's fields in the buffer, if all of it is there.
    fn next_row(&mut self) -> Result<Option<Vec<Option<Range<usize>>>>> {
        if !self.begun {
            if self.buffer.len() < self.position + HEADER_BYTES {
                return Ok(None);
            }
            self.position += HEADER_BYTES;
            self.begun = true;
        }
        let mut at = self.position;
        let Some(count) = self.take(&mut at, 2) else {
            return Ok(None);
        };
        let count = i16::from_be_bytes(fixed(&self.buffer[count])?);
        let Ok(count) = usize::try_from(count) else {
            self.ended = true;
            return Ok(None);
        };
        let mut fields = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(length) = self.take(&mut at, 4) else {
                return Ok(None);
            };
            let length = i32::from_be_bytes(fixed(&self.buffer[length])?);
            match usize::try_from(length) {
                Ok(length) => match self.take(&mut at, length) {
                    Some(field) => fields.push(Some(field)),
                    None => return Ok(None),
                },
                Err(_null) => fields.push(None),
            }
        }
        self.bytes += at - self.position;
        self.position = at;
        Ok(Some(fields))
    }

    fn take(&self, at: &mut usize, length: usize) -> Option<Range<usize>> {
        let range = *at..at.checked_add(length)?;
        if range.end > self.buffer.len() {
            return None;
        }
        *at = range.end;
        Some(range)
    }

    fn decode(&mut self, fields: &[Option<Range<usize>>]) -> Result<()> {
        let keys = if self.with_keys { 2 } else { 0 };
        if fields.len() != keys + self.columns.len() {
            let problem = format!("{} fields", fields.len());
            return Err(Error::Row(problem));
        }
        let bytes = |field: &Option<Range<usize>>| field.clone().map(|field| &self.buffer[field]);
        if let (true, [Some(table), Some(place), ..]) = (self.with_keys, fields) {
            let place: [u8; 6] = fixed(&self.buffer[place.clone()])?;
            self.keys.push(RowKey {
                table: u32::from_be_bytes(fixed(&self.buffer[table.clone()])?),
                block: u32::from_be_bytes(fixed(&place[..4])?),
                row: u16::from_be_bytes(fixed(&place[4..])?),
            });
        }
        let mut values: Vec<Option<Value<'_>>> = Vec::new();
        values.resize_with(self.builders.len(), || None);
        let columns = self.columns.iter().zip(&self.targets);
        for ((column, target), field) in columns.zip(&fields[keys..]) {
            let Some(field) = bytes(field) else { continue };
            match (column, target) {
                (RowColumn::Timestamp, Some(target)) => {
                    values[*target] = Some(Value::Integer(i64::from_be_bytes(fixed(field)?)));
                }
                (RowColumn::Attributes, _) => {
                    let json = field.split_first().map_or(&[][..], |(_version, json)| json);
                    self.read_json(json, &mut values, false)?;
                }
                (RowColumn::Exact, _) => self.read_json(field, &mut values, true)?,
                (_, Some(target)) => {
                    values[*target] = Some(Value::Text(Cow::Borrowed(utf8(field)?)));
                }
                (_, None) => {}
            }
        }
        for (builder, value) in self.builders.iter_mut().zip(values) {
            builder.append(value)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Takes the wanted values of a JSON object.
    fn read_json<'a>(
        &self,
        json: &'a [u8],
        values: &mut Vec<Option<Value<'a>>>,
        exact: bool,
    ) -> Result<()> {
        let visitor = Object {
            decoder: self,
            values,
            exact,
        };
        serde_json::Deserializer::from_slice(json)
            .deserialize_map(visitor)
            .map_err(|error| Error::Row(error.to_string()))
    }

    fn target(&self, name: &str, exact: bool) -> Option<usize> {
        let attribute = self.attributes.get(name).copied();
        if exact && attribute.is_none() {
            return self.schema.index_of(name).ok();
        }
        attribute
    }
}

impl Builder {
    fn of(kind: &DataType) -> Result<Self> {
        Ok(match kind {
            DataType::Timestamp(_, zone) => {
                let builder = TimestampNanosecondBuilder::new();
                Self::Time(builder.with_timezone_opt(zone.clone()))
            }
            DataType::Utf8View => Self::Text(StringViewBuilder::new()),
            DataType::Int64 => Self::Integer(Int64Builder::new()),
            DataType::Float64 => Self::Float(Float64Builder::new()),
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            other => return Err(Error::Internal(format!("rows have no {other}"))),
        })
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "integers meet floats only where all of them are exact"
    )]
    fn append(&mut self, value: Option<Value<'_>>) -> Result<()> {
        match (self, value) {
            (Self::Time(builder), Some(Value::Integer(value))) => builder.append_value(value),
            (Self::Time(builder), None) => builder.append_null(),
            (Self::Text(builder), Some(value)) => builder.append_value(value.text()?),
            (Self::Text(builder), None) => builder.append_null(),
            (Self::Integer(builder), Some(Value::Integer(value))) => builder.append_value(value),
            (Self::Integer(builder), None) => builder.append_null(),
            (Self::Float(builder), Some(Value::Float(value))) => builder.append_value(value),
            (Self::Float(builder), Some(Value::Integer(value))) => {
                builder.append_value(value as f64);
            }
            (Self::Float(builder), None) => builder.append_null(),
            (Self::Boolean(builder), Some(Value::Boolean(value))) => builder.append_value(value),
            (Self::Boolean(builder), None) => builder.append_null(),
            (builder, Some(value)) => {
                let problem = format!("{value:?} where {builder:?} was expected");
                return Err(Error::Row(problem.chars().take(200).collect()));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
        }
    }
}

impl<'a> Value<'a> {
    /// As the text that it becomes where types meet.
    fn text(self) -> Result<Cow<'a, str>> {
        Ok(match self {
            Self::Text(text) => text,
            Self::Integer(value) => Cow::Owned(value.to_string()),
            Self::Boolean(value) => Cow::Owned(value.to_string()),
            Self::Float(value) => {
                let column: ArrayRef = Arc::new(Float64Array::from(vec![value]));
                let text = logmill_schema::promote(&column, "", &DataType::Utf8);
                let text = text.map_err(|error| Error::Row(error.to_string()))?;
                Cow::Owned(text.as_string::<i32>().value(0).to_owned())
            }
        })
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes
        .try_into()
        .map_err(|_other_length| Error::Row(format!("{} bytes instead of {N}", bytes.len())))
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| Error::Row(error.to_string()))
}

/// Reads an object into the values of a row.
struct Object<'b, 'a> {
    decoder: &'b RowDecoder,
    values: &'b mut Vec<Option<Value<'a>>>,
    exact: bool,
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            match self.decoder.target(&name, self.exact) {
                Some(target) => self.values[target] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match deserializer.deserialize_str(Scalar)? {
            Value::Text(text) => Ok(Self(text)),
            _ => Err(serde::de::Error::custom("a name is a text")),
        }
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar)
    }
}

/// Reads a text, a number or a truth value; a list of one integer is a float by its bits.
struct Scalar;

impl<'de> Visitor<'de> for Scalar {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, a number or a truth value")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> std::result::Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value<'de>, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<Value<'de>, E> {
        i64::try_from(value)
            .map(Value::Integer)
            .map_err(serde::de::Error::custom)
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value<'de>, E> {
        Ok(Value::Float(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(
        self,
        mut list: A,
    ) -> std::result::Result<Value<'de>, A::Error> {
        let bits: Option<u64> = list.next_element()?;
        let bits = bits.ok_or_else(|| serde::de::Error::custom("an empty list"))?;
        list.next_element::<IgnoredAny>()?;
        Ok(Value::Float(f64::from_bits(bits)))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::types::{Float64Type, Int64Type};
    use arrow_schema::{Field, Schema};

    use super::*;

    fn field(bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&i32::try_from(bytes.len()).unwrap().to_be_bytes());
        out.extend_from_slice(bytes);
    }

    /// Rows as Postgres sends them: key, message, attributes, exact.
    fn sent() -> Vec<u8> {
        let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
        for (row, attributes, exact) in [
            (
                1_u16,
                r#"{"n": 7, "f": 7.0, "mixed": 1.50, "other": true}"#,
                None,
            ),
            (
                2,
                r#"{"n": 9, "f": 100000.0, "mixed": "x\ty"}"#,
                Some(r#"{"message":"a\u0000b","f":[9223372036854775808]}"#),
            ),
        ] {
            out.extend_from_slice(&5_i16.to_be_bytes());
            field(&77_u32.to_be_bytes(), &mut out);
            let place = [&3_u32.to_be_bytes()[..], &row.to_be_bytes()].concat();
            field(&place, &mut out);
            field("a\u{2400}b".as_bytes(), &mut out);
            field(&[b"\x01", attributes.as_bytes()].concat(), &mut out);
            match exact {
                Some(exact) => field(exact.as_bytes(), &mut out),
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
        out.extend_from_slice(&(-1_i16).to_be_bytes());
        out
    }

    #[test]
    fn rows_that_come_in_pieces_are_whole() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("message", DataType::Utf8View, true),
            Field::new("n", DataType::Int64, true),
            Field::new("f", DataType::Float64, true),
            Field::new("mixed", DataType::Utf8View, true),
            Field::new("absent", DataType::Boolean, true),
        ]));
        for size in [1, 7, 1_000] {
            let mut decoder = RowDecoder::new(schema.clone(), true).unwrap();
            let wanted = [RowColumn::Message, RowColumn::Attributes, RowColumn::Exact];
            assert_eq!(decoder.columns(), wanted);
            for piece in sent().chunks(size) {
                decoder.push(piece);
                assert!(decoder.next(false).unwrap().is_none());
            }
            assert!(decoder.is_complete());
            let (batch, keys) = decoder.next(true).unwrap().unwrap();
            let key = |row| RowKey {
                table: 77,
                block: 3,
                row,
            };
            assert_eq!(keys, [key(1), key(2)]);
            let text = |column: usize| {
                let column = batch.column(column).as_string_view();
                (column.value(0).to_owned(), column.value(1).to_owned())
            };
            assert_eq!(text(0), ("a\u{2400}b".to_owned(), "a\0b".to_owned()));
            assert_eq!(text(3), ("1.5".to_owned(), "x\ty".to_owned()));
            let numbers = batch.column(1).as_primitive::<Int64Type>();
            assert_eq!(numbers.values(), &[7, 9]);
            let floats = batch.column(2).as_primitive::<Float64Type>();
            assert_eq!(floats.value(0), 7.0);
            assert!(floats.value(1) == 0.0 && floats.value(1).is_sign_negative());
            assert_eq!(batch.column(4).null_count(), 2);
            assert!(decoder.next(true).unwrap().is_none());
        }
    }

    #[test]
    fn what_is_no_row_is_an_error() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let mut decoder = RowDecoder::new(schema, false).unwrap();
        decoder.push(&sent());
        let error = decoder.next(true).unwrap_err().to_string();
        assert!(error.contains("5 fields"), "{error}");
    }
}

//! The record batch under construction: rows that were found good go in here, and cannot fail any more.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_schema::Schema;
use logmill_model::field::{self, Canonical};
use logmill_model::json::write_string;
use logmill_model::{Level, time};
use logmill_schema::ColumnType;
use rustc_hash::FxHashMap;

use crate::columns::{AttributeColumn, DictionaryColumn, NullableText};
use crate::shape::{NameId, Shapes};
use crate::value::Value;

/// Where the values of a name go in this batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not decided yet.
    Unknown,
    /// `BatchBuilder::attributes[_]`.
    Column(u32),
    /// The tenant has as many columns as it may.
    Overflow,
}

/// The canonical values of a row; those that are there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CanonicalValues<'a> {
    values: [Option<Value<'a>>; 8],
}

impl<'a> CanonicalValues<'a> {
    pub(crate) fn set(&mut self, canonical: Canonical, value: Value<'a>) {
        self.values[canonical as usize] = Some(value);
    }

    fn get(&self, canonical: Canonical) -> Option<&Value<'a>> {
        self.values[canonical as usize].as_ref()
    }
}

/// The record batch under construction.
#[derive(Debug, Default)]
pub(crate) struct BatchBuilder {
    rows: usize,
    columns_max: usize,
    timestamps: Vec<i64>,
    level_keys: Vec<i32>,
    /// Whether the level of a row is unknown.
    levels_missing: usize,
    service: DictionaryColumn,
    host: DictionaryColumn,
    stream: DictionaryColumn,
    message: NullableText,
    trace_id: NullableText,
    span_id: NullableText,
    overflow: NullableText,
    overflow_row: Vec<u8>,
    attributes: Vec<AttributeColumn>,
    /// Names of the attribute columns in use, in the order of their first value.
    names: Vec<NameId>,
    places: Vec<Place>,
    streams: FxHashMap<(i32, i32), i32>,
    scratch: Vec<u8>,
    last_level: Option<(Box<str>, Option<Level>)>,
}

/// Values of a batch, absent ones counted, about: what a sparse body may blow up to. Further attributes overflow.
const CELLS_MAX: usize = 16 << 20;
/// Attribute columns of a batch however many rows it has.
const COLUMNS_MIN: usize = 4;

/// No value, as a key of a dictionary.
const NONE: i32 = -1;

impl BatchBuilder {
    /// Empties the batch, keeping its buffers.
    pub(crate) fn clear(&mut self) {
        self.rows = 0;
        self.timestamps.clear();
        self.level_keys.clear();
        self.levels_missing = 0;
        self.service.clear();
        self.host.clear();
        self.stream.clear();
        self.message.clear();
        self.trace_id.clear();
        self.span_id.clear();
        self.overflow.clear();
        for column in self.attributes.iter_mut().take(self.names.len()) {
            column.clear();
        }
        self.names.clear();
        self.places.clear();
        self.streams.clear();
    }

    /// Bytes of the buffers that are kept from batch to batch.
    pub(crate) fn capacity_bytes(&self) -> usize {
        let dictionaries =
            [&self.service, &self.host, &self.stream].map(DictionaryColumn::capacity_bytes);
        let texts = [&self.message, &self.trace_id, &self.span_id, &self.overflow]
            .map(NullableText::capacity_bytes);
        let attributes = self.attributes.iter().map(AttributeColumn::capacity_bytes);
        self.timestamps.capacity() * size_of::<i64>()
            + self.level_keys.capacity() * size_of::<i32>()
            + dictionaries
                .into_iter()
                .chain(texts)
                .chain(attributes)
                .sum::<usize>()
    }

    /// Bounds the columns of a batch that may get this many rows: columns are padded to the rows of all.
    pub(crate) fn expect_rows(&mut self, rows_max: usize) {
        self.columns_max = (CELLS_MAX / rows_max.max(1)).max(COLUMNS_MIN);
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds an attribute's value to the row under construction.
    #[inline]
    pub(crate) fn attribute(
        &mut self,
        name: NameId,
        value: &Value<'_>,
        shapes: &Shapes,
        admit: &dyn Fn(&str) -> bool,
    ) {
        let place = self
            .places
            .get(name.0 as usize)
            .copied()
            .unwrap_or(Place::Unknown);
        let place = if place == Place::Unknown {
            self.place(name, shapes, admit)
        } else {
            place
        };
        match place {
            Place::Column(index) => self.attributes[index as usize].push(self.rows, value),
            Place::Unknown | Place::Overflow => {
                let separator = if self.overflow_row.is_empty() {
                    b'{'
                } else {
                    b','
                };
                self.overflow_row.push(separator);
                let text = &shapes.name(name).text;
                if is_reserved(text) {
                    write_string(&format!("{text}_text"), &mut self.overflow_row);
                } else {
                    write_string(text, &mut self.overflow_row);
                }
                self.overflow_row.push(b':');
                value.write_json(&mut self.overflow_row);
            }
        }
    }

    #[cold]
    fn place(&mut self, name: NameId, shapes: &Shapes, admit: &dyn Fn(&str) -> bool) -> Place {
        if self.places.len() < shapes.names_len() {
            self.places.resize(shapes.names_len(), Place::Unknown);
        }
        let text = &shapes.name(name).text;
        let has_room = self.names.len() < self.columns_max && !is_reserved(text);
        let place = if has_room && admit(text) {
            let index = self.names.len();
            if index == self.attributes.len() {
                self.attributes.push(AttributeColumn::default());
            }
            self.names.push(name);
            Place::Column(u32::try_from(index).expect("columns are bounded by the store"))
        } else {
            Place::Overflow
        };
        self.places[name.0 as usize] = place;
        place
    }

    /// Ends the row with its canonical values.
    pub(crate) fn end_row(
        &mut self,
        timestamp_ns: i64,
        level: Option<Level>,
        canonical: &CanonicalValues<'_>,
    ) {
        let row = self.rows;
        self.timestamps.push(timestamp_ns);
        match level {
            Some(level) => self.level_keys.push(level as i32),
            None => {
                self.levels_missing += 1;
                self.level_keys.push(NONE);
            }
        }
        if let Some(value) = canonical.get(Canonical::Message) {
            self.message.push(row, value);
        }
        if let Some(value) = canonical.get(Canonical::TraceId) {
            self.trace_id.push(row, value);
        }
        if let Some(value) = canonical.get(Canonical::SpanId) {
            self.span_id.push(row, value);
        }
        let scratch = &mut self.scratch;
        let service = dictionary(
            &mut self.service,
            row,
            canonical.get(Canonical::Service),
            scratch,
        );
        let host = dictionary(&mut self.host, row, canonical.get(Canonical::Host), scratch);
        match canonical.get(Canonical::Stream) {
            Some(value) => {
                dictionary(&mut self.stream, row, Some(value), scratch);
            }
            None => {
                let key = self.stream_key(service, host);
                self.stream.push_key(row, key);
            }
        }
        if !self.overflow_row.is_empty() {
            self.overflow_row.push(b'}');
            let text = std::str::from_utf8(&self.overflow_row);
            let text = text.expect("it is made of JSON strings and numbers");
            self.overflow.push(row, &Value::Str(text));
            self.overflow_row.clear();
        }
        self.rows += 1;
    }

    /// The key of the stream `{host="h",service="s"}`.
    fn stream_key(&mut self, service: i32, host: i32) -> i32 {
        if let Some(key) = self.streams.get(&(service, host)) {
            return *key;
        }
        let text = &mut self.scratch;
        text.clear();
        text.push(b'{');
        for (name, column, key) in [
            (field::HOST, &self.host, host),
            (field::SERVICE, &self.service, service),
        ] {
            let Some(value) = column.value(key) else {
                continue;
            };
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b"=\"");
            for byte in value {
                if matches!(byte, b'"' | b'\\') {
                    text.push(b'\\');
                }
                text.push(*byte);
            }
            text.push(b'"');
        }
        text.push(b'}');
        let key = self.stream.key(text);
        self.streams.insert((service, host), key);
        key
    }

    /// The level that a value means. One that nobody knows is kept as the attribute `level_text` of the row under
    /// construction.
    pub(crate) fn level(
        &mut self,
        value: Option<&Value<'_>>,
        shapes: &mut Shapes,
        admit: &dyn Fn(&str) -> bool,
    ) -> Option<Level> {
        let value = value?;
        let level = match value {
            Value::Str(text) => self.parse_level(text),
            Value::Integer(number) => level_number(*number),
            _ => None,
        };
        if level.is_none() {
            let name = shapes.name_id(field::LEVEL_TEXT);
            if shapes.mark_name(name) {
                self.attribute(name, value, shapes, admit);
            }
        }
        level
    }

    /// The level of a text, which is often that of the row before.
    fn parse_level(&mut self, text: &str) -> Option<Level> {
        if let Some((last, level)) = &self.last_level
            && **last == *text
        {
            return *level;
        }
        let number = || text.trim_ascii().parse().ok().and_then(level_number);
        let level = Level::parse(text).or_else(number);
        if text.len() <= 32 {
            self.last_level = Some((Box::from(text), level));
        }
        level
    }

    /// The batch, or `None` when it has no rows. The builder must be cleared before it is used again.
    pub(crate) fn finish(&mut self, shapes: &Shapes) -> Option<RecordBatch> {
        let rows = self.rows;
        if rows == 0 {
            return None;
        }
        let mut fields = Vec::with_capacity(8 + self.names.len());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(8 + self.names.len());
        let mut add = |name: &str, kind: ColumnType, column: Option<ArrayRef>| {
            if let Some(column) = column {
                fields.push(kind.field(name));
                columns.push(column);
            }
        };
        let timestamps = ScalarBuffer::from(Buffer::from_slice_ref(&self.timestamps));
        let timestamps = TimestampNanosecondArray::new(timestamps, None).with_timezone("UTC");
        add(
            field::TIMESTAMP,
            ColumnType::Timestamp,
            Some(Arc::new(timestamps)),
        );
        add(field::LEVEL, ColumnType::String, self.levels());
        add(
            field::SERVICE,
            ColumnType::String,
            self.service.finish(rows),
        );
        add(field::HOST, ColumnType::String, self.host.finish(rows));
        add(
            field::MESSAGE,
            ColumnType::String,
            self.message.finish(rows),
        );
        add(
            field::TRACE_ID,
            ColumnType::String,
            self.trace_id.finish(rows),
        );
        add(
            field::SPAN_ID,
            ColumnType::String,
            self.span_id.finish(rows),
        );
        add(field::STREAM, ColumnType::String, self.stream.finish(rows));
        for (name, column) in self.names.iter().zip(&mut self.attributes) {
            if let Some((kind, column)) = column.finish(rows) {
                add(&shapes.name(*name).text, kind, Some(column));
            }
        }
        add(
            field::OVERFLOW,
            ColumnType::String,
            self.overflow.finish(rows),
        );
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
        Some(batch.expect("all columns were finished with the same number of rows"))
    }

    fn levels(&self) -> Option<ArrayRef> {
        if self.levels_missing == self.rows {
            return None;
        }
        let keys: Int32Array = if self.levels_missing == 0 {
            Int32Array::new(
                ScalarBuffer::from(Buffer::from_slice_ref(&self.level_keys)),
                None,
            )
        } else {
            self.level_keys
                .iter()
                .map(|key| (*key != NONE).then_some(*key))
                .collect()
        };
        let names = StringArray::from_iter_values(Level::ALL.map(Level::as_str));
        Some(Arc::new(DictionaryArray::<Int32Type>::new(
            keys,
            Arc::new(names),
        )))
    }
}

/// A level given as a number: pino's and bunyan's tens, else syslog's severity.
fn level_number(number: i64) -> Option<Level> {
    Level::from_numeric(number).or_else(|| Level::from_syslog(u8::try_from(number).ok()?))
}

/// Names of columns of ours. A value under such a name that is not the canonical one (a time that is none in a line of
/// logfmt, a default `timestamp`) is kept in the overflow column as `<name>_text`.
fn is_reserved(name: &str) -> bool {
    name == field::OVERFLOW || field::CANONICAL.contains(&name)
}

/// Puts a value into a dictionary column, and returns its key.
fn dictionary(
    column: &mut DictionaryColumn,
    row: usize,
    value: Option<&Value<'_>>,
    scratch: &mut Vec<u8>,
) -> i32 {
    match value {
        None => NONE,
        Some(Value::Str(text)) => column.push(row, text.as_bytes()),
        Some(other) => {
            scratch.clear();
            other.write_text(scratch);
            column.push(row, scratch)
        }
    }
}

/// The time of a value; `None` when it is none that a record may have.
pub(crate) fn timestamp_of(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Str(text) => time::parse_timestamp(text),
        Value::Integer(number) => time::parse_epoch_i64(*number),
        Value::Float(number) => time::parse_epoch_f64(*number),
        Value::Unsigned(_) | Value::Boolean(_) | Value::Json(_) => None,
    }
}

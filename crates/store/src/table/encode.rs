//! Batches as rows of the table, in COPY's binary format
//! (<https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-BINARY-FORMAT>).

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::DataType;
use bytes::Bytes;
use logmill_catalog::{ANY_WORD, NewRows};
use logmill_model::time::DAY_NS;
use logmill_model::{TenantId, field, json, token};
use logmill_schema::{ColumnType, TableSchema};
use logmill_segment::{SegmentSummary, timestamps};

use super::plain_text;
use crate::{Error, Result};

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
const FIELDS: i16 = 13;
/// Of the binary format of JSONB.
const JSONB_VERSION: u8 = 1;
/// A part of the rows is closed at this length.
const PART_BYTES: usize = 8 << 20;
/// Postgres's bounds of one word and of all words of a row, the second with room for what comes with them.
const WORD_MAX_BYTES: usize = 2_046;
const WORDS_MAX_BYTES: usize = 900_000;

/// The text columns of the table, in its order.
const TEXTS: [&str; 7] = [
    field::LEVEL,
    field::SERVICE,
    field::HOST,
    field::MESSAGE,
    field::TRACE_ID,
    field::SPAN_ID,
    field::STREAM,
];

/// What was written of a day: its number, and the summary.
pub(super) type Days = BTreeMap<i64, SegmentSummary>;

/// Rows under construction.
#[derive(Debug, Default)]
pub(super) struct RowWriter {
    parts: Vec<Bytes>,
    part: Vec<u8>,
    /// Attributes and exceptions of a row, which are put together before their lengths are known.
    attributes: Vec<u8>,
    exact: Vec<u8>,
}

/// An attribute's column.
struct Attribute<'a> {
    name: &'a str,
    values: Values,
}

enum Values {
    Text(StringArray),
    Integer(Int64Array),
    Float(Float64Array),
    Boolean(BooleanArray),
}

impl RowWriter {
    /// Adds a tenant's batch that has the position `sequence` in the queue; counts its rows in `days`.
    pub(super) fn add(
        &mut self,
        tenant: &TenantId,
        sequence: u64,
        batch: &RecordBatch,
        days: &mut Days,
    ) -> Result<()> {
        let sequence = i64::try_from(sequence)
            .map_err(|_beyond| Error::Internal(format!("position {sequence} of the queue")))?;
        let times = timestamps(batch)?;
        let texts = TEXTS
            .iter()
            .map(|name| batch.column_by_name(name).map(|column| text(name, column)));
        let texts: Vec<Option<StringArray>> =
            texts.map(Option::transpose).collect::<Result<_>>()?;
        let attributes = attributes(batch)?;
        let mut seen: BTreeMap<i64, ()> = BTreeMap::new();
        for (row, time) in times.iter().enumerate() {
            let before = self.part.len();
            self.row(tenant, sequence, *time, row, &texts, &attributes);
            let day = time.div_euclid(DAY_NS);
            seen.insert(day, ());
            let summary = days.entry(day).or_insert_with(|| SegmentSummary {
                rows: 0,
                bytes: 0,
                min_timestamp_ns: *time,
                max_timestamp_ns: *time,
                columns: Vec::new(),
                checksum: 0,
            });
            summary.rows += 1;
            summary.bytes += (self.part.len() - before) as u64;
            summary.min_timestamp_ns = summary.min_timestamp_ns.min(*time);
            summary.max_timestamp_ns = summary.max_timestamp_ns.max(*time);
            if self.part.len() >= PART_BYTES {
                self.close_part();
            }
        }
        for day in seen.keys() {
            if let Some(summary) = days.get_mut(day) {
                add_columns(summary, batch);
            }
        }
        Ok(())
    }

    /// All rows that were added.
    pub(super) fn finish(mut self, days: Vec<i64>) -> NewRows {
        self.close_part();
        NewRows {
            days,
            parts: self.parts,
        }
    }

    fn close_part(&mut self) {
        if !self.part.is_empty() {
            self.part.extend_from_slice(&TRAILER);
            self.parts.push(Bytes::from(std::mem::take(&mut self.part)));
        }
    }

    fn row(
        &mut self,
        tenant: &TenantId,
        sequence: i64,
        time: i64,
        row: usize,
        texts: &[Option<StringArray>],
        attributes: &[Attribute<'_>],
    ) {
        if self.part.is_empty() {
            self.part.extend_from_slice(HEADER);
        }
        self.exact.clear();
        self.part.extend_from_slice(&FIELDS.to_be_bytes());
        self.field(Some(tenant.as_str().as_bytes()));
        self.field(Some(&time.to_be_bytes()));
        let mut message = None;
        for (name, column) in TEXTS.iter().zip(texts) {
            let value = column.as_ref().filter(|column| column.is_valid(row));
            let value = value.map(|column| column.value(row));
            if let Some(text) = value.filter(|text| text.contains('\0')) {
                self.except(name, |out| json::write_string(text, out));
            }
            let plain = value.map(plain_text);
            self.field(plain.as_deref().map(str::as_bytes));
            if *name == field::MESSAGE {
                message = value;
            }
        }
        self.attributes(row, attributes);
        self.words(message);
        if !self.exact.is_empty() {
            self.exact.push(b'}');
        }
        let exact = std::mem::take(&mut self.exact);
        self.field((!exact.is_empty()).then_some(exact.as_slice()));
        self.exact = exact;
        self.field(Some(&sequence.to_be_bytes()));
    }

    /// Adds a field; `None` is NULL.
    fn field(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                self.part.extend_from_slice(&length(bytes.len()));
                self.part.extend_from_slice(bytes);
            }
            None => self.part.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }

    /// Keeps a value that its column cannot hold.
    fn except(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        self.exact
            .push(if self.exact.is_empty() { b'{' } else { b',' });
        json::write_string(name, &mut self.exact);
        self.exact.push(b':');
        value(&mut self.exact);
    }

    fn attributes(&mut self, row: usize, attributes: &[Attribute<'_>]) {
        let mut out = std::mem::take(&mut self.attributes);
        out.clear();
        for attribute in attributes {
            self.attribute(&mut out, row, attribute);
        }
        if out.is_empty() {
            self.field(None);
        } else {
            out.push(b'}');
            self.field(Some(&out));
        }
        self.attributes = out;
    }

    fn attribute(&mut self, out: &mut Vec<u8>, row: usize, attribute: &Attribute<'_>) {
        let Attribute { name, values } = attribute;
        if values.array().is_null(row) {
            return;
        }
        // Two names must not become one.
        if name.contains('\0') {
            return self.except(name, |out| write_exact(values, row, out));
        }
        if out.is_empty() {
            out.push(JSONB_VERSION);
        }
        out.push(if out.len() == 1 { b'{' } else { b',' });
        json::write_string(name, out);
        out.push(b':');
        let mut exact = true;
        match values {
            Values::Text(values) => {
                let plain = plain_text(values.value(row));
                exact = matches!(plain, Cow::Borrowed(_));
                json::write_string(&plain, out);
            }
            Values::Integer(values) => {
                out.extend_from_slice(values.value(row).to_string().as_bytes());
            }
            Values::Boolean(values) => {
                out.extend_from_slice(values.value(row).to_string().as_bytes());
            }
            Values::Float(values) => {
                let value = values.value(row);
                exact = write_float(value, out);
            }
        }
        if !exact {
            self.except(name, |out| write_exact(values, row, out));
        }
    }

    /// The words of a message, as a TSVECTOR without positions: their number, and each with a zero and the number of its
    /// positions.
    fn words(&mut self, message: Option<&str>) {
        let Some(message) = message else {
            return self.field(None);
        };
        let tokens = token::tokens(message).map(|(_, token)| token::fold(token));
        let mut words: Vec<Cow<'_, str>> = tokens.collect();
        words.sort_unstable();
        words.dedup();
        let bytes: usize = words.iter().map(|word| word.len()).sum();
        if bytes > WORDS_MAX_BYTES || words.iter().any(|word| word.len() > WORD_MAX_BYTES) {
            words = vec![Cow::Borrowed(ANY_WORD)];
        }
        let bytes: usize = words.iter().map(|word| word.len() + 3).sum();
        self.part.extend_from_slice(&length(4 + bytes));
        self.part.extend_from_slice(&length(words.len()));
        for word in words {
            self.part.extend_from_slice(word.as_bytes());
            self.part.extend_from_slice(&[0, 0, 0]);
        }
    }
}

impl Values {
    fn array(&self) -> &dyn Array {
        match self {
            Self::Text(values) => values,
            Self::Integer(values) => values,
            Self::Float(values) => values,
            Self::Boolean(values) => values,
        }
    }
}

/// A length or count; none comes near the bound, as a request has some megabytes.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// Writes a float with a decimal point, which JSONB keeps; says whether the value comes back from it as it is.
fn write_float(value: f64, out: &mut Vec<u8>) -> bool {
    if !value.is_finite() {
        json::write_string(&value.to_string(), out);
        return false;
    }
    let text = value.to_string();
    out.extend_from_slice(text.as_bytes());
    if !text.contains('.') {
        out.extend_from_slice(b".0");
    }
    // Numbers of Postgres have no negative zero.
    value != 0.0 || value.is_sign_positive()
}

/// Writes a value so that it comes back as it is. A float is the number of its bits, in a list to tell it from an integer.
fn write_exact(values: &Values, row: usize, out: &mut Vec<u8>) {
    let text = match values {
        Values::Text(values) => return json::write_string(values.value(row), out),
        Values::Float(values) => format!("[{}]", values.value(row).to_bits()),
        Values::Integer(values) => values.value(row).to_string(),
        Values::Boolean(values) => values.value(row).to_string(),
    };
    out.extend_from_slice(text.as_bytes());
}

fn text(name: &str, column: &ArrayRef) -> Result<StringArray> {
    let promoted = logmill_schema::promote(column, name, &DataType::Utf8);
    let promoted = promoted.map_err(|error| Error::Internal(error.to_string()))?;
    Ok(promoted.as_string::<i32>().clone())
}

fn attributes(batch: &RecordBatch) -> Result<Vec<Attribute<'_>>> {
    let schema = batch.schema_ref();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns.filter(|(field, column)| {
        !field::CANONICAL.contains(&field.name().as_str()) && column.null_count() < column.len()
    });
    let read = columns.map(|(field, column)| {
        let values = match ColumnType::of(field) {
            Some(ColumnType::Integer | ColumnType::WideInteger) => {
                Values::Integer(column.as_primitive::<Int64Type>().clone())
            }
            Some(ColumnType::Float) => Values::Float(column.as_primitive::<Float64Type>().clone()),
            Some(ColumnType::Boolean) => Values::Boolean(column.as_boolean().clone()),
            _ => Values::Text(text(field.name(), column)?),
        };
        Ok(Attribute {
            name: field.name(),
            values,
        })
    });
    read.collect()
}

/// The columns of a batch that have a value join those of a summary.
fn add_columns(summary: &mut SegmentSummary, batch: &RecordBatch) {
    let schema = batch.schema_ref();
    let columns = schema.fields().iter().zip(batch.columns());
    for (field, _) in columns.filter(|(_, column)| column.null_count() < column.len()) {
        let kind = ColumnType::of(field).unwrap_or(ColumnType::String);
        match summary
            .columns
            .iter_mut()
            .find(|(name, _)| name == field.name())
        {
            Some((_, known)) => *known = known.join(kind),
            None => summary.columns.push((field.name().clone(), kind)),
        }
    }
}

/// The columns of all of these together.
pub(super) fn joined_columns<'a>(
    columns: impl Iterator<Item = (&'a str, ColumnType)>,
) -> Vec<(String, ColumnType)> {
    let mut table = TableSchema::new();
    let mut there: Vec<&str> = Vec::new();
    for (name, kind) in columns {
        table.add(name, kind);
        there.push(name);
    }
    let all = table.columns().filter(|(name, _)| there.contains(name));
    all.map(|(name, kind)| (name.to_owned(), kind)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::TimestampNanosecondArray;
    use arrow_schema::Schema;

    use super::*;

    fn batch(columns: Vec<(&str, ColumnType, ArrayRef)>) -> RecordBatch {
        let mut fields = vec![ColumnType::Timestamp.field(field::TIMESTAMP)];
        let times = TimestampNanosecondArray::from(vec![DAY_NS + 5]).with_timezone("UTC");
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(times)];
        for (name, kind, array) in columns {
            fields.push(kind.field(name));
            arrays.push(array);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
    }

    /// The fields of the only row of the only part.
    fn row(batch: &RecordBatch) -> Vec<Option<Vec<u8>>> {
        let (mut writer, mut days) = (RowWriter::default(), Days::new());
        let tenant = TenantId::default_tenant();
        writer.add(&tenant, 9, batch, &mut days).unwrap();
        let rows = writer.finish(days.keys().copied().collect());
        assert_eq!((rows.days, rows.parts.len()), (vec![1], 1));
        let mut rest = rows.parts[0].strip_prefix(HEADER).unwrap();
        let mut take = |length: usize| {
            let (taken, left) = rest.split_at(length);
            rest = left;
            taken.to_vec()
        };
        assert_eq!(take(2), FIELDS.to_be_bytes());
        let mut fields = Vec::new();
        for _ in 0..FIELDS {
            let length = i32::from_be_bytes(take(4).try_into().unwrap());
            fields.push(usize::try_from(length).ok().map(&mut take));
        }
        assert_eq!(rest, TRAILER);
        fields
    }

    fn text(field: &Option<Vec<u8>>) -> &str {
        std::str::from_utf8(field.as_deref().unwrap()).unwrap()
    }

    #[test]
    fn what_postgres_cannot_hold_is_kept_beside() {
        let strings = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        let floats = |value: f64| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
        let row = row(&batch(vec![
            ("message", ColumnType::String, strings("A b\0a")),
            (
                "n\0",
                ColumnType::Integer,
                Arc::new(Int64Array::from(vec![3])),
            ),
            ("text", ColumnType::String, strings("\0")),
            ("whole", ColumnType::Float, floats(7.0)),
            ("large", ColumnType::Float, floats(1e22)),
            ("zero", ColumnType::Float, floats(-0.0)),
            ("nan", ColumnType::Float, floats(f64::NAN)),
        ]));
        assert_eq!(text(&row[0]), "default");
        assert_eq!(row[1].as_deref(), Some(&(DAY_NS + 5).to_be_bytes()[..]));
        assert_eq!(row[2], None);
        assert_eq!(text(&row[5]), "A b\u{2400}a");
        assert_eq!(
            text(&row[9]),
            "\u{1}{\"text\":\"\u{2400}\",\"whole\":7.0,\"large\":10000000000000000000000.0,\"zero\":-0.0,\"nan\":\"NaN\"}"
        );
        assert_eq!(row[10].as_deref(), Some(&b"\0\0\0\x02a\0\0\0b\0\0\0"[..]));
        let (zero, nan) = ((-0.0_f64).to_bits(), f64::NAN.to_bits());
        assert_eq!(
            text(&row[11]),
            format!(
                "{{\"message\":\"A b\\u0000a\",\"n\\u0000\":3,\"text\":\"\\u0000\",\"zero\":[{zero}],\"nan\":[{nan}]}}"
            )
        );
        assert_eq!(row[12].as_deref(), Some(&9_i64.to_be_bytes()[..]));
    }

    #[test]
    fn a_row_with_words_beyond_the_bounds_may_have_any() {
        let long = "x".repeat(WORD_MAX_BYTES + 1);
        let column: ArrayRef = Arc::new(StringArray::from(vec![format!("short {long}")]));
        let row = row(&batch(vec![("message", ColumnType::String, column)]));
        assert_eq!(row[10].as_deref(), Some(&b"\0\0\0\x01*\0\0\0"[..]));
        assert_eq!(row[9], None);
        assert_eq!(row[11], None);
    }
}

//! Columns under construction. Buffers are kept from batch to batch: touching fresh memory costs more than
//! filling it.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array,
    StringArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use logmill_schema::ColumnType;
use rustc_hash::FxHashMap;

use crate::value::Value;

/// A column of attributes: its type is what its values are, and widens along [`ColumnType::join`].
#[derive(Debug, Default)]
pub(crate) struct AttributeColumn {
    kind: Option<ColumnType>,
    /// One bit a row; rows past its end are null.
    valid: Bits,
    booleans: Bits,
    integers: Vec<i64>,
    floats: Vec<f64>,
    texts: TextColumn,
}

impl AttributeColumn {
    pub(crate) fn clear(&mut self) {
        self.kind = None;
        self.valid.clear();
        self.booleans.clear();
        self.integers.clear();
        self.floats.clear();
        self.texts.clear();
    }

    /// Bytes of its buffers.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.valid.capacity_bytes()
            + self.booleans.capacity_bytes()
            + (self.integers.capacity() + self.floats.capacity()) * size_of::<i64>()
            + self.texts.capacity_bytes()
    }

    /// Sets the value of a row that is not before any set earlier.
    #[inline]
    pub(crate) fn push(&mut self, row: usize, value: &Value<'_>) {
        match (self.kind, value) {
            (Some(ColumnType::String), Value::Str(text)) => {
                self.pad(row);
                self.texts.push(text.as_bytes());
            }
            (Some(ColumnType::Integer), Value::Integer(integer))
                if ColumnType::of_integer(*integer) == ColumnType::Integer =>
            {
                self.pad(row);
                self.integers.push(*integer);
            }
            (Some(ColumnType::Float), Value::Float(float)) => {
                self.pad(row);
                self.floats.push(*float);
            }
            _ => self.push_any(row, value),
        }
        self.valid.push(true);
    }

    fn push_any(&mut self, row: usize, value: &Value<'_>) {
        let incoming = value.column_type();
        let kind = self.kind.map_or(incoming, |kind| kind.join(incoming));
        self.widen(kind);
        self.pad(row);
        match (kind, value) {
            (ColumnType::Boolean, Value::Boolean(value)) => self.booleans.push(*value),
            (ColumnType::Integer | ColumnType::WideInteger, Value::Integer(value)) => {
                self.integers.push(*value);
            }
            (ColumnType::Float, Value::Float(value)) => self.floats.push(*value),
            (ColumnType::Float, Value::Integer(value)) => self.floats.push(exact(*value)),
            _ => {
                value.write_text(&mut self.texts.bytes);
                self.texts.finish_value();
            }
        }
    }

    /// Nulls up to the row.
    #[inline]
    fn pad(&mut self, row: usize) {
        while self.valid.len() < row {
            self.valid.push(false);
            match self.kind {
                Some(ColumnType::Boolean) => self.booleans.push(false),
                Some(ColumnType::Integer | ColumnType::WideInteger) => self.integers.push(0),
                Some(ColumnType::Float) => self.floats.push(0.0),
                _ => self.texts.push(b""),
            }
        }
    }

    /// Turns what is there into another type of the lattice.
    fn widen(&mut self, to: ColumnType) {
        let Some(from) = self.kind.replace(to) else {
            return;
        };
        match (from, to) {
            (ColumnType::Integer, ColumnType::Float) => {
                self.floats.extend(self.integers.drain(..).map(exact));
            }
            (_, ColumnType::String) if from != ColumnType::String => {
                for row in 0..self.valid.len() {
                    if self.valid.get(row) {
                        let value = match from {
                            ColumnType::Boolean => Value::Boolean(self.booleans.get(row)),
                            ColumnType::Float => Value::Float(self.floats[row]),
                            _ => Value::Integer(self.integers[row]),
                        };
                        value.write_text(&mut self.texts.bytes);
                    }
                    self.texts.finish_value();
                }
                self.booleans.clear();
                self.integers.clear();
                self.floats.clear();
            }
            _ => {}
        }
    }

    /// The column as an array of `rows` rows, and its type; `None` when it has no value.
    pub(crate) fn finish(&mut self, rows: usize) -> Option<(ColumnType, ArrayRef)> {
        let kind = self.kind?;
        self.pad(rows);
        let nulls = self.valid.nulls();
        let array: ArrayRef = match kind {
            ColumnType::Boolean => Arc::new(BooleanArray::new(self.booleans.buffer(), nulls)),
            ColumnType::Float => {
                let values = ScalarBuffer::from(Buffer::from_slice_ref(&self.floats));
                Arc::new(Float64Array::new(values, nulls))
            }
            ColumnType::Integer | ColumnType::WideInteger | ColumnType::Timestamp => {
                let values = ScalarBuffer::from(Buffer::from_slice_ref(&self.integers));
                Arc::new(Int64Array::new(values, nulls))
            }
            ColumnType::String => Arc::new(self.texts.finish(nulls)),
        };
        Some((kind, array))
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "only integers that are exact as floats get here"
)]
fn exact(value: i64) -> f64 {
    value as f64
}

/// A column of text that may be null.
#[derive(Debug, Default)]
pub(crate) struct NullableText {
    valid: Bits,
    texts: TextColumn,
}

impl NullableText {
    pub(crate) fn clear(&mut self) {
        self.valid.clear();
        self.texts.clear();
    }

    /// Bytes of its buffers.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.valid.capacity_bytes() + self.texts.capacity_bytes()
    }

    #[inline]
    pub(crate) fn push(&mut self, row: usize, value: &Value<'_>) {
        self.pad(row);
        self.valid.push(true);
        match value {
            Value::Str(text) => self.texts.push(text.as_bytes()),
            other => {
                other.write_text(&mut self.texts.bytes);
                self.texts.finish_value();
            }
        }
    }

    #[inline]
    fn pad(&mut self, row: usize) {
        while self.valid.len() < row {
            self.valid.push(false);
            self.texts.push(b"");
        }
    }

    pub(crate) fn finish(&mut self, rows: usize) -> Option<ArrayRef> {
        if self.valid.len() == 0 {
            return None;
        }
        self.pad(rows);
        Some(Arc::new(self.texts.finish(self.valid.nulls())))
    }
}

/// Texts one after the other.
#[derive(Debug)]
struct TextColumn {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Default for TextColumn {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            bytes: Vec::new(),
        }
    }
}

impl TextColumn {
    fn clear(&mut self) {
        self.offsets.truncate(1);
        self.bytes.clear();
    }

    fn capacity_bytes(&self) -> usize {
        self.offsets.capacity() * size_of::<i32>() + self.bytes.capacity()
    }

    #[inline]
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.finish_value();
    }

    /// Ends the value whose bytes were appended.
    #[inline]
    fn finish_value(&mut self) {
        let end = i32::try_from(self.bytes.len());
        self.offsets
            .push(end.expect("a body is shorter than 2 GiB, and so is a column of it"));
    }

    fn finish(&self, nulls: Option<NullBuffer>) -> StringArray {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(Buffer::from_slice_ref(&self.offsets)));
        StringArray::new(offsets, Buffer::from_slice_ref(&self.bytes), nulls)
    }
}

/// A column of few distinct texts.
#[derive(Debug, Default)]
pub(crate) struct DictionaryColumn {
    keys: Vec<i32>,
    valid: Bits,
    values: TextColumn,
    by_value: FxHashMap<Box<[u8]>, i32>,
    last: i32,
}

impl DictionaryColumn {
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.valid.clear();
        self.values.clear();
        self.by_value.clear();
        self.last = 0;
    }

    /// Bytes of its buffers.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.keys.capacity() * size_of::<i32>()
            + self.valid.capacity_bytes()
            + self.values.capacity_bytes()
            + self.by_value.capacity() * size_of::<(Box<[u8]>, i32)>()
    }

    /// Sets the value of a row, and returns its key.
    #[inline]
    pub(crate) fn push(&mut self, row: usize, text: &[u8]) -> i32 {
        let key = self.key(text);
        self.push_key(row, key);
        key
    }

    pub(crate) fn push_key(&mut self, row: usize, key: i32) {
        self.pad(row);
        self.valid.push(true);
        self.keys.push(key);
    }

    /// The key of a value: often that of the row before.
    #[inline]
    pub(crate) fn key(&mut self, text: &[u8]) -> i32 {
        if self.value(self.last) == Some(text) {
            return self.last;
        }
        self.last = match self.by_value.get(text) {
            Some(key) => *key,
            None => {
                let key = i32::try_from(self.values.offsets.len() - 1)
                    .expect("a batch has fewer than 2^31 rows");
                self.values.push(text);
                self.by_value.insert(Box::from(text), key);
                key
            }
        };
        self.last
    }

    pub(crate) fn value(&self, key: i32) -> Option<&[u8]> {
        let key = usize::try_from(key).ok()?;
        let start = usize::try_from(*self.values.offsets.get(key)?).ok()?;
        let end = usize::try_from(*self.values.offsets.get(key + 1)?).ok()?;
        self.values.bytes.get(start..end)
    }

    #[inline]
    fn pad(&mut self, row: usize) {
        while self.valid.len() < row {
            self.valid.push(false);
            self.keys.push(0);
        }
    }

    pub(crate) fn finish(&mut self, rows: usize) -> Option<ArrayRef> {
        if self.valid.len() == 0 {
            return None;
        }
        self.pad(rows);
        let keys = ScalarBuffer::from(Buffer::from_slice_ref(&self.keys));
        let keys = Int32Array::new(keys, self.valid.nulls());
        let values = self.values.finish(None);
        debug_assert!(!values.is_empty(), "a dictionary that was used has a value");
        Some(Arc::new(DictionaryArray::<Int32Type>::new(
            keys,
            Arc::new(values),
        )))
    }
}

/// A vector of bits.
#[derive(Debug, Default)]
struct Bits {
    words: Vec<u64>,
    length: usize,
    ones: usize,
}

impl Bits {
    fn clear(&mut self) {
        self.words.clear();
        self.length = 0;
        self.ones = 0;
    }

    fn capacity_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    fn len(&self) -> usize {
        self.length
    }

    #[inline]
    fn push(&mut self, bit: bool) {
        let shift = self.length % 64;
        if shift == 0 {
            self.words.push(0);
        }
        if let Some(word) = self.words.last_mut() {
            *word |= u64::from(bit) << shift;
        }
        self.length += 1;
        self.ones += usize::from(bit);
    }

    fn get(&self, index: usize) -> bool {
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    fn buffer(&self) -> BooleanBuffer {
        // Words are little-endian on every target that Arrow supports, as its bitmaps are.
        BooleanBuffer::new(Buffer::from_slice_ref(&self.words), 0, self.length)
    }

    fn nulls(&self) -> Option<NullBuffer> {
        (self.ones < self.length).then(|| NullBuffer::new(self.buffer()))
    }
}

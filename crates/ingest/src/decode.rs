//! A body to one record batch.

use arrow_array::RecordBatch;

use crate::{RecordError, Result, TextFormat};

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// One JSON object, or an array of them.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Lines of text.
    Text(TextFormat),
}

/// Bounds on what a request may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of one record.
    pub record_max_bytes: usize,
    /// Fields of one record, nested ones counted.
    pub fields_max: usize,
    /// Depth of nested objects and arrays.
    pub depth_max: usize,
    /// Bytes of a field's (dotted) name.
    pub field_name_max_bytes: usize,
    /// Refused records that are named one by one; the others are only counted.
    pub errors_max: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            record_max_bytes: 1 << 20,
            fields_max: 1_000,
            depth_max: 64,
            field_name_max_bytes: 256,
            errors_max: 100,
        }
    }
}

/// How to decode one request.
pub struct DecodeOptions<'a> {
    /// What the body is.
    pub format: BodyFormat,
    /// The timestamp of records that have none.
    pub received_at_ns: i64,
    /// Attributes that every record gets unless it has its own (`?service=api`).
    pub defaults: &'a [(String, String)],
    /// Bounds.
    pub limits: &'a DecodeLimits,
    /// Whether an attribute of this name gets a column; the others go to the overflow column.
    pub admit: &'a dyn Fn(&str) -> bool,
}

/// What became of a body.
#[derive(Debug)]
pub struct Decoded {
    /// The records that are good, `None` when there is none.
    pub batch: Option<RecordBatch>,
    /// Number of good records.
    pub accepted: u64,
    /// Number of refused records.
    pub rejected: u64,
    /// The first [`DecodeLimits::errors_max`] refused records.
    pub errors: Vec<RecordError>,
    /// Lines that were joined to the record before them (stack traces).
    pub continuation_lines: u64,
}

/// Decodes a whole (decompressed) body. `body` is scratch afterwards: the JSON parser works in place.
pub fn decode(body: &mut Vec<u8>, options: &DecodeOptions<'_>) -> Result<Decoded> {
    let _ = (body, options);
    unimplemented!("helper")
}

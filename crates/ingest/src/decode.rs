//! A body to one record batch.

use std::cell::RefCell;

use arrow_array::RecordBatch;

use crate::batch::BatchBuilder;
use crate::json::JsonRecords;
use crate::lines::TextLines;
use crate::shape::Shapes;
use crate::{Error, RecordError, RecordErrorCode, Result, TextFormat};

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

/// Decodes bodies, keeping its buffers from one to the next.
#[derive(Debug)]
pub struct Decoder {
    pub(crate) shapes: Shapes,
    pub(crate) batch: BatchBuilder,
    json: JsonRecords,
    text: TextLines,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder with empty buffers.
    pub fn new() -> Self {
        Self {
            shapes: Shapes::new(),
            batch: BatchBuilder::default(),
            json: JsonRecords::default(),
            text: TextLines::default(),
        }
    }

    /// Bytes of the columns' buffers, by far the most of what a decoder keeps: they are as long as the longest body they
    /// were used for, and there are as many as that with the most attributes had.
    pub fn capacity_bytes(&self) -> usize {
        self.batch.capacity_bytes()
    }

    /// Decodes a whole (decompressed) body. `body` is scratch afterwards: the JSON parser works in place.
    pub fn decode(&mut self, body: &mut Vec<u8>, options: &DecodeOptions<'_>) -> Result<Decoded> {
        if self.shapes.is_full() {
            self.shapes = Shapes::new();
        }
        self.batch.clear();
        let mut outcome = Outcome::new(options.limits.errors_max);
        // A record begins with a line or with a brace.
        self.batch.expect_rows(match options.format {
            BodyFormat::Json => memchr::memchr_iter(b'{', body).count(),
            BodyFormat::Ndjson | BodyFormat::Text(_) => {
                memchr::memchr_iter(b'\n', body).count() + 1
            }
        });
        match options.format {
            BodyFormat::Json => {
                self.json.document(
                    body,
                    options,
                    &mut self.shapes,
                    &mut self.batch,
                    &mut outcome,
                )?;
            }
            BodyFormat::Ndjson => {
                self.json.lines(
                    body,
                    options,
                    &mut self.shapes,
                    &mut self.batch,
                    &mut outcome,
                );
            }
            BodyFormat::Text(format) => {
                let (shapes, batch) = (&mut self.shapes, &mut self.batch);
                self.text
                    .decode(body, format, options, shapes, batch, &mut outcome);
            }
        }
        let accepted = self.batch.rows() as u64;
        if accepted + outcome.rejected == 0 {
            return Err(Error::Empty);
        }
        let batch = self.batch.finish(&self.shapes);
        Ok(Decoded {
            batch,
            accepted,
            rejected: outcome.rejected,
            errors: outcome.errors,
            continuation_lines: outcome.continuation_lines,
        })
    }
}

/// Decodes a body with buffers that the thread keeps; see [`Decoder::decode`].
pub fn decode(body: &mut Vec<u8>, options: &DecodeOptions<'_>) -> Result<Decoded> {
    thread_local! {
        static DECODER: RefCell<Decoder> = RefCell::new(Decoder::new());
    }
    DECODER.with(|decoder| decoder.borrow_mut().decode(body, options))
}

/// What is counted beside the good records.
#[derive(Debug)]
pub(crate) struct Outcome {
    errors_max: usize,
    rejected: u64,
    errors: Vec<RecordError>,
    continuation_lines: u64,
}

/// Why a record is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: RecordErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: RecordErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn too_large(length: usize, limit: usize) -> Self {
        let message = format!("the record has {length} bytes; the limit is {limit}");
        Self::new(RecordErrorCode::RecordTooLarge, message)
    }

    pub(crate) fn timestamp(found: &str) -> Self {
        let message = format!(
            "{found} is not a time between 1970 and 2261: use RFC 3339 or an epoch in s, ms, us or ns"
        );
        Self::new(RecordErrorCode::InvalidTimestamp, message)
    }
}

impl Outcome {
    fn new(errors_max: usize) -> Self {
        Self {
            errors_max,
            rejected: 0,
            errors: Vec::new(),
            continuation_lines: 0,
        }
    }

    pub(crate) fn refuse(&mut self, index: u64, refusal: Refusal) {
        self.rejected += 1;
        if self.errors.len() < self.errors_max {
            let Refusal { code, message } = refusal;
            self.errors.push(RecordError {
                index,
                code,
                message,
            });
        }
    }

    pub(crate) fn joined(&mut self, continuation_lines: u64) {
        self.continuation_lines += continuation_lines;
    }
}

/// At most a hundred characters of what was found, for an error's message.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARACTERS: usize = 100;
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_knows_what_it_keeps() {
        let options = DecodeOptions {
            format: BodyFormat::Ndjson,
            received_at_ns: 0,
            defaults: &[],
            limits: &DecodeLimits::default(),
            admit: &|_| true,
        };
        let mut decoder = Decoder::new();
        let mut decode = |field: &str| {
            let text = "x".repeat(100_000);
            let body = format!("{{\"service\":\"s\",\"{field}\":\"{text}\"}}\n").repeat(20);
            decoder.decode(&mut body.into_bytes(), &options).unwrap();
            decoder.capacity_bytes()
        };
        assert!(decode("message") >= 2_000_000);
        let both = decode("attribute");
        assert!(both >= 4_000_000, "both columns are kept");
        assert_eq!(
            decode("other"),
            both,
            "a column is used again under another name"
        );
    }
}

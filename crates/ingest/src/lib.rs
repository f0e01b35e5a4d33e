//! Wire formats: request bytes to Arrow record batches, and an error for every bad record.
//!
//! Invariant: no HTTP server, no storage. Columns are built as the bytes are read; there is no map per record.

mod batch;
mod columns;
mod compression;
mod decode;
mod defaults;
mod error;
mod json;
mod lines;
mod shape;
mod sink;
mod split;
pub mod text;
mod value;

pub use compression::{ContentEncoding, decompress};
pub use decode::{BodyFormat, DecodeLimits, DecodeOptions, Decoded, Decoder, decode};
pub use error::{Error, RecordError, RecordErrorCode, Result};
pub use sink::FieldSink;
pub use text::TextFormat;

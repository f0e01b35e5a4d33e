//! Wire formats: request bytes to Arrow record batches, and an error for every bad record.
//!
//! Invariant: no HTTP server, no storage. Columns are built as the bytes are read; there is no map per record.

mod compression;
mod decode;
mod error;
mod sink;
pub mod text;

pub use compression::{ContentEncoding, decompress};
pub use decode::{BodyFormat, DecodeLimits, DecodeOptions, Decoded, decode};
pub use error::{Error, RecordError, RecordErrorCode, Result};
pub use sink::FieldSink;
pub use text::TextFormat;

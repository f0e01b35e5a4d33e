//! What can go wrong with a body, and with one record of it.

use logmill_model::ErrorKind;

/// The result of decoding.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A body that cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There are no records in it.
    #[error("the body is empty")]
    Empty,
    /// It does not decompress.
    #[error("the body is not valid {encoding}: {detail}")]
    Decompress {
        /// `gzip`, `zstd`, `snappy`, `deflate`.
        encoding: &'static str,
        /// What the decompressor says.
        detail: String,
    },
    /// It decompresses to more than the limit.
    #[error("the decompressed body is longer than the limit of {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// A `Content-Encoding` that is not supported.
    #[error("content encoding {0:?} is not supported: use gzip, zstd, snappy, deflate or identity")]
    UnsupportedEncoding(String),
    /// A JSON document (object or array) that does not parse, so its records cannot be told apart.
    #[error("malformed JSON at byte {offset}: {detail}")]
    MalformedJson {
        /// Where.
        offset: u64,
        /// What is wrong.
        detail: String,
    },
}

impl Error {
    /// What the caller should do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            _ => ErrorKind::Invalid,
        }
    }

    /// A stable name for programs, snake case.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_body",
            Self::Decompress { .. } => "invalid_compression",
            Self::TooLarge { .. } => "body_too_large",
            Self::UnsupportedEncoding(_) => "unsupported_encoding",
            Self::MalformedJson { .. } => "malformed_json",
        }
    }
}

/// Why one record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordErrorCode {
    /// Not JSON.
    MalformedJson,
    /// Not UTF-8.
    InvalidUtf8,
    /// A NUL byte.
    NulByte,
    /// A JSON value that is not an object.
    NotAnObject,
    /// An object has a key twice.
    DuplicateKey,
    /// A time that cannot be read or is out of range.
    InvalidTimestamp,
    /// More bytes than a record may have.
    RecordTooLarge,
    /// More fields than a record may have.
    TooManyFields,
    /// Nested deeper than a record may be.
    TooDeep,
    /// A field name longer than one may be, or empty.
    InvalidFieldName,
    /// Does not fit the format that the request named.
    FormatMismatch,
}

impl RecordErrorCode {
    /// All codes.
    pub const ALL: [Self; 11] = [
        Self::MalformedJson,
        Self::InvalidUtf8,
        Self::NulByte,
        Self::NotAnObject,
        Self::DuplicateKey,
        Self::InvalidTimestamp,
        Self::RecordTooLarge,
        Self::TooManyFields,
        Self::TooDeep,
        Self::InvalidFieldName,
        Self::FormatMismatch,
    ];

    /// The code's name in answers, snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NulByte => "nul_byte",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateKey => "duplicate_key",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::RecordTooLarge => "record_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::TooDeep => "too_deep",
            Self::InvalidFieldName => "invalid_field_name",
            Self::FormatMismatch => "format_mismatch",
        }
    }
}

/// A record that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// 0-based position among the records of the request: of the array's elements, or of the lines that are not
    /// blank (text: of the first line of the record).
    pub index: u64,
    /// Why.
    pub code: RecordErrorCode,
    /// For people; says what was found and what would be right. At most a few hundred bytes.
    pub message: String,
}

//! Text lines: syslog, logfmt, access logs, application logs, and whatever else.

use crate::{FieldSink, RecordErrorCode};

/// How the lines of a `text/plain` body are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextFormat {
    /// Each line by the first format that fits.
    #[default]
    Auto,
    /// Each line is a message.
    Raw,
    /// RFC 5424 or RFC 3164.
    Syslog,
    /// `key=value key="quoted value"`.
    Logfmt,
    /// Apache's and nginx's common and combined access log.
    Clf,
}

/// State of a request.
#[derive(Debug, Default)]
pub struct TextState {}
/// Error.
#[derive(Debug)]
pub struct TextError {
    /// c
    pub code: RecordErrorCode,
    /// m
    pub message: String,
}
/// Record.
#[derive(Debug)]
pub struct TextRecord<'a> {
    /// i
    pub index: u64,
    /// t
    pub text: &'a [u8],
    /// l
    pub lines: u64,
}
/// Split.
pub fn split_records(body: &[u8], _format: TextFormat) -> impl Iterator<Item = TextRecord<'_>> {
    body.split(|b| *b == b'\n')
        .filter(|l| !l.trim_ascii().is_empty())
        .enumerate()
        .map(|(i, text)| TextRecord {
            index: i as u64,
            text,
            lines: 1,
        })
}
/// Parse.
pub fn parse_record<S: FieldSink>(
    text: &str,
    _format: TextFormat,
    _received_at_ns: i64,
    _state: &mut TextState,
    sink: &mut S,
) -> Result<(), TextError> {
    sink.message(text);
    Ok(())
}

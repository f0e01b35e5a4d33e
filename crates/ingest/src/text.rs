//! Text lines: syslog, logfmt, access logs, application logs, and whatever else. `docs/formats.md` describes them.
//!
//! A parser either fits a line whole, or leaves no trace: it looks first and pushes fields last.

mod access;
mod application;
mod continuation;
mod logfmt;
mod scan;
mod syslog;

use crate::{FieldSink, RecordErrorCode};

pub use continuation::{TextRecord, split_records};

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

/// What is remembered from line to line of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextState {
    /// The parser that fitted last is tried first.
    last: Option<Parser>,
}

/// A line that does not fit the format that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// Always [`RecordErrorCode::FormatMismatch`].
    pub code: RecordErrorCode,
    /// What is missing.
    pub message: String,
}

/// The formats that `auto` tries, in this order: those with the plainest marks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parser {
    Syslog5424,
    Syslog3164,
    Access,
    Application(application::Layout),
    Logfmt,
}

const PARSERS: [Parser; 16] = {
    use application::Layout;
    [
        Parser::Syslog5424,
        Parser::Syslog3164,
        Parser::Application(Layout::Iso),
        Parser::Access,
        Parser::Application(Layout::ApacheError),
        Parser::Application(Layout::ShortYear),
        Parser::Application(Layout::Compact),
        Parser::Application(Layout::Logcat),
        Parser::Application(Layout::Klog),
        Parser::Application(Layout::BlueGene),
        Parser::Application(Layout::Thunderbird),
        Parser::Application(Layout::Cluster),
        Parser::Application(Layout::Bars),
        Parser::Application(Layout::Proxifier),
        Parser::Application(Layout::FileThenIso),
        Parser::Logfmt,
    ]
};

impl Parser {
    fn parse<S: FieldSink>(self, text: &str, received_at_ns: i64, sink: &mut S) -> bool {
        match self {
            Self::Syslog5424 => syslog::rfc5424(text, sink),
            Self::Syslog3164 => syslog::rfc3164(text, received_at_ns, sink),
            Self::Access => access::parse(text, sink),
            Self::Application(layout) => layout.parse(text, received_at_ns, sink),
            Self::Logfmt => logfmt::parse(text, 2, sink),
        }
        .is_some()
    }
}

/// Reads a record and pushes its fields. `auto` and `raw` take every line.
pub fn parse_record<S: FieldSink>(
    text: &str,
    format: TextFormat,
    received_at_ns: i64,
    state: &mut TextState,
    sink: &mut S,
) -> Result<(), TextError> {
    let text = text.trim_end();
    let fits = match format {
        TextFormat::Raw => {
            sink.message(text);
            return Ok(());
        }
        TextFormat::Auto => {
            let last = state.last;
            let others = PARSERS.into_iter().filter(|parser| Some(*parser) != last);
            state.last = last
                .into_iter()
                .chain(others)
                .find(|parser| parser.parse(text, received_at_ns, sink));
            if state.last.is_none() {
                sink.message(text);
            }
            return Ok(());
        }
        TextFormat::Syslog => {
            syslog::rfc5424(text, sink).or_else(|| syslog::rfc3164(text, received_at_ns, sink))
        }
        TextFormat::Logfmt => logfmt::parse(text, 1, sink),
        TextFormat::Clf => access::parse(text, sink),
    };
    fits.ok_or_else(|| {
        let wanted = match format {
            TextFormat::Syslog => "syslog: <PRI>1 TIMESTAMP HOST APP …, or TIMESTAMP HOST TAG: …",
            TextFormat::Logfmt => "logfmt: key=value pairs",
            _ => "an access log: CLIENT - USER [TIME] \"REQUEST\" STATUS BYTES …",
        };
        let start: String = text.chars().take(80).collect();
        TextError {
            code: RecordErrorCode::FormatMismatch,
            message: format!("{start:?} is not {wanted}; format=auto keeps any line"),
        }
    })
}

#[cfg(test)]
pub(crate) mod testing {
    //! A sink that remembers.

    use logmill_model::{Level, time};
    use serde_json::{Map, Value, json};

    use super::{TextFormat, TextState, parse_record};
    use crate::FieldSink;

    #[derive(Default)]
    pub(crate) struct Fields(pub(crate) Map<String, Value>);

    impl FieldSink for Fields {
        fn timestamp_ns(&mut self, timestamp_ns: i64) {
            let mut text = Vec::new();
            time::format_rfc3339(timestamp_ns, &mut text);
            self.0
                .insert("timestamp".into(), json!(String::from_utf8(text).unwrap()));
        }
        fn level(&mut self, level: Level) {
            self.0.insert("level".into(), json!(level.as_str()));
        }
        fn service(&mut self, service: &str) {
            self.0.insert("service".into(), json!(service));
        }
        fn host(&mut self, host: &str) {
            self.0.insert("host".into(), json!(host));
        }
        fn message(&mut self, message: &str) {
            self.0.insert("message".into(), json!(message));
        }
        fn attribute_str(&mut self, name: &str, value: &str) {
            self.0.insert(name.into(), json!(value));
        }
        fn attribute_i64(&mut self, name: &str, value: i64) {
            self.0.insert(name.into(), json!(value));
        }
        fn attribute_f64(&mut self, name: &str, value: f64) {
            self.0.insert(name.into(), json!(value));
        }
        fn attribute_bool(&mut self, name: &str, value: bool) {
            self.0.insert(name.into(), json!(value));
        }
    }

    /// 2026-11-25T00:00:00Z
    pub(crate) const RECEIVED: i64 = 1_795_564_800_000_000_000;

    pub(crate) fn fields(text: &str, format: TextFormat) -> Option<Value> {
        let mut fields = Fields::default();
        let parsed = parse_record(
            text,
            format,
            RECEIVED,
            &mut TextState::default(),
            &mut fields,
        );
        parsed.ok().map(|()| Value::Object(fields.0))
    }

    pub(crate) fn check(text: &str, expected: Value) {
        assert_eq!(fields(text, TextFormat::Auto), Some(expected), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::text::testing::{check, fields};

    #[test]
    fn what_nothing_fits_is_kept_whole() {
        for text in [
            "hello world",
            "x = y",
            "{\"json\": true}",
            "a=1",
            "2026 was a year",
            "[brackets]",
        ] {
            check(text, json!({"message": text}));
        }
        assert_eq!(
            fields("2026-11-20 12:00:00 INFO x", TextFormat::Raw),
            Some(json!({"message": "2026-11-20 12:00:00 INFO x"}))
        );
    }

    #[test]
    fn a_named_format_refuses_what_does_not_fit() {
        for format in [TextFormat::Syslog, TextFormat::Logfmt, TextFormat::Clf] {
            assert_eq!(fields("hello world", format), None, "{format:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_taken_and_never_panics(
            text in "\\PC{0,60}|[<\\[(]?[0-9]{0,4}[-/. ]?[0-9]{0,2}[-/. ]?[0-9: ,.TZ]{0,16}[ \\[\\]:=\"a-z|-]{0,30}"
        ) {
            for format in [TextFormat::Auto, TextFormat::Raw] {
                prop_assert!(fields(&text, format).is_some());
            }
            for format in [TextFormat::Syslog, TextFormat::Logfmt, TextFormat::Clf] {
                let _ = fields(&text, format);
            }
        }
    }
}

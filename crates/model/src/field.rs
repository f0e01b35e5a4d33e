//! The canonical fields of a record, and the names other systems give them.

/// Time of the event, nanoseconds since the epoch, UTC.
pub const TIMESTAMP: &str = "timestamp";
/// Severity, one of [`Level`](crate::Level)'s names.
pub const LEVEL: &str = "level";
/// The service that wrote the record.
pub const SERVICE: &str = "service";
/// The machine it ran on.
pub const HOST: &str = "host";
/// The text of the record.
pub const MESSAGE: &str = "message";
/// The trace the record belongs to.
pub const TRACE_ID: &str = "trace_id";
/// The span the record belongs to.
pub const SPAN_ID: &str = "span_id";
/// The canonical label set of the record's stream, `{host="h",service="s"}`.
pub const STREAM: &str = "_stream";
/// JSON object text of the attributes past the bound on a tenant's columns.
pub const OVERFLOW: &str = "_overflow";
/// A level that [`Level::parse`](crate::Level::parse) does not know, as it was.
pub const LEVEL_TEXT: &str = "level_text";

/// The canonical fields in the order of the schema.
pub const CANONICAL: [&str; 8] = [
    TIMESTAMP, LEVEL, SERVICE, HOST, MESSAGE, TRACE_ID, SPAN_ID, STREAM,
];

/// A canonical field that has aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Canonical {
    /// [`TIMESTAMP`]
    Timestamp,
    /// [`LEVEL`]
    Level,
    /// [`SERVICE`]
    Service,
    /// [`HOST`]
    Host,
    /// [`MESSAGE`]
    Message,
    /// [`TRACE_ID`]
    TraceId,
    /// [`SPAN_ID`]
    SpanId,
    /// [`STREAM`]
    Stream,
}

impl Canonical {
    /// All of them, in the order of [`CANONICAL`].
    pub const ALL: [Self; 8] = [
        Self::Timestamp,
        Self::Level,
        Self::Service,
        Self::Host,
        Self::Message,
        Self::TraceId,
        Self::SpanId,
        Self::Stream,
    ];

    /// The field's name.
    pub const fn name(self) -> &'static str {
        CANONICAL[self as usize]
    }

    /// The names under which the field arrives, the one that wins first.
    pub const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Timestamp => &["timestamp", "@timestamp", "time", "_time", "ts", "datetime"],
            Self::Level => &[
                "level",
                "severity",
                "lvl",
                "log.level",
                "loglevel",
                "severity_text",
            ],
            Self::Service => &[
                "service",
                "service.name",
                "service_name",
                "app",
                "application",
            ],
            Self::Host => &["host", "hostname", "host.name"],
            Self::Message => &["message", "msg", "_msg", "log", "body"],
            Self::TraceId => &["trace_id", "traceId", "trace.id", "traceid"],
            Self::SpanId => &["span_id", "spanId", "span.id", "spanid"],
            Self::Stream => &["_stream"],
        }
    }
}

/// The canonical field that `name` is an alias of, and its priority: when a record has several aliases of one
/// field, the lowest number wins and the others stay ordinary attributes.
pub fn alias(name: &str) -> Option<(Canonical, u8)> {
    if name.len() > LONGEST_ALIAS {
        return None;
    }
    for canonical in Canonical::ALL {
        for (priority, alias) in (0_u8..).zip(canonical.aliases()) {
            if *alias == name {
                return Some((canonical, priority));
            }
        }
    }
    None
}

const LONGEST_ALIAS: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_leads_to_its_field() {
        for canonical in Canonical::ALL {
            assert_eq!(canonical.aliases()[0], canonical.name());
            for (priority, name) in canonical.aliases().iter().enumerate() {
                assert!(name.len() <= LONGEST_ALIAS, "{name}");
                let found = alias(name).unwrap();
                assert_eq!(
                    (found.0, usize::from(found.1)),
                    (canonical, priority),
                    "{name}"
                );
            }
        }
        for name in [
            "",
            "Timestamp",
            "messages",
            "_overflow",
            "x".repeat(99).as_str(),
        ] {
            assert_eq!(alias(name), None, "{name}");
        }
    }
}

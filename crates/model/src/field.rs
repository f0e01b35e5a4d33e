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

/// The canonical fields in the order of the schema.
pub const CANONICAL: [&str; 8] = [
    TIMESTAMP, LEVEL, SERVICE, HOST, MESSAGE, TRACE_ID, SPAN_ID, STREAM,
];

//! SQL as clients of PostgreSQL send it: with parameters, and with questions about the server itself.

use arrow_schema::{DataType, SchemaRef};
use logmill_model::TenantId;

/// A value for a parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlValue {
    /// No value.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// 64-bit floating point.
    Float(f64),
    /// Text; it becomes what the statement takes in its place.
    Text(String),
    /// Nanoseconds since the epoch, UTC.
    Timestamp(i64),
}

/// A read-only statement in PostgreSQL's dialect over the table `logs` of a tenant, `information_schema` and
/// `pg_catalog`.
#[derive(Clone, Debug, PartialEq)]
pub struct PostgresQuery {
    /// Whose records.
    pub tenant: TenantId,
    /// One statement that asks.
    pub sql: String,
    /// The values of `$1`, `$2`, ….
    pub parameters: Vec<SqlValue>,
    /// Longest run; the engine's own limit when `None` or longer than it.
    pub timeout_ms: Option<u64>,
}

/// What a statement takes and answers.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlShape {
    /// Types of `$1`, `$2`, …; text where anything would do.
    pub parameters: Vec<DataType>,
    /// Names and types of the columns.
    pub schema: SchemaRef,
}

/// What `SHOW` and `current_setting` say, as far as clients ask for it. Names are lower case.
pub const SETTINGS: [(&str, &str); 22] = [
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150000"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("application_name", ""),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "off"),
    ("in_hot_standby", "off"),
    ("default_transaction_read_only", "on"),
    ("transaction_read_only", "on"),
    ("transaction_isolation", "read committed"),
    ("default_transaction_isolation", "read committed"),
    ("search_path", "public"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("max_identifier_length", "63"),
    ("statement_timeout", "0"),
    ("lc_collate", "C"),
];

/// The PostgreSQL whose protocol and catalog are spoken; clients choose their questions by it.
pub const SERVER_VERSION: &str = concat!("15.0 (Logmill ", env!("CARGO_PKG_VERSION"), ")");

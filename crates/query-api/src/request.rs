//! What can be asked.

use logmill_model::{TenantId, TimeRange};
use serde::{Deserialize, Serialize};

use crate::{Filter, TextQuery};

/// Order of a page of records by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Newest first.
    #[default]
    Desc,
    /// Oldest first.
    Asc,
}

/// A structured query: the records of a tenant that match all of its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct LogQuery {
    /// Whose records.
    pub tenant: TenantId,
    /// When.
    pub range: TimeRange,
    /// Words and phrases that `message` has.
    pub text: Option<TextQuery>,
    /// Conditions on fields, all of which hold.
    pub filters: Vec<Filter>,
    /// Columns of the answer; all that have a value when `None`.
    pub fields: Option<Vec<String>>,
    /// By time.
    pub order: Order,
    /// Rows of a page (bounded by [`QueryLimits::page_max_rows`](crate::QueryLimits)), or of a stream.
    pub limit: u64,
    /// Where the previous page ended.
    pub cursor: Option<String>,
    /// Longest run; the engine's own limit when `None` or longer than it.
    pub timeout_ms: Option<u64>,
}

/// A read-only SQL statement over the table `logs` of a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlQuery {
    /// Whose records.
    pub tenant: TenantId,
    /// One statement: SELECT, WITH, EXPLAIN, SHOW COLUMNS or DESCRIBE.
    pub sql: String,
    /// Longest run; the engine's own limit when `None` or longer than it.
    pub timeout_ms: Option<u64>,
}

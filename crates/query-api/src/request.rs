//! What can be asked.

use logmill_lang::Query;
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

/// Which records a question is about: those of a tenant that match all parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Whose records.
    pub tenant: TenantId,
    /// When.
    pub range: TimeRange,
    /// Words and phrases that `message` has.
    pub text: Option<TextQuery>,
    /// Conditions on fields, all of which hold.
    pub filters: Vec<Filter>,
    /// A filter of LogsQL.
    pub logsql: Option<logmill_lang::Filter>,
    /// What relative times in `logsql` are relative to, nanoseconds.
    pub now_ns: i64,
}

impl Selection {
    /// All records of a tenant in a range of time.
    pub const fn all(tenant: TenantId, range: TimeRange) -> Self {
        Self {
            tenant,
            range,
            text: None,
            filters: Vec::new(),
            logsql: None,
            now_ns: 0,
        }
    }

    /// Whether the time alone decides.
    pub fn is_of_time_alone(&self) -> bool {
        self.text.is_none() && self.filters.is_empty() && self.logsql.is_none()
    }
}

/// A structured query: a page, or a stream, of the records of a selection.
#[derive(Clone, Debug, PartialEq)]
pub struct LogQuery {
    /// Which records.
    pub selection: Selection,
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

/// A LogsQL query over the records of a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct LogsQlQuery {
    /// Whose records.
    pub tenant: TenantId,
    /// What is asked.
    pub query: Query,
    /// When, beside what the query itself says of it. A (sub)query with `options(ignore_global_time_filter=true)` is not
    /// bound by it.
    pub range: TimeRange,
    /// The instant that times relative to now count from, nanoseconds since the epoch.
    pub now_ns: i64,
    /// Rows of the answer; of a query without pipes the newest, in their order. As many as
    /// [`QueryLimits::max_rows`](crate::QueryLimits) allows when `None`.
    pub limit: Option<u64>,
    /// Longest run; the engine's own limit when `None` or longer than it.
    pub timeout_ms: Option<u64>,
}

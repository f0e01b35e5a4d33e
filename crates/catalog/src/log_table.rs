//! The logs themselves as rows of a table beside the catalog, for teams that want plain Postgres.
//!
//! What the rows are made of is the caller's: they come and go in the binary format of COPY, field by field in the order
//! of [`RowColumn::ALL`], encoded. This module knows where rows are kept, and how to select and delete them.
//!
//! Invariant: rows and the watermark that covers them commit in one transaction, after the lock on `catalog_state` that puts
//! all changes in a row was taken as the last one; so a long COPY holds nobody up.

mod days;
mod deletion;
mod postgres;
mod select;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use logmill_model::{TenantId, TimeRange};
use serde::{Deserialize, Serialize};

use crate::{DeleteRow, FlushCommit, Result, SegmentId};

pub use postgres::PostgresLogTable;

/// Settings of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogTableOptions {
    /// Connections of queries, beside those of the catalog. One query needs one for each time that it names the table.
    pub read_connections_max: u32,
    /// How long one statement may take that reads, writes or deletes rows, in milliseconds.
    pub statement_timeout_ms: u64,
    /// How long to wait for the lock on a partition that is to be made or dropped, in milliseconds: so long may new queries
    /// of it have to wait behind old ones. Failing that, it is tried again later.
    pub lock_timeout_ms: u64,
    /// Records of so many days before today get partitions of their own; all that are older share one.
    pub partition_days: u32,
}

impl Default for LogTableOptions {
    fn default() -> Self {
        Self {
            read_connections_max: 8,
            statement_timeout_ms: 600_000,
            lock_timeout_ms: 2_000,
            partition_days: 400,
        }
    }
}

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowColumn {
    /// Text: whose record.
    Tenant,
    /// 64 bits: nanoseconds since 1970.
    Timestamp,
    /// Text.
    Level,
    /// Text.
    Service,
    /// Text.
    Host,
    /// Text.
    Message,
    /// Text.
    TraceId,
    /// Text.
    SpanId,
    /// Text.
    Stream,
    /// JSONB: an object of all other fields.
    Attributes,
    /// TSVECTOR: the message's words, for [`RowCondition::HasWord`].
    Words,
    /// Bytes: what the other columns cannot hold.
    Exact,
    /// 64 bits: the position in the queue.
    Sequence,
}

impl RowColumn {
    /// All columns, in the order in which they are written.
    pub const ALL: [Self; 13] = [
        Self::Tenant,
        Self::Timestamp,
        Self::Level,
        Self::Service,
        Self::Host,
        Self::Message,
        Self::TraceId,
        Self::SpanId,
        Self::Stream,
        Self::Attributes,
        Self::Words,
        Self::Exact,
        Self::Sequence,
    ];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Timestamp => "timestamp_ns",
            Self::Level => "level",
            Self::Service => "service",
            Self::Host => "host",
            Self::Message => "message",
            Self::TraceId => "trace_id",
            Self::SpanId => "span_id",
            Self::Stream => "stream",
            Self::Attributes => "attributes",
            Self::Words => "words",
            Self::Exact => "exact",
            Self::Sequence => "sequence",
        }
    }
}

/// The lexeme of a row that may have any word.
pub const ANY_WORD: &str = "*";

/// Rows that a flush writes.
#[derive(Clone, Debug, Default)]
pub struct NewRows {
    /// The UTC days that the rows are of, counted from 1970.
    pub days: Vec<i64>,
    /// The rows in COPY's binary format, each part by itself whole, from header to trailer.
    pub parts: Vec<Bytes>,
}

/// What a row has to have. Names and texts are data, never SQL.
#[derive(Clone, Debug, PartialEq)]
pub enum RowCondition {
    /// All of these hold; of every row if there are none.
    All(Vec<RowCondition>),
    /// One of these holds.
    Any(Vec<RowCondition>),
    /// A text column is one of these texts.
    In(RowColumn, Vec<String>),
    /// A column is there.
    Present(RowColumn),
    /// An attribute is there.
    HasAttribute(String),
    /// The message has a word, given in lower case.
    HasWord(String),
}

/// Which rows, and what of them.
#[derive(Clone, Debug, PartialEq)]
pub struct RowSelection {
    /// Whose.
    pub tenant: TenantId,
    /// What of them, in this order.
    pub columns: Vec<RowColumn>,
    /// When.
    pub range: TimeRange,
    /// Rows from this position of the queue on are left out.
    pub before: u64,
    /// Which.
    pub condition: RowCondition,
    /// By time; in no order without it.
    pub order: Option<RowOrder>,
    /// How many at most.
    pub limit: Option<u64>,
}

/// An order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// Where a row is, while a transaction lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowKey {
    /// The partition's table.
    pub table: u32,
    /// The page of it.
    pub block: u32,
    /// The row of the page.
    pub row: u16,
}

/// Rows of a tenant and day that retention deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredRows {
    /// Whose.
    pub tenant: TenantId,
    /// The UTC day, counted from 1970.
    pub day: i64,
    /// Rows from this position of the queue on stay.
    pub before: u64,
    /// The catalog's rows about them, which go with them.
    pub segments: Vec<SegmentId>,
}

/// Rows in the binary format of COPY, cut anywhere. Dropping it stops the reading.
pub type RowStream = BoxStream<'static, Result<Bytes>>;

/// The table.
#[async_trait]
pub trait LogTable: Send + Sync + std::fmt::Debug {
    /// [`Catalog::commit_flush`](crate::Catalog::commit_flush), and in the same transaction the rows.
    async fn commit_flush(&self, commit: FlushCommit, rows: NewRows) -> Result<()>;

    /// Reads rows.
    async fn read(&self, selection: &RowSelection) -> Result<RowStream>;

    /// Begins a transaction that deletes single rows.
    async fn begin_deletion(&self) -> Result<Box<dyn Deletion>>;

    /// Deletes days of tenants; a day that nobody has records of any more is dropped as a whole. A day that cannot be locked
    /// stays, and is the error in the end.
    async fn expire(&self, expired: Vec<ExpiredRows>) -> Result<()>;
}

/// A transaction that deletes single rows; dropped without a commit, nothing happened.
#[async_trait]
pub trait Deletion: Send {
    /// Reads rows, each preceded by two fields that make its [`RowKey`]: the table's number (32 bits) and the place in it
    /// (32 and 16 bits). An error of `take` ends it, and is returned within.
    async fn read(
        &mut self,
        selection: &RowSelection,
        take: &mut (dyn FnMut(Bytes) -> std::result::Result<(), String> + Send),
    ) -> Result<std::result::Result<(), String>>;

    /// Deletes rows that were read.
    async fn delete(&mut self, keys: &[RowKey]) -> Result<()>;

    /// Makes it last, and keeps what was asked for and done.
    async fn commit(self: Box<Self>, record: Option<&DeleteRow>) -> Result<()>;
}

//! The engine as its users see it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use async_trait::async_trait;
use futures::Stream;
use logmill_model::TenantId;
use serde::Serialize;

use crate::{
    Context, ContextQuery, Facets, FacetsQuery, FieldValues, FieldValuesQuery, Fields, FieldsQuery,
    Histogram, HistogramQuery, LogQuery, LogsQlQuery, Patterns, PatternsQuery, PostgresQuery,
    Result, SqlQuery, SqlShape, Tail, TailQuery,
};

/// Batches as they are made. Dropping the stream stops the query.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// What answering took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueryStats {
    /// Wall time inside the engine, milliseconds (fractions cut off by `elapsed_us`'s readers).
    pub elapsed_us: u64,
    /// Rows in the answer.
    pub rows_matched: u64,
    /// Rows looked at.
    pub rows_scanned: u64,
    /// Bytes read from segments, compressed.
    pub bytes_scanned: u64,
    /// Granules (pages of rows) read.
    pub granules_read: u64,
    /// Granules of all segments and memtable batches of the tenant.
    pub granules_total: u64,
}

/// Counters that a running query fills; read them when its stream has ended.
#[derive(Clone, Debug, Default)]
pub struct StatsHandle(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    elapsed_us: AtomicU64,
    rows_matched: AtomicU64,
    rows_scanned: AtomicU64,
    bytes_scanned: AtomicU64,
    granules_read: AtomicU64,
    granules_total: AtomicU64,
}

impl StatsHandle {
    /// Replaces the counters.
    pub fn set(&self, stats: QueryStats) {
        let Counters {
            elapsed_us,
            rows_matched,
            rows_scanned,
            bytes_scanned,
            granules_read,
            granules_total,
        } = &*self.0;
        elapsed_us.store(stats.elapsed_us, Ordering::Relaxed);
        rows_matched.store(stats.rows_matched, Ordering::Relaxed);
        rows_scanned.store(stats.rows_scanned, Ordering::Relaxed);
        bytes_scanned.store(stats.bytes_scanned, Ordering::Relaxed);
        granules_read.store(stats.granules_read, Ordering::Relaxed);
        granules_total.store(stats.granules_total, Ordering::Relaxed);
    }

    /// The counters now.
    pub fn get(&self) -> QueryStats {
        QueryStats {
            elapsed_us: self.0.elapsed_us.load(Ordering::Relaxed),
            rows_matched: self.0.rows_matched.load(Ordering::Relaxed),
            rows_scanned: self.0.rows_scanned.load(Ordering::Relaxed),
            bytes_scanned: self.0.bytes_scanned.load(Ordering::Relaxed),
            granules_read: self.0.granules_read.load(Ordering::Relaxed),
            granules_total: self.0.granules_total.load(Ordering::Relaxed),
        }
    }
}

/// One page of records, newest or oldest first.
#[derive(Debug)]
pub struct Page {
    /// The records' columns: the asked fields that exist, in the asked order; else all columns.
    pub schema: SchemaRef,
    /// The records.
    pub batches: Vec<RecordBatch>,
    /// Where the next page starts; `None` when this is the last.
    pub next_cursor: Option<String>,
    /// For people: unknown fields and the like.
    pub warnings: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
}

/// Records in order, as they are found.
pub struct RecordStream {
    /// The records' columns.
    pub schema: SchemaRef,
    /// The records.
    pub batches: BatchStream,
    /// For people: unknown fields and the like.
    pub warnings: Vec<String>,
    /// What it took, once the stream has ended.
    pub stats: StatsHandle,
}

/// The answer to SQL.
pub struct SqlAnswer {
    /// Names and types of the columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: BatchStream,
    /// What it took, once the stream has ended.
    pub stats: StatsHandle,
}

/// Answers questions about one process's store.
#[async_trait]
pub trait QueryEngine: Send + Sync {
    /// One page of a structured query.
    async fn query(&self, query: LogQuery) -> Result<Page>;

    /// All records of a structured query up to its limit, as a stream. It has no pages: a `cursor` is refused.
    async fn query_stream(&self, query: LogQuery) -> Result<RecordStream>;

    /// The answer to LogsQL: records, or what its pipes made of them. Columns have the names that LogsQL knows them by
    /// (`_time`, `_msg`); a column named `_overflow` has JSON objects, whose members are further fields.
    async fn logsql(&self, query: LogsQlQuery) -> Result<RecordStream>;

    /// A read-only statement.
    async fn sql(&self, query: SqlQuery) -> Result<SqlAnswer>;

    /// A read-only statement as a client of PostgreSQL sends it.
    async fn postgres(&self, query: PostgresQuery) -> Result<SqlAnswer>;

    /// What such a statement takes and answers; it is not run. `declared`: the types of its parameters as far as the
    /// client says them.
    async fn postgres_shape(
        &self,
        tenant: TenantId,
        sql: String,
        declared: Vec<Option<DataType>>,
    ) -> Result<SqlShape>;

    /// Counts over time.
    async fn histogram(&self, query: HistogramQuery) -> Result<Histogram>;

    /// The commonest values of several fields.
    async fn facets(&self, query: FacetsQuery) -> Result<Facets>;

    /// The fields that records have.
    async fn fields(&self, query: FieldsQuery) -> Result<Fields>;

    /// The values of one field.
    async fn field_values(&self, query: FieldValuesQuery) -> Result<FieldValues>;

    /// A record's neighbours in its stream.
    async fn context(&self, query: ContextQuery) -> Result<Context>;

    /// The patterns of messages.
    async fn patterns(&self, query: PatternsQuery) -> Result<Patterns>;

    /// Records as they become visible. What a reader leaves lying is bounded; it is told how many records it misses.
    async fn tail(&self, query: TailQuery) -> Result<Tail>;
}

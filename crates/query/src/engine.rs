//! The engine: admission, threads, and the three ways to ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use logmill_model::ErrorKind;
use logmill_query_api::{
    Error, LogQuery, Page, QueryEngine, QueryLimits, RecordStream, Result, SqlAnswer, SqlQuery,
    StatsHandle,
};
use logmill_store::Store;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use crate::cursor::Cursor;
use crate::deletes::Matcher;
use crate::errors::translate;
use crate::page::{PageQuery, projection};
use crate::records::{self, First};
use crate::session::{Environment, Session};
use crate::sql;
use crate::stream::{AbortOnDrop, Answer, Bounds, Execution};

/// Stack of a query thread: deep expressions are walked recursively.
const STACK_BYTES: usize = 8 << 20;

/// The query engine over a store.
pub struct Engine {
    inner: Arc<Inner>,
    /// Threads of their own, so that a long query never stalls the server's.
    runtime: Option<Runtime>,
}

struct Inner {
    store: Arc<Store>,
    limits: QueryLimits,
    cursor_key: [u8; 32],
    environment: Environment,
    permits: Arc<Semaphore>,
}

/// A query's place among those that may run; it is counted as long as it lives.
pub(crate) struct Running {
    kind: &'static str,
    begun: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Running {
    fn drop(&mut self) {
        metrics::gauge!("logmill_queries_running").decrement(1.0);
        let seconds = self.begun.elapsed().as_secs_f64();
        metrics::histogram!("logmill_query_seconds", "kind" => self.kind).record(seconds);
    }
}

/// Counts a query that failed, by its code.
pub(crate) fn count_failure(error: &Error) {
    metrics::counter!("logmill_query_failures_total", "code" => error.code()).increment(1);
}

impl Engine {
    /// An engine over `store`; `cursor_key` seals cursors, and must stay the same for them to stay valid.
    pub fn new(store: Arc<Store>, limits: QueryLimits, cursor_key: [u8; 32]) -> Result<Self> {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let threads = match usize::try_from(limits.threads) {
            Ok(0) | Err(_) => processors,
            Ok(threads) => threads,
        };
        let internal = |message: String| Error::Engine {
            kind: ErrorKind::Internal,
            message,
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("logmill-query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| internal(format!("starting the query threads: {error}")))?;
        let environment = Environment::new(&store, &limits, threads)
            .map_err(|error| internal(error.to_string()))?;
        store.set_delete_matcher(Arc::new(Matcher::new(&store, environment.state())));
        let permits = usize::try_from(limits.max_concurrent).unwrap_or(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        let inner = Inner {
            store,
            limits,
            cursor_key,
            environment,
            permits,
        };
        Ok(Self {
            inner: Arc::new(inner),
            runtime: Some(runtime),
        })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime
            .as_ref()
            .expect("it is only taken when the engine is dropped")
    }

    /// Runs a step of a query on the query's threads, within its time.
    async fn run<T: Send + 'static>(
        &self,
        timeout: Duration,
        step: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut task = AbortOnDrop(self.runtime().spawn(step.in_current_span()));
        let outcome = match tokio::time::timeout(timeout, &mut task.0).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panicked)) => Err(Error::Engine {
                kind: ErrorKind::Internal,
                message: format!("a query task: {panicked}"),
            }),
            Err(_elapsed) => {
                let limit_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                Err(Error::Timeout { limit_ms })
            }
        };
        outcome.inspect_err(count_failure)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting is not allowed where async code runs.
            runtime.shutdown_background();
        }
    }
}

impl Inner {
    fn begin(&self, kind: &'static str, begun: Instant) -> Result<Running> {
        let permit = self
            .permits
            .clone()
            .try_acquire_owned()
            .map_err(|_none_left| {
                let error = Error::TooManyQueries {
                    running: self.limits.max_concurrent,
                };
                count_failure(&error);
                error
            })?;
        metrics::gauge!("logmill_queries_running").increment(1.0);
        Ok(Running {
            kind,
            begun,
            _permit: permit,
        })
    }

    fn timeout(&self, asked_ms: Option<u64>) -> Duration {
        let limit = self.limits.timeout_ms;
        Duration::from_millis(asked_ms.map_or(limit, |asked| asked.clamp(1, limit)))
    }

    fn translate(&self, error: &datafusion::common::DataFusionError) -> Error {
        translate(error, self.limits.memory_max_bytes)
    }

    /// The cursor of a query that has one; the query gets the range of its first page.
    fn resume(&self, query: &mut LogQuery) -> Result<Option<Cursor>> {
        let Some(text) = query.cursor.take() else {
            return Ok(None);
        };
        let cursor = Cursor::open(&text, query, &self.cursor_key)?;
        query.range = cursor.range;
        Ok(Some(cursor))
    }

    async fn page(&self, mut query: LogQuery, begun: Instant) -> Result<Page> {
        check_limit(query.limit, self.limits.page_max_rows)?;
        let cursor = self.resume(&mut query)?;
        let snapshot = self.store.snapshot(&query.tenant);
        let table = snapshot.schema.clone();
        let session = self
            .environment
            .session(&query.tenant, snapshot)
            .map_err(|error| self.translate(&error))?;
        let page = PageQuery {
            session: &session,
            table: &table,
            query: &query,
            cursor,
            cursor_key: &self.cursor_key,
        };
        page.run(begun)
            .await
            .map_err(|error| self.translate(&error))
    }

    /// Plans a stream of records: what follows the cursor's group is not split by content, so a stream that
    /// continues a page begins after the page's last time.
    async fn record_stream(
        &self,
        mut query: LogQuery,
        begun: Instant,
    ) -> Result<(Execution, Vec<String>)> {
        check_limit(query.limit, self.limits.max_rows)?;
        if query.cursor.is_some() {
            let message =
                "a stream has no pages: leave the cursor out, or ask for application/json";
            return Err(Error::Invalid {
                code: "invalid_cursor",
                message: message.to_owned(),
            });
        }
        query.cursor = None;
        let snapshot = self.store.snapshot(&query.tenant);
        let table = snapshot.schema.clone();
        let session = self
            .environment
            .session(&query.tenant, snapshot)
            .map_err(|error| self.translate(&error))?;
        let (columns, warnings) = projection(&table, &query);
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let first = First {
            order: query.order,
            rows: limit,
        };
        let conditions = records::conditions(&table, &query);
        let plan = session
            .records(conditions, &columns, Some(first))
            .await
            .map_err(|error| self.translate(&error))?;
        let execution = self.execute(session, plan, begun)?;
        Ok((execution, warnings))
    }

    async fn sql(&self, query: SqlQuery, begun: Instant) -> Result<Execution> {
        let snapshot = self.store.snapshot(&query.tenant);
        let session = self
            .environment
            .session(&query.tenant, snapshot)
            .map_err(|error| self.translate(&error))?;
        let plan = sql::plan(&session, &query.sql, self.limits.memory_max_bytes)
            .instrument(tracing::debug_span!("plan"))
            .await?;
        self.execute(session, plan, begun)
    }

    fn execute(
        &self,
        session: Session,
        plan: Arc<dyn ExecutionPlan>,
        begun: Instant,
    ) -> Result<Execution> {
        let batches = execute_stream(plan.clone(), session.context.clone())
            .map_err(|error| self.translate(&error))?;
        Ok(Execution {
            session,
            plan,
            batches,
            stats: StatsHandle::default(),
            begun,
            memory_limit: self.limits.memory_max_bytes,
        })
    }
}

fn check_limit(limit: u64, most: u64) -> Result<()> {
    if (1..=most).contains(&limit) {
        return Ok(());
    }
    let message = format!("limit is 1 to {most}, not {limit}");
    Err(Error::Invalid {
        code: "invalid_limit",
        message,
    })
}

#[async_trait]
impl QueryEngine for Engine {
    async fn query(&self, query: LogQuery) -> Result<Page> {
        let begun = Instant::now();
        let _running = self.inner.begin("query", begun)?;
        let inner = self.inner.clone();
        let timeout = inner.timeout(query.timeout_ms);
        self.run(timeout, async move { inner.page(query, begun).await })
            .await
    }

    async fn query_stream(&self, query: LogQuery) -> Result<RecordStream> {
        let begun = Instant::now();
        let running = self.inner.begin("stream", begun)?;
        let inner = self.inner.clone();
        let timeout = inner.timeout(query.timeout_ms);
        let step = async move { inner.record_stream(query, begun).await };
        let (execution, warnings) = self.run(timeout, step).await?;
        let (schema, stats) = (execution.plan.schema(), execution.stats.clone());
        let bounds = Bounds {
            timeout,
            rows: self.inner.limits.max_rows,
        };
        let answer = Answer::start(self.runtime().handle(), execution, bounds, running);
        Ok(RecordStream {
            schema,
            batches: Box::pin(answer),
            warnings,
            stats,
        })
    }

    async fn sql(&self, query: SqlQuery) -> Result<SqlAnswer> {
        let begun = Instant::now();
        let running = self.inner.begin("sql", begun)?;
        let inner = self.inner.clone();
        let timeout = inner.timeout(query.timeout_ms);
        let execution = self
            .run(timeout, async move { inner.sql(query, begun).await })
            .await?;
        let (schema, stats) = (execution.plan.schema(), execution.stats.clone());
        let bounds = Bounds {
            timeout,
            rows: self.inner.limits.max_rows,
        };
        let answer = Answer::start(self.runtime().handle(), execution, bounds, running);
        Ok(SqlAnswer {
            schema,
            batches: Box::pin(answer),
            stats,
        })
    }
}

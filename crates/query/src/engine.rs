//! The engine: admission, threads, and the three ways to ask.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_schema::DataType;
use async_trait::async_trait;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use logmill_model::{ErrorKind, TenantId};
use logmill_query_api::{
    Context, ContextQuery, Error, Facets, FacetsQuery, FieldValues, FieldValuesQuery, Fields,
    FieldsQuery, Histogram, HistogramQuery, LogQuery, LogsQlQuery, Page, Patterns, PatternsQuery,
    PostgresQuery, QueryEngine, QueryLimits, RecordStream, Result, Selection, SqlAnswer, SqlQuery,
    SqlShape, StatsHandle, Tail, TailQuery,
};
use logmill_schema::TableSchema;
use logmill_store::Store;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use crate::cursor::Cursor;
use crate::deletes::Matcher;
use crate::errors::translate;
use crate::logsql;
use crate::page::{PageQuery, projection};
use crate::postgres;
use crate::records::{self, First};
use crate::session::{Environment, Session};
use crate::sql;
use crate::stream::{AbortOnDrop, Answer, Bounds, Execution};
use crate::tail::Places;

/// Stack of a query thread: deep expressions are walked recursively.
const STACK_BYTES: usize = 8 << 20;

/// The query engine over a store.
pub struct Engine {
    inner: Arc<Inner>,
    /// Threads of their own, so that a long query never stalls the server's.
    runtime: Option<Runtime>,
}

/// What the steps of a query share.
pub(crate) struct Inner {
    pub(crate) store: Arc<Store>,
    pub(crate) limits: QueryLimits,
    pub(crate) cursor_key: [u8; 32],
    pub(crate) environment: Environment,
    permits: Arc<Semaphore>,
    pub(crate) tails: Places,
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
            tails: Places::default(),
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

    /// The rows of an execution, as they are made.
    fn answer(&self, execution: Execution, timeout: Duration, running: Running) -> SqlAnswer {
        let (schema, stats) = (execution.plan.schema(), execution.stats.clone());
        let bounds = Bounds {
            timeout,
            rows: self.inner.limits.max_rows,
        };
        let answer = Answer::start(self.runtime().handle(), execution, bounds, running);
        SqlAnswer {
            schema,
            batches: Box::pin(answer),
            stats,
        }
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

impl Engine {
    /// Answers a question whose answer is given when it is whole.
    async fn whole<T, S>(
        &self,
        kind: &'static str,
        timeout_ms: Option<u64>,
        step: impl FnOnce(Arc<Inner>, Instant) -> S,
    ) -> Result<T>
    where
        T: Send + 'static,
        S: Future<Output = Result<T>> + Send + 'static,
    {
        let begun = Instant::now();
        let running = self.inner.begin(kind, begun)?;
        let step = step(self.inner.clone(), begun);
        let step = async move {
            let _running = running;
            step.await
        };
        self.run(self.inner.timeout(timeout_ms), step).await
    }
}

impl Engine {
    /// The plan of a LogsQL query, for people: an operator a line, the last first. Subqueries in its filters are run.
    pub async fn explain(&self, query: LogsQlQuery) -> Result<String> {
        let timeout_ms = query.timeout_ms;
        let step = |inner: Arc<Inner>, _begun| async move {
            let (_session, plan) = inner.logsql_plan(&query).await?;
            Ok(displayable(plan.as_ref()).indent(false).to_string())
        };
        self.whole("explain", timeout_ms, step).await
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

    pub(crate) fn translate(&self, error: &datafusion::common::DataFusionError) -> Error {
        translate(error, self.limits.memory_max_bytes)
    }

    /// The conditions of a selection; subqueries of its filter are run first.
    pub(crate) async fn conditions(
        &self,
        session: &Session,
        table: &TableSchema,
        selection: &Selection,
    ) -> Result<Vec<Expr>> {
        let selection = self.without_subqueries(session, table, selection).await?;
        records::conditions(table, &selection).map_err(|error| self.translate(&error))
    }

    /// A selection with lists in the places of its filter's subqueries.
    pub(crate) async fn without_subqueries<'a>(
        &self,
        session: &Session,
        table: &TableSchema,
        selection: &'a Selection,
    ) -> Result<Cow<'a, Selection>> {
        let most = self.limits.subquery_max_values;
        let resolved = logsql::without_subqueries(session, table, selection, most).await;
        resolved.map_err(|error| self.translate(&error))
    }

    /// The cursor of a query that has one; the query gets the range of its first page.
    fn resume(&self, query: &mut LogQuery) -> Result<Option<Cursor>> {
        let Some(text) = query.cursor.take() else {
            return Ok(None);
        };
        let cursor = Cursor::open(&text, query, &self.cursor_key)?;
        query.selection.range = cursor.range;
        Ok(Some(cursor))
    }

    async fn page(&self, mut query: LogQuery, begun: Instant) -> Result<Page> {
        check_limit(query.limit, self.limits.page_max_rows)?;
        let cursor = self.resume(&mut query)?;
        let snapshot = self.store.snapshot(&query.selection.tenant);
        let table = snapshot.schema.clone();
        let session = self
            .environment
            .session(&query.selection.tenant, snapshot)
            .map_err(|error| self.translate(&error))?;
        let page = PageQuery {
            session: &session,
            table: &table,
            query: &query,
            conditions: self.conditions(&session, &table, &query.selection).await?,
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
        let snapshot = self.store.snapshot(&query.selection.tenant);
        let table = snapshot.schema.clone();
        let session = self
            .environment
            .session(&query.selection.tenant, snapshot)
            .map_err(|error| self.translate(&error))?;
        let (columns, warnings) = projection(&table, &query);
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let first = First {
            order: query.order,
            rows: limit,
        };
        let conditions = self.conditions(&session, &table, &query.selection).await?;
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

    async fn postgres(&self, query: PostgresQuery, begun: Instant) -> Result<Execution> {
        let session = self.session_of(&query.tenant)?;
        let limit = self.limits.memory_max_bytes;
        let planning = async {
            let (state, plan) =
                postgres::plan(&session, &query.sql, &query.parameters, limit).await?;
            sql::physical_plan(&session, &state, &plan, limit).await
        };
        let plan = planning.instrument(tracing::debug_span!("plan")).await?;
        self.execute(session, plan, begun)
    }

    /// A session over what a tenant has now.
    fn session_of(&self, tenant: &TenantId) -> Result<Session> {
        let snapshot = self.store.snapshot(tenant);
        self.environment
            .session(tenant, snapshot)
            .map_err(|error| self.translate(&error))
    }

    /// The plan of a query, and the session it is to run in.
    async fn logsql_plan(&self, query: &LogsQlQuery) -> Result<(Session, Arc<dyn ExecutionPlan>)> {
        if let Some(limit) = query.limit {
            check_limit(limit, self.limits.max_rows)?;
        }
        let snapshot = self.store.snapshot(&query.tenant);
        let table = snapshot.schema.clone();
        let session = self
            .environment
            .session(&query.tenant, snapshot)
            .map_err(|error| self.translate(&error))?;
        let asked = logsql::Asked {
            session: &session,
            table: &table,
            query: &query.query,
            range: query.range,
            now_ns: query.now_ns,
            limit: query.limit,
            subquery_max_values: self.limits.subquery_max_values,
        };
        let plan = logsql::plan(asked)
            .await
            .map_err(|error| self.translate(&error))?;
        Ok((session, plan))
    }

    async fn logsql(&self, query: LogsQlQuery, begun: Instant) -> Result<Execution> {
        let (session, plan) = self.logsql_plan(&query).await?;
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

/// Refuses a limit beyond its own.
pub(crate) fn check_limit(limit: u64, most: u64) -> Result<()> {
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

    async fn logsql(&self, query: LogsQlQuery) -> Result<RecordStream> {
        let begun = Instant::now();
        let running = self.inner.begin("logsql", begun)?;
        let inner = self.inner.clone();
        let timeout = inner.timeout(query.timeout_ms);
        let step = async move { inner.logsql(query, begun).await };
        let execution = self.run(timeout, step).await?;
        let (schema, stats) = (execution.plan.schema(), execution.stats.clone());
        let bounds = Bounds {
            timeout,
            rows: self.inner.limits.max_rows,
        };
        let answer = Answer::start(self.runtime().handle(), execution, bounds, running);
        Ok(RecordStream {
            schema,
            batches: Box::pin(answer),
            warnings: Vec::new(),
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
        Ok(self.answer(execution, timeout, running))
    }

    async fn postgres(&self, query: PostgresQuery) -> Result<SqlAnswer> {
        let begun = Instant::now();
        let running = self.inner.begin("postgres", begun)?;
        let inner = self.inner.clone();
        let timeout = inner.timeout(query.timeout_ms);
        let execution = self
            .run(timeout, async move { inner.postgres(query, begun).await })
            .await?;
        Ok(self.answer(execution, timeout, running))
    }

    async fn postgres_shape(
        &self,
        tenant: TenantId,
        sql: String,
        declared: Vec<Option<DataType>>,
    ) -> Result<SqlShape> {
        let _running = self.inner.begin("shape", Instant::now())?;
        let inner = self.inner.clone();
        let shape = async move {
            let session = inner.session_of(&tenant)?;
            let limit = inner.limits.memory_max_bytes;
            postgres::shape(&session, &sql, &declared, limit).await
        };
        self.run(self.inner.timeout(None), shape).await
    }

    async fn histogram(&self, query: HistogramQuery) -> Result<Histogram> {
        let timeout_ms = query.timeout_ms;
        let step = |inner: Arc<Inner>, begun| async move { inner.histogram(query, begun).await };
        self.whole("histogram", timeout_ms, step).await
    }

    async fn facets(&self, query: FacetsQuery) -> Result<Facets> {
        let timeout_ms = query.timeout_ms;
        let step = |inner: Arc<Inner>, begun| async move { inner.facets(query, begun).await };
        self.whole("facets", timeout_ms, step).await
    }

    async fn fields(&self, query: FieldsQuery) -> Result<Fields> {
        let timeout_ms = query.timeout_ms;
        let step = |inner: Arc<Inner>, begun| async move { inner.fields(query, begun).await };
        self.whole("fields", timeout_ms, step).await
    }

    async fn field_values(&self, query: FieldValuesQuery) -> Result<FieldValues> {
        let timeout_ms = query.timeout_ms;
        let step = |inner: Arc<Inner>, begun| async move { inner.field_values(query, begun).await };
        self.whole("values", timeout_ms, step).await
    }

    async fn context(&self, query: ContextQuery) -> Result<Context> {
        let timeout_ms = query.timeout_ms;
        let step = |inner: Arc<Inner>, begun| async move { inner.context(query, begun).await };
        self.whole("context", timeout_ms, step).await
    }

    async fn patterns(&self, query: PatternsQuery) -> Result<Patterns> {
        let timeout_ms = query.timeout_ms;
        let step = |inner: Arc<Inner>, begun| async move { inner.patterns(query, begun).await };
        self.whole("patterns", timeout_ms, step).await
    }

    async fn tail(&self, query: TailQuery) -> Result<Tail> {
        let runtime = self.runtime().handle().clone();
        let step = |inner: Arc<Inner>, _begun| inner.tail(query, runtime);
        self.whole("tail", None, step).await
    }
}

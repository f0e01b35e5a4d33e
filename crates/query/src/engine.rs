//! The engine: threads, and the ways to ask.

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
use tracing::Instrument;

use crate::admission::{Admission, Place, TimeLimit};
use crate::cursor::Cursor;
use crate::deletes::Matcher;
use crate::errors::translate;
use crate::logsql;
use crate::page::{PageQuery, projection};
use crate::postgres;
use crate::records::{self, First};
use crate::session::{Environment, Session};
use crate::sql;
use crate::stream::{AbortOnDrop, Answer, Execution};
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
    admission: Admission,
    pub(crate) tails: Places,
}

/// Who asks, and how long it may take.
struct Question {
    /// For metrics.
    kind: &'static str,
    tenant: TenantId,
    timeout_ms: Option<u64>,
}

impl Question {
    fn new(kind: &'static str, tenant: &TenantId, timeout_ms: Option<u64>) -> Self {
        let tenant = tenant.clone();
        Self {
            kind,
            tenant,
            timeout_ms,
        }
    }
}

/// A query that was let in; it has its place as long as this lives.
pub(crate) struct Running {
    kind: &'static str,
    /// When it was let in.
    begun: Instant,
    pub(crate) time: TimeLimit,
    _place: Place,
}

impl Drop for Running {
    fn drop(&mut self) {
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
        let inner = Inner {
            store,
            admission: Admission::new(&limits),
            limits,
            cursor_key,
            environment,
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

    /// Runs a step of a query on the query's threads, within its time.
    async fn run<T: Send + 'static>(
        &self,
        time: TimeLimit,
        step: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut task = AbortOnDrop(self.runtime().spawn(step.in_current_span()));
        let outcome = match tokio::time::timeout_at(time.deadline, &mut task.0).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panicked)) => Err(Error::Engine {
                kind: ErrorKind::Internal,
                message: format!("a query task: {panicked}"),
            }),
            Err(_elapsed) => Err(time.exceeded()),
        };
        outcome.inspect_err(count_failure)
    }

    /// Answers a question whose answer is given when it is whole.
    async fn whole<T, S>(
        &self,
        question: Question,
        step: impl FnOnce(Arc<Inner>, Instant) -> S,
    ) -> Result<T>
    where
        T: Send + 'static,
        S: Future<Output = Result<T>> + Send + 'static,
    {
        let running = self.inner.begin(&question).await?;
        let time = running.time;
        let step = step(self.inner.clone(), running.begun);
        let step = async move {
            let _running = running;
            step.await
        };
        self.run(time, step).await
    }

    /// Answers a question with rows as they are made.
    async fn streamed<S>(
        &self,
        question: Question,
        step: impl FnOnce(Arc<Inner>, Instant) -> S,
    ) -> Result<RecordStream>
    where
        S: Future<Output = Result<Execution>> + Send + 'static,
    {
        let running = self.inner.begin(&question).await?;
        let time = running.time;
        let step = step(self.inner.clone(), running.begun);
        let max_rows = self.inner.limits.max_rows;
        let handle = self.runtime().handle().clone();
        // It begins where it was planned: waking another thread in between takes as long as a small answer.
        let begin = async move {
            let mut execution = step.await?;
            let (schema, stats) = (execution.plan.schema(), execution.stats.clone());
            let warnings = std::mem::take(&mut execution.warnings);
            let answer = Answer::start(&handle, execution, max_rows, running);
            Ok(RecordStream {
                schema,
                batches: Box::pin(answer),
                warnings,
                stats,
            })
        };
        self.run(time, begin).await
    }
}

/// What SQL answers with has no warnings.
fn sql_answer(stream: RecordStream) -> SqlAnswer {
    SqlAnswer {
        schema: stream.schema,
        batches: stream.batches,
        stats: stream.stats,
    }
}

impl Engine {
    /// The plan of a LogsQL query, for people: an operator a line, the last first. Subqueries in its filters are run.
    pub async fn explain(&self, query: LogsQlQuery) -> Result<String> {
        let question = Question::new("explain", &query.tenant, query.timeout_ms);
        let step = |inner: Arc<Inner>, _begun| async move {
            let (_session, plan) = inner.logsql_plan(&query).await?;
            Ok(displayable(plan.as_ref()).indent(false).to_string())
        };
        self.whole(question, step).await
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
    /// Lets a query in, when it is its turn; waiting is part of its time.
    async fn begin(&self, question: &Question) -> Result<Running> {
        let time = TimeLimit::from_now(self.timeout(question.timeout_ms));
        let place = self.admission.enter(&question.tenant, time).await;
        Ok(Running {
            kind: question.kind,
            begun: Instant::now(),
            time,
            _place: place.inspect_err(count_failure)?,
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
    async fn record_stream(&self, mut query: LogQuery, begun: Instant) -> Result<Execution> {
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
        let mut execution = self.execute(session, plan, begun)?;
        execution.warnings = warnings;
        Ok(execution)
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
            warnings: Vec::new(),
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
        let question = Question::new("query", &query.selection.tenant, query.timeout_ms);
        let step = |inner: Arc<Inner>, begun| async move { inner.page(query, begun).await };
        self.whole(question, step).await
    }

    async fn query_stream(&self, query: LogQuery) -> Result<RecordStream> {
        let question = Question::new("stream", &query.selection.tenant, query.timeout_ms);
        let step =
            |inner: Arc<Inner>, begun| async move { inner.record_stream(query, begun).await };
        self.streamed(question, step).await
    }

    async fn logsql(&self, query: LogsQlQuery) -> Result<RecordStream> {
        let question = Question::new("logsql", &query.tenant, query.timeout_ms);
        let step = |inner: Arc<Inner>, begun| async move { inner.logsql(query, begun).await };
        self.streamed(question, step).await
    }

    async fn sql(&self, query: SqlQuery) -> Result<SqlAnswer> {
        let question = Question::new("sql", &query.tenant, query.timeout_ms);
        let step = |inner: Arc<Inner>, begun| async move { inner.sql(query, begun).await };
        self.streamed(question, step).await.map(sql_answer)
    }

    async fn postgres(&self, query: PostgresQuery) -> Result<SqlAnswer> {
        let question = Question::new("postgres", &query.tenant, query.timeout_ms);
        let step = |inner: Arc<Inner>, begun| async move { inner.postgres(query, begun).await };
        self.streamed(question, step).await.map(sql_answer)
    }

    async fn postgres_shape(
        &self,
        tenant: TenantId,
        sql: String,
        declared: Vec<Option<DataType>>,
    ) -> Result<SqlShape> {
        let question = Question::new("shape", &tenant, None);
        let step = |inner: Arc<Inner>, _begun| async move {
            let session = inner.session_of(&tenant)?;
            let limit = inner.limits.memory_max_bytes;
            postgres::shape(&session, &sql, &declared, limit).await
        };
        self.whole(question, step).await
    }

    async fn histogram(&self, query: HistogramQuery) -> Result<Histogram> {
        let question = Question::new("histogram", &query.selection.tenant, query.timeout_ms);
        let step = |inner: Arc<Inner>, begun| async move { inner.histogram(query, begun).await };
        self.whole(question, step).await
    }

    async fn facets(&self, query: FacetsQuery) -> Result<Facets> {
        let question = Question::new("facets", &query.selection.tenant, query.timeout_ms);
        let step = |inner: Arc<Inner>, begun| async move { inner.facets(query, begun).await };
        self.whole(question, step).await
    }

    async fn fields(&self, query: FieldsQuery) -> Result<Fields> {
        let question = Question::new("fields", &query.selection.tenant, query.timeout_ms);
        let step = |inner: Arc<Inner>, begun| async move { inner.fields(query, begun).await };
        self.whole(question, step).await
    }

    async fn field_values(&self, query: FieldValuesQuery) -> Result<FieldValues> {
        let question = Question::new("values", &query.selection.tenant, query.timeout_ms);
        let step = |inner: Arc<Inner>, begun| async move { inner.field_values(query, begun).await };
        self.whole(question, step).await
    }

    async fn context(&self, query: ContextQuery) -> Result<Context> {
        let question = Question::new("context", &query.selection.tenant, query.timeout_ms);
        let step = |inner: Arc<Inner>, begun| async move { inner.context(query, begun).await };
        self.whole(question, step).await
    }

    async fn patterns(&self, query: PatternsQuery) -> Result<Patterns> {
        let question = Question::new("patterns", &query.selection.tenant, query.timeout_ms);
        let step = |inner: Arc<Inner>, begun| async move { inner.patterns(query, begun).await };
        self.whole(question, step).await
    }

    async fn tail(&self, query: TailQuery) -> Result<Tail> {
        let question = Question::new("tail", &query.selection.tenant, None);
        let runtime = self.runtime().handle().clone();
        let step = |inner: Arc<Inner>, _begun| inner.tail(query, runtime);
        self.whole(question, step).await
    }
}

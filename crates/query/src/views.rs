//! What a log page draws: each a question over a snapshot whose answer is small and given when it is whole.

mod context;
mod facets;
mod fields;
mod fold;
mod histogram;
mod patterns;
mod text;
mod values;
mod whole;

use std::sync::Arc;
use std::time::Instant;

use datafusion::common::Result;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use logmill_query_api::{
    Context, ContextQuery, Error, Facets, FacetsQuery, FieldValues, FieldValuesQuery, Fields,
    FieldsQuery, Histogram, HistogramQuery, Patterns, PatternsQuery, QueryStats, Selection,
    ViewLimits,
};
use logmill_schema::TableSchema;
use logmill_store::Snapshot;
use tracing::Instrument;

use crate::engine::{Inner, check_limit};
use crate::errors::internal;
use crate::session::Session;
use crate::stats::stats;

use histogram::Buckets;

type ApiResult<T> = std::result::Result<T, Error>;

/// The records of a selection, and what may be made of them.
pub(crate) struct View<'a> {
    session: Session,
    table: Arc<TableSchema>,
    conditions: Vec<Expr>,
    limits: &'a ViewLimits,
    begun: Instant,
}

impl View<'_> {
    fn stats(&self, rows_matched: u64) -> QueryStats {
        stats(&self.session, self.begun, rows_matched)
    }

    /// The records as a plan for the ordinary optimiser.
    fn records(&self) -> Result<LogicalPlanBuilder> {
        let source = provider_as_source(self.session.table.clone());
        let scan = LogicalPlanBuilder::scan("logs", source, None)?;
        match conjunction(self.conditions.clone()) {
            Some(filter) => scan.filter(filter),
            None => Ok(scan),
        }
    }

    async fn execute(&self, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
        let planning = self.session.state.create_physical_plan(plan);
        let plan = planning.instrument(tracing::debug_span!("plan")).await?;
        execute_stream(plan, self.session.context.clone())
    }

    /// Memory of the query's for what is not an operator's.
    fn memory(&self, name: &'static str) -> MemoryReservation {
        MemoryConsumer::new(name).register(self.session.context.memory_pool())
    }
}

/// A name that no record can have, for people.
fn unknown_field(name: &str) -> String {
    format!("no record has the field {name:?}")
}

/// A count as a column of Arrow has it.
fn count_of(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

impl Inner {
    async fn view(&self, selection: &Selection, begun: Instant) -> ApiResult<View<'_>> {
        let snapshot = self.store.snapshot(&selection.tenant);
        let table = snapshot.schema.clone();
        let session = self.environment.session(&selection.tenant, snapshot);
        let session = session.map_err(|error| self.translate(&error))?;
        let conditions = self.conditions(&session, &table, selection).await?;
        Ok(View {
            session,
            table,
            conditions,
            limits: &self.limits.views,
            begun,
        })
    }

    /// A session over what is left to be read, if anything is.
    fn session_over(
        &self,
        rest: Option<Snapshot>,
        selection: &Selection,
    ) -> ApiResult<Option<Session>> {
        let session = rest.map(|rest| self.environment.session(&selection.tenant, rest));
        session.transpose().map_err(|error| self.translate(&error))
    }

    pub(crate) async fn histogram(
        &self,
        query: HistogramQuery,
        begun: Instant,
    ) -> ApiResult<Histogram> {
        check_limit(query.limit, self.limits.views.max_values)?;
        let buckets = Buckets::of(&query, &self.limits.views)?;
        let view = self.view(&query.selection, begun).await?;
        let histogram = view.histogram(&query, buckets).await;
        histogram.map_err(|error| self.translate(&error))
    }

    pub(crate) async fn facets(&self, query: FacetsQuery, begun: Instant) -> ApiResult<Facets> {
        check_limit(query.limit, self.limits.views.max_values)?;
        let view = self.view(&query.selection, begun).await?;
        let columns = view.facet_columns(query.fields.as_deref())?;
        let known = view.known_facets(&query.selection, &columns).await;
        let (known, rest) = known.map_err(|error| self.translate(&error))?;
        let scanned = self.session_over(rest, &query.selection)?;
        let facets = view.facets(columns, known, scanned, query.limit).await;
        facets.map_err(|error| self.translate(&error))
    }

    pub(crate) async fn fields(&self, query: FieldsQuery, begun: Instant) -> ApiResult<Fields> {
        let view = self.view(&query.selection, begun).await?;
        // What files say of themselves need not be read; what they do not say is a snapshot of its own.
        let (known, rest) = view.known_counts(&query.selection).await;
        let scanned = self.session_over(rest, &query.selection)?;
        let fields = view.fields(known, scanned).await;
        fields.map_err(|error| self.translate(&error))
    }

    pub(crate) async fn field_values(
        &self,
        query: FieldValuesQuery,
        begun: Instant,
    ) -> ApiResult<FieldValues> {
        check_limit(query.limit, self.limits.views.max_values)?;
        let view = self.view(&query.selection, begun).await?;
        let values = view.field_values(&query).await;
        values.map_err(|error| self.translate(&error))
    }

    pub(crate) async fn context(
        &self,
        mut query: ContextQuery,
        begun: Instant,
    ) -> ApiResult<Context> {
        for limit in [query.before, query.after] {
            check_limit(limit.max(1), self.limits.page_max_rows)?;
        }
        let view = self.view(&query.selection, begun).await?;
        let selection = self.without_subqueries(&view.session, &view.table, &query.selection);
        query.selection = selection.await?.into_owned();
        let context = view.context(&query, &self.cursor_key).await;
        context.map_err(|error| self.translate(&error))
    }

    pub(crate) async fn patterns(
        &self,
        query: PatternsQuery,
        begun: Instant,
    ) -> ApiResult<Patterns> {
        check_limit(query.limit, self.limits.views.max_values)?;
        check_limit(query.examples.max(1), patterns::EXAMPLES_MAX)?;
        let view = self.view(&query.selection, begun).await?;
        let patterns = view.patterns(&query).await;
        patterns.map_err(|error| self.translate(&error))
    }
}

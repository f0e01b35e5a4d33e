//! LogsQL on the engine: a query becomes one plan over the tenant's table.
//!
//! The record, as LogsQL sees it, is a map of names to texts, and what is not there is the empty text. Columns keep
//! their types all the same, as long as nothing needs their text: that is what makes it fast. What a value means is
//! `logmill_lang::value`'s to say.

mod aggregates;
mod filter;
mod functions;
mod latest;
mod pipes;
mod rows;
mod scope;
mod stats;
mod subqueries;

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use logmill_lang::{Filter, Query};
use logmill_model::TimeRange;
use logmill_query_api::{Order, Selection};
use logmill_schema::TableSchema;
use tracing::Instrument;

use crate::records::First;
use crate::session::Session;
use pipes::Context;
use scope::Scope;

/// A part of a query that cannot be understood, though its syntax can.
fn invalid(problem: impl Display) -> DataFusionError {
    DataFusionError::Plan(problem.to_string())
}

/// What holds of the stored records that a filter means. Its subqueries have become lists before.
pub(crate) fn filter(table: &TableSchema, filter: &Filter, now_ns: i64) -> Result<Expr> {
    filter::condition(&Scope::stored(table), filter, now_ns)
}

/// A selection with lists in the places of its filter's subqueries.
pub(crate) async fn without_subqueries<'a>(
    session: &Session,
    table: &TableSchema,
    selection: &'a Selection,
    max_values: u64,
) -> Result<Cow<'a, Selection>> {
    let Some(filter) = &selection.logsql else {
        return Ok(Cow::Borrowed(selection));
    };
    let names = AtomicUsize::new(0);
    let context = Context {
        session,
        table,
        names: &names,
        now_ns: selection.now_ns,
        range: selection.range,
        matches: None,
    };
    let query = Query::new(filter.clone());
    let query = subqueries::resolve(&context, &query, max_values).await?;
    Ok(Cow::Owned(Selection {
        logsql: Some(query.filter),
        ..selection.clone()
    }))
}

/// What a query is planned with.
pub(crate) struct Asked<'a> {
    pub(crate) session: &'a Session,
    pub(crate) table: &'a TableSchema,
    pub(crate) query: &'a Query,
    pub(crate) range: TimeRange,
    pub(crate) now_ns: i64,
    /// Rows of the answer, at most.
    pub(crate) limit: Option<u64>,
    /// Values that a subquery in `in(…)` may have.
    pub(crate) subquery_max_values: u64,
}

/// The plan of a query; the columns of its answer have the names of the fields.
pub(crate) async fn plan(asked: Asked<'_>) -> Result<Arc<dyn ExecutionPlan>> {
    let names = AtomicUsize::new(0);
    let context = Context {
        session: asked.session,
        table: asked.table,
        names: &names,
        now_ns: asked.now_ns,
        range: asked.range,
        matches: None,
    };
    let query = subqueries::resolve(&context, asked.query, asked.subquery_max_values).await?;
    let matches = pipes::matches(&context, &query).await?;
    let context = Context {
        matches: matches.as_ref(),
        ..context
    };
    let mut rows = context.rows(&query)?;
    if let Some(limit) = asked.limit {
        let newest = First {
            order: Order::Desc,
            rows: usize::try_from(limit).unwrap_or(usize::MAX),
        };
        if !(query.pipes.is_empty() && rows.first(newest)) {
            rows.limit(0, Some(limit))?;
        }
    }
    physical(asked.session, &rows).await
}

/// The plan that makes the rows of an answer.
async fn physical(session: &Session, rows: &rows::Rows<'_>) -> Result<Arc<dyn ExecutionPlan>> {
    let columns = rows.answer();
    if let Some((conditions, Some(first))) = rows.as_stored() {
        let conditions = conditions.to_vec();
        return session.records(conditions, &columns, Some(first)).await;
    }
    let plan = datafusion::logical_expr::LogicalPlanBuilder::new(rows.plan()?)
        .project(columns)?
        .build()?;
    let planning = session.state.create_physical_plan(&plan);
    planning.instrument(tracing::debug_span!("plan")).await
}

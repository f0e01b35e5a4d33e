//! The plan of a structured query: scan, filter, order, columns.
//!
//! The shape is always this one, so the plan is put together here. The planner that SQL needs would arrive at the same,
//! and take longer for it than a look-up of a rare value takes.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef, SortOptions};
use datafusion::catalog::TableProvider;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_coop::EnsureCooperative;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_optimizer::pushdown_sort::PushdownSort;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use logmill_model::field;
use logmill_query_api::{Order, Selection};
use logmill_schema::TableSchema;
use tracing::Instrument;

use crate::logsql;
use crate::predicate;
use crate::session::Session;

/// The conditions of a selection, all of which hold of its records. Subqueries of its filter have become lists before.
pub(crate) fn conditions(table: &TableSchema, selection: &Selection) -> Result<Vec<Expr>> {
    let mut conditions = vec![predicate::in_range(selection.range)];
    conditions.extend(conditions_but_time(table, selection)?);
    Ok(conditions)
}

/// The conditions of a selection but for its range of time.
pub(crate) fn conditions_but_time(table: &TableSchema, selection: &Selection) -> Result<Vec<Expr>> {
    let mut conditions = Vec::new();
    conditions.extend(selection.text.as_ref().and_then(predicate::has_text));
    let filters = selection.filters.iter();
    conditions.extend(filters.map(|filter| predicate::condition(table, filter)));
    if let Some(filter) = &selection.logsql {
        conditions.push(logsql::filter(table, filter, selection.now_ns)?);
    }
    Ok(conditions)
}

/// One condition of the types that the columns have.
pub(crate) fn simplified(
    state: &SessionState,
    schema: SchemaRef,
    conditions: Vec<Expr>,
) -> Result<Expr> {
    let schema = Arc::new(DFSchema::try_from(schema)?);
    let context = SimplifyContext::builder()
        .with_schema(schema.clone())
        .with_config_options(state.config_options().clone())
        .build();
    let simplifier = ExprSimplifier::new(context);
    let filter = conjunction(conditions).unwrap_or_else(|| lit(true));
    simplifier.simplify(simplifier.coerce(filter, &schema)?)
}

/// The first records in the order of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct First {
    pub(crate) order: Order,
    pub(crate) rows: usize,
}

impl Session {
    /// A plan of these columns of the records of which all conditions hold: of the first ones in their order, or of all
    /// in none.
    pub(crate) async fn records(
        &self,
        conditions: Vec<Expr>,
        columns: &[Expr],
        first: Option<First>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planning = self.planned(conditions, columns, first);
        planning.instrument(tracing::debug_span!("plan")).await
    }

    async fn planned(
        &self,
        conditions: Vec<Expr>,
        columns: &[Expr],
        first: Option<First>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let filter = simplified(&self.state, self.table.schema(), conditions)?;
        let mut plan = self.matching(filter, columns, first).await?;
        if let Some(first) = first {
            plan = sorted(plan, first)?;
        }
        let columns = projection(&self.state, columns, plan.schema().as_ref())?;
        plan = Arc::new(ProjectionExec::try_new(columns, plan)?);
        // A sort tells the scan below it which times it still wants, and in which order.
        let rules: [&dyn PhysicalOptimizerRule; 3] = [
            &PushdownSort::new(),
            &EnsureCooperative::new(),
            &FilterPushdown::new_post_optimization(),
        ];
        let options = self.state.config_options();
        rules
            .into_iter()
            .try_fold(plan, |plan, rule| rule.optimize(plan, options))
    }

    /// Columns of rows that are in memory.
    pub(crate) fn project(&self, batch: &RecordBatch, columns: &[Expr]) -> Result<RecordBatch> {
        let schema = batch.schema();
        let columns = projection(&self.state, columns, &schema)?;
        ProjectionExprs::from(columns)
            .make_projector(&schema)?
            .project_batch(batch)
    }

    /// Scan and filter; the answer has what `columns` (and an order) need.
    async fn matching(
        &self,
        filter: Expr,
        columns: &[Expr],
        first: Option<First>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.table.schema();
        let mut needed: HashSet<&str> = HashSet::new();
        for column in columns.iter().flat_map(Expr::column_refs) {
            needed.insert(&column.name);
        }
        if first.is_some() {
            needed.insert(field::TIMESTAMP);
        }
        let tested: HashSet<&str> = filter
            .column_refs()
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        let named = |name: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let fields = schema.fields().iter().enumerate();
            let fields = fields.filter(|(_, field)| name(field.name()));
            fields.map(|(index, _)| index).collect()
        };
        let mut projection = named(&|name| needed.contains(name));
        let exact = self.table.filters_exactly();
        let kept = (0..projection.len()).collect();
        if !exact {
            projection.extend(named(&|name| {
                tested.contains(name) && !needed.contains(name)
            }));
        }
        match filter {
            Expr::Literal(ScalarValue::Boolean(Some(true)), _) => {
                let state = self.state.as_ref();
                self.table
                    .scan_records(state, &projection, &[], None, first)
                    .await
            }
            Expr::Literal(_, _) => {
                let schema = Arc::new(schema.project(&projection)?);
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            filter => {
                let filters = split_conjunction_owned(filter.clone());
                let state = self.state.as_ref();
                let scan = self
                    .table
                    .scan_records(state, &projection, &filters, None, first)
                    .await?;
                if exact {
                    return Ok(scan);
                }
                let schema = DFSchema::try_from(scan.schema())?;
                let predicate = self.state.create_physical_expr(filter, &schema)?;
                let filter = FilterExecBuilder::new(predicate, scan)
                    .apply_projection(Some(kept))?
                    .with_batch_size(self.state.config().batch_size())
                    .build()?;
                Ok(Arc::new(filter))
            }
        }
    }
}

/// Columns as the engine computes them of rows of a schema, each by its name.
pub(crate) fn projection(
    state: &SessionState,
    columns: &[Expr],
    input: &Schema,
) -> Result<Vec<ProjectionExpr>> {
    let schema = DFSchema::try_from(input.clone())?;
    let columns = columns.iter().map(|column| {
        let (_, alias) = column.qualified_name();
        let expr = state.create_physical_expr(column.clone(), &schema)?;
        Ok(ProjectionExpr { expr, alias })
    });
    columns.collect()
}

/// The first rows of a plan by their time.
fn sorted(plan: Arc<dyn ExecutionPlan>, first: First) -> Result<Arc<dyn ExecutionPlan>> {
    let time = PhysicalSortExpr {
        expr: Arc::new(Column::new_with_schema(
            field::TIMESTAMP,
            plan.schema().as_ref(),
        )?),
        options: SortOptions {
            descending: first.order == Order::Desc,
            nulls_first: false,
        },
    };
    let order = LexOrdering::from([time]);
    let fetch = Some(first.rows);
    let many = plan.output_partitioning().partition_count() > 1;
    let sort = SortExec::new(order.clone(), plan)
        .with_preserve_partitioning(many)
        .with_fetch(fetch);
    let sort: Arc<dyn ExecutionPlan> = Arc::new(sort);
    if many {
        let merge = SortPreservingMergeExec::new(order, sort).with_fetch(fetch);
        return Ok(Arc::new(merge));
    }
    Ok(sort)
}

//! `ORDER BY timestamp LIMIT n`: a rule of the optimiser that tells the scan below that no more than the first records
//! are wanted.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{
    Expr, LogicalPlan, Sort, TableProviderFilterPushDown, TableScan, TableType,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_plan::ExecutionPlan;
use logmill_model::field;
use logmill_query_api::Order;

use crate::records::First;
use crate::table::LogsTable;

/// Looks for a sort by time that keeps some first rows, and has only these read.
#[derive(Debug)]
pub(crate) struct FirstByTime;

impl OptimizerRule for FirstByTime {
    fn name(&self) -> &'static str {
        "first_by_time"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Sort(sort) = plan else {
            return Ok(Transformed::no(plan));
        };
        let (Some(rows), [by]) = (sort.fetch, sort.expr.as_slice()) else {
            return Ok(Transformed::no(LogicalPlan::Sort(sort)));
        };
        let order = if by.asc { Order::Asc } else { Order::Desc };
        let Some(input) = bounded(&sort.input, &by.expr, First { order, rows })? else {
            return Ok(Transformed::no(LogicalPlan::Sort(sort)));
        };
        let sort = Sort {
            input: Arc::new(input),
            ..sort
        };
        Ok(Transformed::yes(LogicalPlan::Sort(sort)))
    }
}

/// The plan with a scan of only the first records, if `by` is the scan's time.
fn bounded(plan: &LogicalPlan, by: &Expr, first: First) -> Result<Option<LogicalPlan>> {
    let Expr::Column(column) = by else {
        return Ok(None);
    };
    match plan {
        LogicalPlan::TableScan(scan) if column.name == field::TIMESTAMP => scan_of(scan, first),
        LogicalPlan::Projection(projection) => {
            let at = projection.schema.index_of_column(column)?;
            let Some(value) = projection.expr.get(at) else {
                return Ok(None);
            };
            below(plan, &projection.input, &value.clone().unalias(), first)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let at = alias.schema.index_of_column(column)?;
            let inner = alias.input.schema().columns().swap_remove(at);
            below(plan, &alias.input, &Expr::Column(inner), first)
        }
        _ => Ok(None),
    }
}

fn below(
    plan: &LogicalPlan,
    input: &LogicalPlan,
    by: &Expr,
    first: First,
) -> Result<Option<LogicalPlan>> {
    let Some(input) = bounded(input, by, first)? else {
        return Ok(None);
    };
    plan.with_new_exprs(plan.expressions(), vec![input])
        .map(Some)
}

fn scan_of(scan: &TableScan, first: First) -> Result<Option<LogicalPlan>> {
    let provider = source_as_provider(&scan.source)?;
    let Some(logs) = provider.downcast_ref::<LogsTable>() else {
        return Ok(None);
    };
    // A table that checks filters only roughly may leave out what the check would have kept.
    if scan.fetch.is_some() || !logs.filters_exactly() {
        return Ok(None);
    }
    let logs = logs.clone();
    let source = provider_as_source(Arc::new(FirstRecords { logs, first }));
    Ok(Some(LogicalPlan::TableScan(TableScan {
        source,
        ..scan.clone()
    })))
}

/// The first records of `logs` in an order.
#[derive(Debug)]
struct FirstRecords {
    logs: LogsTable,
    first: First,
}

#[async_trait]
impl TableProvider for FirstRecords {
    fn schema(&self) -> SchemaRef {
        self.logs.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        self.logs.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema().fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        self.logs
            .scan_records(state, projection, filters, None, Some(self.first))
            .await
    }
}

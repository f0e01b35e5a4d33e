//! The rule that has counts answered from rollups.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Projection, TableScan, lit,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use logmill_model::field;

use super::CountsTable;
use super::cells::{COUNT, HOUR_NS, MINUTE_NS};
use crate::pruning;
use crate::table::LogsTable;

/// `count(*)` of records, grouped by `level`, `service` and whole minutes of time, of which time, level and service
/// decide whether they count: adds up the cells of rollups.
#[derive(Debug)]
pub(crate) struct CountsFromRollups;

impl OptimizerRule for CountsFromRollups {
    fn name(&self) -> &'static str {
        "counts_from_rollups"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if let LogicalPlan::Aggregate(aggregate) = &plan
            && let Some(counts) = rewritten(aggregate)?
        {
            return Ok(Transformed::yes(counts));
        }
        Ok(Transformed::no(plan))
    }
}

/// The same answer from cells, if they can tell it.
fn rewritten(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let mut filters = Vec::new();
    for call in &aggregate.aggr_expr {
        match counted(call) {
            Some(filter) => filters.push(filter),
            None => return Ok(None),
        }
    }
    if filters.is_empty() {
        return Ok(None);
    }
    let groups = aggregate.group_expr.clone();
    let Some(source) = Source::below(&aggregate.input, groups, filters)? else {
        return Ok(None);
    };
    let mut grain = Grain::Hour;
    let tested = source.filters.iter().flatten();
    for expression in source.groups.iter().chain(tested) {
        match grain_of(expression)? {
            Some(other) => grain = grain.min(other),
            None => return Ok(None),
        }
    }
    for condition in &source.conditions {
        if pruning::is_of_time_alone(condition) {
            continue;
        }
        match grain_of(condition)? {
            Some(other) => grain = grain.min(other),
            None => return Ok(None),
        }
    }
    source.plan(aggregate, grain).map(Some)
}

/// The condition under which a call counts a record, if a call is one that counts records.
fn counted(call: &Expr) -> Option<Option<Expr>> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = call.clone().unalias() else {
        return None;
    };
    let every_row = match params.args.as_slice() {
        [] => true,
        [Expr::Literal(value, _)] => !value.is_null(),
        [Expr::Column(column)] => column.name == field::TIMESTAMP,
        _ => false,
    };
    let plain = func.name() == "count" && !params.distinct && params.order_by.is_empty();
    (plain && every_row).then(|| params.filter.map(|filter| *filter))
}

/// The times that cells need to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grain {
    Minute,
    FiveMinutes,
    Hour,
}

impl Grain {
    /// Its length.
    pub(super) const fn ns(self) -> i64 {
        match self {
            Self::Minute => MINUTE_NS,
            Self::FiveMinutes => 5 * MINUTE_NS,
            Self::Hour => HOUR_NS,
        }
    }
}

/// The grain that an expression needs, if it can be computed from a cell.
fn grain_of(expression: &Expr) -> Result<Option<Grain>> {
    if expression.is_volatile() {
        return Ok(None);
    }
    let mut grain = Some(Grain::Hour);
    expression.apply(|node| {
        let step = match node {
            Expr::ScalarFunction(call) => bucket(call),
            _ => None,
        };
        if let Some(step) = step {
            grain = grain.min(Some(step));
            return Ok(TreeNodeRecursion::Jump);
        }
        match node {
            Expr::Column(column) if [field::LEVEL, field::SERVICE].contains(&column.name()) => {}
            Expr::Column(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::ScalarSubquery(_)
            | Expr::SetComparison(_)
            | Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::GroupingSet(_)
            | Expr::Placeholder(_)
            | Expr::Unnest(_) => {
                grain = None;
                return Ok(TreeNodeRecursion::Stop);
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(grain)
}

/// What a call makes of `timestamp`, if that is the start of some whole minutes or hours.
fn bucket(call: &ScalarFunction) -> Option<Grain> {
    let is_time =
        |value: &Expr| matches!(value, Expr::Column(column) if column.name == field::TIMESTAMP);
    match (call.name(), call.args.as_slice()) {
        ("date_bin", [Expr::Literal(step, _), time]) if is_time(time) => grain_of_step(step),
        ("date_bin", [Expr::Literal(step, _), time, Expr::Literal(origin, _)]) if is_time(time) => {
            let ScalarValue::TimestampNanosecond(Some(origin), _) = origin else {
                return None;
            };
            Some(grain_of_step(step)?.min(grain_of_ns(*origin)?))
        }
        ("date_trunc", [Expr::Literal(unit, _), time]) if is_time(time) => {
            match unit.try_as_str()??.to_ascii_lowercase().as_str() {
                "minute" => Some(Grain::Minute),
                "hour" | "day" | "week" | "month" | "quarter" | "year" => Some(Grain::Hour),
                _ => None,
            }
        }
        _ => None,
    }
}

fn grain_of_step(step: &ScalarValue) -> Option<Grain> {
    let ns = match step {
        ScalarValue::IntervalMonthDayNano(Some(step))
            if step.days == 0 && step.nanoseconds == 0 =>
        {
            0
        }
        ScalarValue::IntervalMonthDayNano(Some(step)) if step.months == 0 => i64::from(step.days)
            .checked_mul(24 * HOUR_NS)?
            .checked_add(step.nanoseconds)?,
        ScalarValue::IntervalDayTime(Some(step)) => i64::from(step.days)
            .checked_mul(24 * HOUR_NS)?
            .checked_add(i64::from(step.milliseconds).checked_mul(1_000_000)?)?,
        // Months begin at whole hours.
        ScalarValue::IntervalYearMonth(Some(_)) => 0,
        _ => return None,
    };
    grain_of_ns(ns)
}

const fn grain_of_ns(ns: i64) -> Option<Grain> {
    if ns % HOUR_NS == 0 {
        Some(Grain::Hour)
    } else if ns % Grain::FiveMinutes.ns() == 0 {
        Some(Grain::FiveMinutes)
    } else if ns % MINUTE_NS == 0 {
        Some(Grain::Minute)
    } else {
        None
    }
}

/// What is counted, in terms of the table's own columns.
struct Source<'a> {
    scan: &'a TableScan,
    table: Arc<LogsTable>,
    conditions: Vec<Expr>,
    groups: Vec<Expr>,
    filters: Vec<Option<Expr>>,
}

impl<'a> Source<'a> {
    /// Looks through what stands between a count and the table it counts the records of.
    fn below(
        mut plan: &'a LogicalPlan,
        mut groups: Vec<Expr>,
        mut filters: Vec<Option<Expr>>,
    ) -> Result<Option<Self>> {
        let mut conditions: Vec<Expr> = Vec::new();
        loop {
            let input = match plan {
                LogicalPlan::TableScan(scan) => {
                    // A scan of a few rows is not of all that match.
                    let table = match scan.fetch {
                        None => logs_table(scan)?,
                        Some(_) => None,
                    };
                    let Some(table) = table else {
                        return Ok(None);
                    };
                    for filter in &scan.filters {
                        if !conditions.contains(filter) {
                            conditions.push(filter.clone());
                        }
                    }
                    return Ok(Some(Self {
                        scan,
                        table,
                        conditions,
                        groups,
                        filters,
                    }));
                }
                LogicalPlan::Filter(filter) => {
                    conditions.extend(split_conjunction_owned(filter.predicate.clone()));
                    &filter.input
                }
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                LogicalPlan::Projection(projection) => &projection.input,
                _ => return Ok(None),
            };
            let all = groups.iter_mut().chain(conditions.iter_mut());
            for expression in all.chain(filters.iter_mut().flatten()) {
                let taken = std::mem::take(expression);
                *expression = in_terms_of_input(taken, plan)?;
            }
            plan = input;
        }
    }

    /// Cells, filtered and added up, under the names that the count's columns had.
    fn plan(self, aggregate: &Aggregate, grain: Grain) -> Result<LogicalPlan> {
        let counts = CountsTable::new(self.table, grain);
        let table_name = self.scan.table_name.clone();
        let source = provider_as_source(Arc::new(counts));
        let mut plan = LogicalPlanBuilder::scan_with_filters(
            table_name.clone(),
            source,
            None,
            self.conditions.clone(),
        )?;
        if let Some(condition) = conjunction(self.conditions) {
            plan = plan.filter(condition)?;
        }
        let count = || Expr::Column(Column::new(Some(table_name.clone()), COUNT));
        let sums = self.filters.into_iter().enumerate().map(|(at, filter)| {
            let mut call = sum(count());
            if let Expr::AggregateFunction(call) = &mut call {
                call.params.filter = filter.map(Box::new);
            }
            // Two counts under one condition are two columns.
            call.alias(format!("__sum_{at}"))
        });
        let groups = self.groups.len();
        let plan = plan
            .aggregate(self.groups, sums.collect::<Vec<_>>())?
            .build()?;
        let columns = plan.schema().columns();
        let names = aggregate.schema.iter().zip(columns).enumerate();
        let named = names.map(|(at, ((qualifier, named), column))| {
            let column = Expr::Column(column);
            let value = if at < groups {
                column
            } else {
                coalesce(vec![column, lit(0_i64)])
            };
            value.alias_qualified(qualifier.cloned(), named.name())
        });
        let named = named.collect();
        Ok(LogicalPlan::Projection(Projection::try_new(
            named,
            Arc::new(plan),
        )?))
    }
}

fn logs_table(scan: &TableScan) -> Result<Option<Arc<LogsTable>>> {
    let provider = source_as_provider(&scan.source)?;
    let table = provider.downcast_ref::<LogsTable>();
    Ok(table
        .filter(|table| !table.is_in_postgres())
        .map(|table| Arc::new(table.clone())))
}

/// An expression over a node's output, over what the node reads.
fn in_terms_of_input(expression: Expr, node: &LogicalPlan) -> Result<Expr> {
    let replaced = match node {
        LogicalPlan::SubqueryAlias(alias) => expression.transform(|node| match &node {
            Expr::Column(column) => {
                let at = alias.schema.index_of_column(column)?;
                let (qualifier, named) = alias.input.schema().qualified_field(at);
                let column = Column::new(qualifier.cloned(), named.name());
                Ok(Transformed::yes(Expr::Column(column)))
            }
            _ => Ok(Transformed::no(node)),
        }),
        LogicalPlan::Projection(projection) => expression.transform(|node| match &node {
            Expr::Column(column) => {
                let at = projection.schema.index_of_column(column)?;
                let value = projection.expr.get(at).cloned().unwrap_or(node);
                // What it stands for is not to be looked into again.
                Ok(Transformed::new(
                    value.unalias(),
                    true,
                    TreeNodeRecursion::Jump,
                ))
            }
            _ => Ok(Transformed::no(node)),
        }),
        _ => return Ok(expression),
    };
    Ok(replaced?.data)
}

//! What the planner must not move past (DataFusion 55).
//!
//! - It takes a condition of constants below an aggregate, though one without groups makes a row of no rows: the condition
//!   is then true of what is not there. So a limit of one row, which changes nothing, stands above such an aggregate.
//! - It takes an order that is asked for above a limit that only skips below it, in the place of the order that is there:
//!   other rows are then skipped. It leaves limits alone that have an end, so they get one.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{FetchType, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;

/// More rows than there are, and few enough to be added up.
pub(crate) const ALL_ROWS: usize = 1 << 60;

/// Puts barriers into plans before they are optimised.
#[derive(Debug)]
pub(crate) struct Barriers;

impl AnalyzerRule for Barriers {
    fn name(&self) -> &str {
        "barriers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up(barrier)?.data)
    }
}

fn barrier(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
            let aggregate = LogicalPlan::Aggregate(aggregate);
            let one = LogicalPlanBuilder::new(aggregate).limit(0, Some(1))?;
            Ok(Transformed::yes(one.build()?))
        }
        LogicalPlan::Limit(mut limit)
            if matches!(limit.get_fetch_type()?, FetchType::Literal(None)) =>
        {
            limit.fetch = Some(Box::new(lit(ALL_ROWS as i64)));
            Ok(Transformed::yes(LogicalPlan::Limit(limit)))
        }
        other => Ok(Transformed::no(other)),
    }
}

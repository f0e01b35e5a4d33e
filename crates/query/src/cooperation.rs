//! Joins that can be stopped.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// Has joins give way to the scheduler, as scans do. A query is stopped where it gives way, and a join that makes millions of
/// rows of one batch asks its scans for nothing in between.
#[derive(Debug)]
pub(crate) struct CooperativeJoins;

impl PhysicalOptimizerRule for CooperativeJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wrap = |plan: Arc<dyn ExecutionPlan>| {
            if plan.name().ends_with("JoinExec") {
                let wrapped: Arc<dyn ExecutionPlan> = Arc::new(CooperativeExec::new(plan));
                Ok(Transformed::yes(wrapped))
            } else {
                Ok(Transformed::no(plan))
            }
        };
        plan.transform_up(wrap).data()
    }

    fn name(&self) -> &'static str {
        "CooperativeJoins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

//! The plan that reads the first records in the order of time.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};

use super::exec::describe;
use super::search::{Search, Sought};
use crate::records::First;

/// Reads the first records in the order of time, and gives them in none.
#[derive(Debug)]
pub(crate) struct NewestExec {
    sought: Sought,
    properties: Arc<PlanProperties>,
}

impl NewestExec {
    pub(super) fn new(sought: Sought) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(sought.reading.schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            sought,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for NewestExec {
    fn fmt_as(&self, _kind: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let First { order, rows } = self.sought.first;
        write!(
            out,
            "NewestExec: order={order:?}, rows={rows}, memory={}, ",
            self.sought.memory.len()
        )?;
        describe(&self.sought.parts, &self.sought.reading.schema, out)
    }
}

impl ExecutionPlan for NewestExec {
    fn name(&self) -> &'static str {
        "NewestExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let search = Search::new(self.sought.clone());
        let batches = futures::stream::once(search.run());
        let batches = batches.map_ok(|batches| futures::stream::iter(batches).map(Ok));
        let schema = self.sought.reading.schema.clone();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            schema,
            batches.try_flatten(),
        )))
    }
}

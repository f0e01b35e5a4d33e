//! The plan that reads the first records in the order of time.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
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
use logmill_model::TimeRange;

use super::exec::describe;
use super::predicate::Predicate;
use super::search::Search;
use super::unit::{Part, Reading};
use crate::records::First;

/// Reads the first records in the order of time, and gives them in none.
#[derive(Debug)]
pub(crate) struct NewestExec {
    reading: Reading,
    first: First,
    range: TimeRange,
    memory: Vec<RecordBatch>,
    in_memory: Option<Arc<Predicate>>,
    parts: Vec<Arc<Part>>,
    threads: usize,
    properties: Arc<PlanProperties>,
}

impl NewestExec {
    pub(crate) fn new(
        reading: Reading,
        first: First,
        range: TimeRange,
        memory: Vec<RecordBatch>,
        in_memory: Option<Arc<Predicate>>,
        parts: Vec<Arc<Part>>,
        threads: usize,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(reading.schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            reading,
            first,
            range,
            memory,
            in_memory,
            parts,
            threads,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for NewestExec {
    fn fmt_as(&self, _kind: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let First { order, rows } = self.first;
        write!(
            out,
            "NewestExec: order={order:?}, rows={rows}, memory={}, ",
            self.memory.len()
        )?;
        describe(&self.parts, &self.reading.schema, out)
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
        let search = Search::new(
            self.reading.clone(),
            self.first,
            self.range,
            self.memory.clone(),
            self.in_memory.clone(),
            self.parts.clone(),
            self.threads,
        );
        let batches = futures::stream::once(search.run());
        let batches = batches.map_ok(|batches| futures::stream::iter(batches).map(Ok));
        let schema = self.reading.schema.clone();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            schema,
            batches.try_flatten(),
        )))
    }
}

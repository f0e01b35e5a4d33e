//! Looking at every row of a plan once, on all threads.

use std::sync::Arc;

use arrow_array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;
use tokio::task::JoinSet;

use crate::session::Session;

/// What is gathered from rows; parts of it are gathered by themselves and put together.
pub(super) trait Fold: Send + Sized + 'static {
    fn add(&mut self, batch: &RecordBatch) -> Result<()>;
    fn merge(&mut self, other: Self) -> Result<()>;
}

/// Gathers from all rows of a plan, each of its partitions on a task.
pub(super) async fn fold<F: Fold>(
    session: &Session,
    plan: &Arc<dyn ExecutionPlan>,
    new: impl Fn() -> F,
) -> Result<F> {
    let mut parts = JoinSet::new();
    for partition in 0..plan.output_partitioning().partition_count() {
        let mut rows = plan.execute(partition, session.context.clone())?;
        let mut part = new();
        parts.spawn(async move {
            while let Some(batch) = rows.next().await {
                part.add(&batch?)?;
            }
            Ok::<F, DataFusionError>(part)
        });
    }
    let mut whole = new();
    while let Some(part) = parts.join_next().await {
        let part = part.map_err(|panicked| {
            DataFusionError::Internal(format!("a task of a query: {panicked}"))
        })?;
        whole.merge(part?)?;
    }
    Ok(whole)
}

//! `SELECT text, count(*) … GROUP BY text`: the most frequent question of a log, in a plan of its own.
//!
//! The engine counts in each thread, deals all groups out and counts again, and looks a group up in several lists each time. How seldom
//! two texts have the same hash is said in `functions::count_distinct`.

mod groups;

use std::fmt;
use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, new_null_array};
use arrow_schema::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties,
};
use futures::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;

use crate::errors::internal;
use crate::functions::{self, HASH};
use groups::{Counted, Groups};

/// Rows of an answer's batch.
const BATCH_ROWS: usize = 8_192;

/// Finds groupings by the hash of a text (`functions::GroupByHash`) that only count.
#[derive(Debug)]
pub(crate) struct CountsByText;

impl PhysicalOptimizerRule for CountsByText {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let replace = |plan: Arc<dyn ExecutionPlan>| {
            let counts = plan.downcast_ref().and_then(CountByTextExec::of);
            Ok(match counts {
                Some(counts) => Transformed::yes(Arc::new(counts) as Arc<dyn ExecutionPlan>),
                None => Transformed::no(plan),
            })
        };
        plan.transform_up(replace).data()
    }

    fn name(&self) -> &'static str {
        "CountsByText"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Counts the rows of each text.
#[derive(Debug)]
struct CountByTextExec {
    input: Arc<dyn ExecutionPlan>,
    text: Arc<dyn PhysicalExpr>,
    /// Hash, text and count.
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl CountByTextExec {
    fn new(input: Arc<dyn ExecutionPlan>, text: Arc<dyn PhysicalExpr>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            input,
            text,
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// What does the same as a grouping.
    fn of(last: &AggregateExec) -> Option<Self> {
        let first = match last.mode() {
            AggregateMode::Single | AggregateMode::SinglePartitioned => last,
            AggregateMode::Final | AggregateMode::FinalPartitioned => {
                let mut input = last.input();
                if let Some(dealt) = input.downcast_ref::<RepartitionExec>() {
                    input = dealt.input();
                }
                let first: &AggregateExec = input.downcast_ref()?;
                (*first.mode() == AggregateMode::Partial).then_some(first)?
            }
            _ => return None,
        };
        let only_counts = |aggregate: &AggregateExec| {
            let [_text, count] = aggregate.aggr_expr() else {
                return false;
            };
            let filters = aggregate.filter_expr().iter();
            aggregate.limit_options().is_none()
                && filters.flatten().next().is_none()
                && count.fun().name() == "count"
                && !count.is_distinct()
        };
        let ([text, count], true) = (first.aggr_expr(), only_counts(first) && only_counts(last))
        else {
            return None;
        };
        let counts_rows = |argument: &Arc<dyn PhysicalExpr>| {
            let literal = argument.downcast_ref::<Literal>();
            literal.is_some_and(|literal| !literal.value().is_null())
        };
        let groups = first.group_expr();
        let ([(hash, _)], true) = (groups.expr(), groups.is_single()) else {
            return None;
        };
        let hash: &ScalarFunctionExpr = hash.downcast_ref()?;
        let [hashed] = hash.args() else {
            return None;
        };
        let is_text = hash.fun().name() == functions::TEXT_HASH
            && text.fun().name() == functions::ANY_TEXT
            && text.expressions() == [hashed.clone()];
        if !is_text || !count.expressions().iter().all(counts_rows) {
            return None;
        }
        Some(Self::new(
            first.input().clone(),
            hashed.clone(),
            last.schema(),
        ))
    }
}

impl DisplayAs for CountByTextExec {
    fn fmt_as(&self, _kind: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CountByTextExec: text={}", self.text)
    }
}

impl ExecutionPlan for CountByTextExec {
    fn name(&self) -> &'static str {
        "CountByTextExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        visit(&self.text)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next();
        let input = input.ok_or_else(|| internal("a grouping has an input"))?;
        let (text, schema) = (self.text.clone(), self.schema.clone());
        Ok(Arc::new(Self::new(input, text, schema)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let counting = Counting {
            input: self.input.clone(),
            text: self.text.clone(),
            schema: self.schema.clone(),
            context,
        };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let batches = futures::stream::once(async move {
            let (batches, memory) = counting.run().await?;
            let batches = futures::stream::iter(batches).map(move |batch| {
                let _held = &memory;
                baseline.record_output(batch.num_rows());
                Ok(batch)
            });
            Ok::<_, DataFusionError>(batches)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema.clone(),
            batches.try_flatten(),
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

struct Counting {
    input: Arc<dyn ExecutionPlan>,
    text: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    context: Arc<TaskContext>,
}

impl Counting {
    /// The answer, and what it takes.
    async fn run(self) -> Result<(Vec<RecordBatch>, Vec<MemoryReservation>)> {
        let partitions = self.input.output_partitioning().partition_count();
        let mut tasks = JoinSet::new();
        for thread in 0..partitions {
            let rows = self.input.execute(thread, self.context.clone())?;
            let counted = Counted::new(partitions);
            tasks.spawn(count(
                rows,
                self.text.clone(),
                counted,
                self.context.clone(),
            ));
        }
        let (mut nulls, mut memory) = (0, Vec::with_capacity(partitions));
        // Of each part, what each thread counted.
        let mut parts: Vec<Vec<Groups>> = Vec::new();
        parts.resize_with(partitions, Vec::new);
        while let Some(done) = tasks.join_next().await {
            let (counted, reserved): (Counted, MemoryReservation) = crate::scan::joined(done)?;
            // The answer has every group once more.
            reserved.try_resize(2 * counted.memory_bytes())?;
            memory.push(reserved);
            nulls += counted.nulls;
            for (part, groups) in parts.iter_mut().zip(counted.into_parts()) {
                part.push(groups);
            }
        }
        let mut tasks = JoinSet::new();
        for part in parts {
            tasks.spawn(merge(part, self.schema.clone()));
        }
        let mut batches = Vec::new();
        while let Some(done) = tasks.join_next().await {
            batches.extend(crate::scan::joined(done)?);
        }
        if nulls > 0 {
            let none = |column: usize| new_null_array(self.schema.field(column).data_type(), 1);
            let count = Int64Array::from(vec![nulls.cast_signed()]);
            let columns = vec![none(0), none(1), Arc::new(count) as ArrayRef];
            batches.push(RecordBatch::try_new(self.schema.clone(), columns)?);
        }
        Ok((batches, memory))
    }
}

/// Counts the rows of a thread. What they take stays reserved as long as the reservation lives.
async fn count(
    mut rows: SendableRecordBatchStream,
    text: Arc<dyn PhysicalExpr>,
    mut counted: Counted,
    context: Arc<TaskContext>,
) -> Result<(Counted, MemoryReservation)> {
    let memory = MemoryConsumer::new("CountByText").register(context.memory_pool());
    while let Some(batch) = rows.try_next().await? {
        let texts = text.evaluate(&batch)?.into_array(batch.num_rows())?;
        counted.add(texts.as_string_view());
        memory.try_resize(counted.memory_bytes())?;
    }
    Ok((counted, memory))
}

/// Merges what threads counted of one part to rows of the answer.
async fn merge(mut threads: Vec<Groups>, schema: SchemaRef) -> Result<Vec<RecordBatch>> {
    threads.sort_unstable_by_key(Groups::len);
    let mut all = threads.pop().unwrap_or_default();
    for groups in threads {
        all.merge(&groups);
        // Here the query can be stopped.
        tokio::task::yield_now().await;
    }
    let mut batches = Vec::new();
    let mut rows = Rows::default();
    for (hash, text, count) in all.iter() {
        rows.push(hash, text, count);
        if rows.counts.len() == BATCH_ROWS {
            batches.push(std::mem::take(&mut rows).batch(&schema)?);
            tokio::task::yield_now().await;
        }
    }
    if !rows.counts.is_empty() {
        batches.push(rows.batch(&schema)?);
    }
    Ok(batches)
}

/// Rows of the answer that have a text.
#[derive(Default)]
struct Rows {
    hashes: Vec<i128>,
    texts: StringViewBuilder,
    counts: Vec<i64>,
}

impl Rows {
    fn push(&mut self, hash: u128, text: &str, count: u64) {
        self.hashes.push(hash.cast_signed());
        self.texts.append_value(text);
        self.counts.push(count.cast_signed());
    }

    fn batch(mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let hashes = Decimal128Array::from(self.hashes).with_data_type(HASH);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(hashes),
            Arc::new(self.texts.finish()),
            Arc::new(Int64Array::from(self.counts)),
        ];
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }
}

//! The plan that reads segments, dealt out to the query's threads.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_schema::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};

use super::bound::TimeBound;
use super::unit::{Part, Reading, Unit, UnitReader};

/// Reads the rows of segments that satisfy the segments' predicates.
#[derive(Clone, Debug)]
pub(crate) struct SegmentExec {
    reading: Reading,
    parts: Vec<Arc<Part>>,
    /// For each thread what it reads, in order.
    partitions: Vec<Vec<Unit>>,
    limit: Option<usize>,
    /// The times that a sort above still wants.
    bounds: Vec<TimeBound>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SegmentExec {
    pub(super) fn new(
        reading: Reading,
        parts: Vec<Arc<Part>>,
        partitions: Vec<Vec<Unit>>,
        limit: Option<usize>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(reading.schema.clone()),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            reading,
            parts,
            partitions,
            limit,
            bounds: Vec::new(),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    fn units(&self) -> impl Iterator<Item = &Unit> {
        self.partitions.iter().flatten()
    }
}

impl DisplayAs for SegmentExec {
    fn fmt_as(&self, _kind: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(&self.parts, &self.reading.schema, out)?;
        write!(out, ", units={}", self.units().count())?;
        if let Some(limit) = self.limit {
            write!(out, ", limit={limit}")?;
        }
        for bound in &self.bounds {
            write!(out, ", wanted={bound}")?;
        }
        Ok(())
    }
}

/// What is read of which segments.
pub(super) fn describe(
    parts: &[Arc<Part>],
    schema: &SchemaRef,
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let granules: u32 = parts.iter().map(|part| part.granules.len()).sum();
    let all: u32 = parts.iter().map(|part| part.segment.granules()).sum();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let names = names.collect::<Vec<_>>().join(", ");
    write!(
        out,
        "SegmentExec: segments={}, granules={granules} of {all}, columns=[{names}]",
        parts.len(),
    )?;
    let mut predicates: Vec<String> = Vec::new();
    for predicate in parts.iter().filter_map(|part| part.predicate.as_ref()) {
        let text = predicate.describe();
        if !predicates.contains(&text) {
            predicates.push(text);
        }
    }
    for predicate in predicates {
        write!(out, ", predicate={predicate}")?;
    }
    Ok(())
}

impl ExecutionPlan for SegmentExec {
    fn name(&self) -> &'static str {
        "SegmentExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for bound in &self.bounds {
            if visit(bound.expression())? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
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
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let units = self.partitions.get(partition).cloned().unwrap_or_default();
        let counter =
            |name: &'static str| MetricBuilder::new(&self.metrics).counter(name, partition);
        let reading = Progress {
            reading: self.reading.clone(),
            units: units.into(),
            reader: None,
            rows_left: self.limit.unwrap_or(usize::MAX),
            bounds: self.bounds.clone(),
            baseline: BaselineMetrics::new(&self.metrics, partition),
            granules: counter("granules_read"),
            bytes: counter("bytes_scanned"),
        };
        let batches = futures::stream::try_unfold(reading, |mut progress| async move {
            let batch = progress.next().await?;
            Ok(batch.map(|batch| (batch, progress)))
        });
        let schema = self.reading.schema.clone();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        arguments: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let partition = arguments.partition();
        let mut statistics = Statistics::new_unknown(&self.reading.schema);
        let units = match partition {
            Some(partition) => self.partitions.get(partition..=partition),
            None => Some(self.partitions.as_slice()),
        };
        let units = units.into_iter().flatten().flatten();
        let rows = units.map(|unit| unit.rows().row_count()).sum();
        let exact = self.limit.is_none() && self.parts.iter().all(|part| part.predicate.is_none());
        statistics.num_rows = match exact {
            true => Precision::Exact(rows),
            false => Precision::Inexact(rows),
        };
        Ok(Arc::new(statistics))
    }

    /// A sort tells here which times it still wants.
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        filters: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let mut bounds = self.bounds.clone();
        if phase == FilterPushdownPhase::Post {
            let parents = filters.parent_filters.iter();
            bounds.extend(parents.filter_map(|filter| TimeBound::of(&filter.filter)));
        }
        // Whoever asked goes on checking every row.
        let supports = vec![PushedDown::No; filters.parent_filters.len()];
        let propagation = FilterPushdownPropagation::with_parent_pushdown_result(supports);
        if bounds.len() == self.bounds.len() {
            return Ok(propagation);
        }
        let bounded: Arc<dyn ExecutionPlan> = Arc::new(Self {
            bounds,
            ..self.clone()
        });
        Ok(propagation.with_updated_node(bounded))
    }
}

/// How far a thread is.
struct Progress {
    reading: Reading,
    units: VecDeque<Unit>,
    reader: Option<UnitReader>,
    rows_left: usize,
    bounds: Vec<TimeBound>,
    baseline: BaselineMetrics,
    granules: Count,
    bytes: Count,
}

impl Progress {
    async fn next(&mut self) -> Result<Option<arrow_array::RecordBatch>> {
        while self.rows_left > 0 {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => match self.open()? {
                    Some(reader) => self.reader.insert(reader),
                    None => break,
                },
            };
            let counts = &self.reading.counts;
            let before = (
                counts.granules.load(Ordering::Relaxed),
                counts.bytes.load(Ordering::Relaxed),
            );
            let read = reader.next(self.rows_left).await?;
            // Of all threads together: near enough for people.
            let after = (
                counts.granules.load(Ordering::Relaxed),
                counts.bytes.load(Ordering::Relaxed),
            );
            self.granules.add(after.0.saturating_sub(before.0) as usize);
            self.bytes.add(after.1.saturating_sub(before.1) as usize);
            match read {
                Some(batch) => {
                    let batch = batch.slice(0, batch.num_rows().min(self.rows_left));
                    self.rows_left -= batch.num_rows();
                    self.baseline.record_output(batch.num_rows());
                    return Ok(Some(batch));
                }
                None => self.reader = None,
            }
        }
        self.baseline.done();
        Ok(None)
    }

    /// The next unit that may have a row that is still wanted.
    fn open(&mut self) -> Result<Option<UnitReader>> {
        while let Some(unit) = self.units.pop_front() {
            let mut wanted = true;
            for bound in &self.bounds {
                wanted &= bound.allows(unit.times())?;
            }
            if wanted {
                return Ok(Some(unit.read(&self.reading, true)));
            }
        }
        Ok(None)
    }
}

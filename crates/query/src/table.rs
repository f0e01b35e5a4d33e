//! The table `logs`: a snapshot of a tenant's records, memtable and segments as one.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use logmill_schema::TableSchema;
use logmill_segment::GRANULE_ROWS;
use logmill_store::Snapshot;

use crate::pruning;
use crate::scan::{Asked, SegmentScan};
use crate::segments::ScanCounts;

/// The table `logs` of a tenant.
#[derive(Debug)]
pub(crate) struct LogsTable {
    snapshot: Snapshot,
    schema: SchemaRef,
    segments: SegmentScan,
}

impl LogsTable {
    pub(crate) fn new(snapshot: Snapshot, segments: SegmentScan) -> Self {
        Self {
            schema: view_schema(&snapshot.schema),
            snapshot,
            segments,
        }
    }

    pub(crate) fn counts(&self) -> &ScanCounts {
        &self.segments.counts
    }

    /// Granules of everything; a batch in memory counts as the granules it would make.
    pub(crate) fn granules_total(&self) -> u64 {
        let segments = self.snapshot.segments.iter().map(|segment| {
            let row = segment.row();
            // Every row group ends with a granule that may not be full.
            match self.segments.cache.get(&row.path) {
                Some(open) => u64::from(open.granules()),
                None => granules(row.rows),
            }
        });
        let memory = self
            .snapshot
            .memtable
            .iter()
            .map(|batch| granules(batch.num_rows() as u64));
        segments.sum::<u64>() + memory.sum::<u64>()
    }

    fn memtable_scan(
        &self,
        schema: &SchemaRef,
        partitions: usize,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if self.snapshot.memtable.is_empty() {
            return Ok(None);
        }
        for batch in &self.snapshot.memtable {
            let rows = batch.num_rows() as u64;
            self.counts().add(rows, granules(rows));
        }
        let per_partition = self.snapshot.memtable.len().div_ceil(partitions.max(1));
        let partitions = self.snapshot.memtable.chunks(per_partition).map(|batches| {
            let partition = MemtablePartition {
                schema: schema.clone(),
                batches: batches.to_vec(),
            };
            Arc::new(partition) as Arc<dyn PartitionStream>
        });
        let partitions = partitions.collect();
        let plan = StreamingTableExec::try_new(schema.clone(), partitions, None, [], false, None)?;
        Ok(Some(Arc::new(plan)))
    }
}

fn granules(rows: u64) -> u64 {
    rows.div_ceil(GRANULE_ROWS as u64)
}

/// The table's schema as the engine sees it: all text as views, which filters and groups work fastest on.
pub(crate) fn view_schema(table: &TableSchema) -> SchemaRef {
    let arrow = table.to_arrow();
    let fields = arrow.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 | DataType::Dictionary(_, _) => {
            Field::new(field.name(), DataType::Utf8View, field.is_nullable())
        }
        other => Field::new(field.name(), other.clone(), field.is_nullable()),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[async_trait]
impl TableProvider for LogsTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters prune and narrow; the engine checks them once more on what is left.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let projected = Arc::new(self.schema.project(projection)?);
        // A limit may only be pushed below a filter that the scan applies exactly.
        let limit = if filters.is_empty() { limit } else { None };
        let range = pruning::time_range(filters);
        let memory = self.memtable_scan(&projected, state.config().target_partitions())?;
        let asked = Asked {
            state,
            table: &self.snapshot.schema,
            schema: &self.schema,
            projection,
            filters,
            limit,
            range,
        };
        let segments = self.segments.plans(&self.snapshot.segments, &asked).await?;
        let mut inputs: Vec<_> = memory.into_iter().chain(segments).collect();
        match inputs.len() {
            0 => {
                let empty = datafusion::physical_plan::empty::EmptyExec::new(projected);
                Ok(Arc::new(empty))
            }
            1 => Ok(inputs.remove(0)),
            _ => UnionExec::try_new(inputs),
        }
    }
}

/// Batches of the memtable, brought to the asked columns as they are read.
#[derive(Debug)]
struct MemtablePartition {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl PartitionStream for MemtablePartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let batches = self.batches.clone().into_iter().map(move |batch| {
            logmill_schema::adapt(&batch, &schema)
                .map_err(|error| DataFusionError::External(Box::new(error)))
        });
        let batches = futures::stream::iter(batches);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}

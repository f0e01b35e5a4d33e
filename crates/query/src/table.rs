//! The table `logs`: a snapshot of a tenant's records, memtable and segments as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, Statistics, stats::Precision};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use logmill_model::TimeRange;
use logmill_schema::TableSchema;
use logmill_segment::GRANULE_ROWS;
use logmill_store::{SegmentHandle, Snapshot};

use crate::pruning;

/// The private address under which a session knows the store's objects.
pub(crate) const OBJECTS_URL: &str = "logmill://store/";

/// Counts of what scans had before them, for the statistics of an answer.
#[derive(Debug, Default)]
pub(crate) struct ScanCounts {
    /// Rows that pruning by time left.
    pub(crate) rows: AtomicU64,
    /// Granules that pruning by time left.
    pub(crate) granules: AtomicU64,
}

/// The table `logs` of a tenant.
#[derive(Debug)]
pub(crate) struct LogsTable {
    snapshot: Arc<Snapshot>,
    schema: SchemaRef,
    counts: Arc<ScanCounts>,
}

impl LogsTable {
    pub(crate) fn new(snapshot: Arc<Snapshot>) -> Self {
        let schema = view_schema(&snapshot.schema);
        Self {
            snapshot,
            schema,
            counts: Arc::default(),
        }
    }

    pub(crate) fn counts(&self) -> Arc<ScanCounts> {
        self.counts.clone()
    }

    /// Granules of everything; a batch in memory counts as the granules it would make.
    pub(crate) fn granules_total(&self) -> u64 {
        let segments = self
            .snapshot
            .segments
            .iter()
            .map(|segment| granules(segment.row().rows));
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
            self.count(batch.num_rows() as u64);
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

    fn segments_scan(
        &self,
        state: &dyn Session,
        projection: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
        range: TimeRange,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let in_range = |segment: &&Arc<SegmentHandle>| {
            let row = segment.row();
            range.overlaps_inclusive(row.min_timestamp_ns, row.max_timestamp_ns)
        };
        let segments: Vec<_> = self.snapshot.segments.iter().filter(in_range).collect();
        if segments.is_empty() {
            return Ok(None);
        }
        let mut source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.default_table_options().parquet)
            .with_pushdown_filters(true)
            .with_reorder_filters(true)
            .with_enable_page_index(true);
        if let Some(filter) = conjunction(filters.to_vec()) {
            let schema = DFSchema::try_from(self.schema.clone())?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let url = ObjectStoreUrl::parse(OBJECTS_URL)?;
        // Newest first, dealt out in turn, so that every partition begins with the newest it has.
        let partitions = state
            .config()
            .target_partitions()
            .max(1)
            .min(segments.len());
        let mut groups = vec![Vec::new(); partitions];
        for (position, segment) in segments.iter().enumerate() {
            self.count(segment.row().rows);
            groups[position % partitions].push(self.file(segment));
        }
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(Some(projection.to_vec()))?
            .with_limit(limit)
            .build();
        Ok(Some(DataSourceExec::from_data_source(config)))
    }

    fn file(&self, segment: &Arc<SegmentHandle>) -> PartitionedFile {
        let row = segment.row();
        let statistics = Statistics {
            num_rows: Precision::Exact(usize::try_from(row.rows).unwrap_or(usize::MAX)),
            ..Statistics::new_unknown(&self.schema)
        };
        // The file carries the handle, so that its object lives until the plan is gone.
        PartitionedFile::new(row.path.clone(), row.bytes)
            .with_statistics(Arc::new(statistics))
            .with_extension(KeepAlive(segment.clone()))
    }

    fn count(&self, rows: u64) {
        self.counts.rows.fetch_add(rows, Ordering::Relaxed);
        self.counts
            .granules
            .fetch_add(granules(rows), Ordering::Relaxed);
    }
}

/// Holds a segment for as long as a plan reads it.
#[derive(Debug)]
struct KeepAlive(#[allow(dead_code, reason = "held for its drop")] Arc<SegmentHandle>);

fn granules(rows: u64) -> u64 {
    rows.div_ceil(GRANULE_ROWS as u64)
}

/// The table's schema as the engine sees it: all text as views, which filters and groups work fastest on.
fn view_schema(table: &TableSchema) -> SchemaRef {
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
        let segments = self.segments_scan(state, projection, filters, limit, range)?;
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

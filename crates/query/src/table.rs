//! The table `logs`: a snapshot of a tenant's records, memtable and segments as one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use logmill_model::{TenantId, TimeRange, field};
use logmill_query_api::Order;
use logmill_schema::TableSchema;
use logmill_segment::{GRANULE_ROWS, ValueCounts};
use logmill_store::{LogTable, MemtableBatch, RowOrder, RowSelection, SegmentHandle, Snapshot};

use crate::compiled::adapted;
use crate::counts::Cells;
use crate::pruning;
use crate::records::First;
use crate::rows::{self, RowScan};
use crate::scan::{Asked, Predicate, SegmentScan};
use crate::segments::{OpenSegment, ScanCounts};

/// Up to so many records are first looked for and then read; of more than that all columns are read at once.
const FIRST_ROWS_MAX: usize = 20_000;

/// The table `logs` of a tenant.
#[derive(Clone, Debug)]
pub(crate) struct LogsTable {
    tenant: TenantId,
    /// Has what was flushed, where that is not segments.
    rows: Option<Arc<dyn LogTable>>,
    snapshot: Snapshot,
    schema: SchemaRef,
    segments: SegmentScan,
}

impl LogsTable {
    pub(crate) fn new(
        tenant: &TenantId,
        snapshot: Snapshot,
        segments: SegmentScan,
        rows: Option<Arc<dyn LogTable>>,
    ) -> Self {
        Self {
            tenant: tenant.clone(),
            rows,
            schema: view_schema(&snapshot.schema),
            snapshot,
            segments,
        }
    }

    pub(crate) fn counts(&self) -> &ScanCounts {
        &self.segments.counts
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Whether what was flushed is in a table of Postgres, and not in segments.
    pub(crate) fn is_in_postgres(&self) -> bool {
        self.rows.is_some()
    }

    /// What is needed to know of a segment before its pages are read.
    pub(crate) async fn open(&self, handle: &Arc<SegmentHandle>) -> Result<Arc<OpenSegment>> {
        self.segments
            .cache
            .open(&self.segments.objects, handle)
            .await
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
            .map(|batch| granules(batch.rows().num_rows() as u64));
        segments.sum::<u64>() + memory.sum::<u64>()
    }

    /// Counts batches in memory as looked at.
    fn count_memory(&self, memory: &[MemtableBatch]) {
        for batch in memory {
            let rows = batch.rows().num_rows() as u64;
            self.counts().add(rows, granules(rows));
        }
    }

    /// Reads what of batches in memory satisfies all filters.
    fn memtable_scan(
        &self,
        memory: &[MemtableBatch],
        schema: &SchemaRef,
        state: &dyn Session,
        filters: &[Expr],
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if memory.is_empty() {
            return Ok(None);
        }
        let predicate = Predicate::new(state, filters, &self.schema)?;
        let partitions = state.config().target_partitions();
        self.count_memory(memory);
        let per_partition = memory.len().div_ceil(partitions.max(1));
        let partitions = memory.chunks(per_partition).map(|batches| {
            let partition = MemtablePartition {
                schema: schema.clone(),
                batches: batches.iter().map(|batch| batch.rows().clone()).collect(),
                predicate: predicate.clone(),
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

    /// The scan asks every row; a table of Postgres only narrows, and the engine checks what is left.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = match self.filters_exactly() {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(vec![support; filters.len()])
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
        self.scan_records(state, projection, filters, limit, None)
            .await
    }
}

impl LogsTable {
    /// The records that may satisfy all filters. Where more than the first ones in an order are not needed, some of the
    /// others may be left out; the projection then has what the filters are about.
    pub(crate) async fn scan_records(
        &self,
        state: &dyn Session,
        projection: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
        first: Option<First>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projected = Arc::new(self.schema.project(projection)?);
        // A limit may only be pushed below a filter that the scan applies exactly.
        let limit = limit.filter(|_| filters.is_empty() || self.filters_exactly());
        let range = pruning::time_range(filters);
        let asked = Asked {
            state,
            table: &self.snapshot.schema,
            schema: &self.schema,
            projection,
            filters,
            limit,
            range,
        };
        if let (None, Some(first)) = (
            &self.rows,
            first.filter(|first| first.rows <= FIRST_ROWS_MAX),
        ) {
            let Snapshot {
                segments, memtable, ..
            } = &self.snapshot;
            self.count_memory(memtable);
            let memory = memtable.iter().map(|batch| batch.rows().clone());
            return self
                .segments
                .first(segments, memory.collect(), &asked, first)
                .await;
        }
        let memory = &self.snapshot.memtable;
        let memory = self.memtable_scan(memory, &projected, state, filters)?;
        let segments = match &self.rows {
            Some(rows) => self.row_scan(rows, &projected, &asked, first)?,
            None => self.segments.plans(&self.snapshot.segments, &asked).await?,
        };
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

/// What counts without rows need.
impl LogsTable {
    /// Whether the scan gives no row of which not all filters hold. It does not where the rows are in Postgres; segments
    /// and memory are asked in full.
    pub(crate) fn filters_exactly(&self) -> bool {
        !self.is_in_postgres()
    }

    /// The segments that have something of a range.
    pub(crate) fn segments_of(
        &self,
        range: TimeRange,
    ) -> impl Iterator<Item = &Arc<SegmentHandle>> {
        self.snapshot.segments.iter().filter(move |segment| {
            let row = segment.row();
            range.overlaps_inclusive(row.min_timestamp_ns, row.max_timestamp_ns)
        })
    }

    /// The counts of a segment; none where it does not say them.
    pub(crate) async fn cells(&self, segment: &Arc<SegmentHandle>) -> Result<Option<Arc<Cells>>> {
        let source = || self.segments.objects.source(&segment.row().path);
        let (cells, bytes) = self.open(segment).await?.cells(source).await?;
        self.counts().bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(cells)
    }

    /// The values of a segment's columns; none where it does not say them.
    pub(crate) async fn values(
        &self,
        segment: &Arc<SegmentHandle>,
    ) -> Result<Option<Arc<ValueCounts>>> {
        let source = || self.segments.objects.source(&segment.row().path);
        let (values, bytes) = self.open(segment).await?.values(source).await?;
        self.counts().bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(values)
    }

    /// Plans of time, level and service of the rows of some segments, and of batches in memory, that may be in `range` and
    /// satisfy `filters`.
    pub(crate) async fn rows_of(
        &self,
        state: &dyn Session,
        segments: &[Arc<SegmentHandle>],
        memory: &[MemtableBatch],
        range: TimeRange,
        filters: &[Expr],
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let names = [field::TIMESTAMP, field::LEVEL, field::SERVICE];
        let projection: Vec<usize> = names
            .iter()
            .filter_map(|name| self.schema.index_of(name).ok())
            .collect();
        let asked = Asked {
            state,
            table: &self.snapshot.schema,
            schema: &self.schema,
            projection: &projection,
            filters,
            limit: None,
            range,
        };
        let mut plans: Vec<_> = self
            .segments
            .plans(segments, &asked)
            .await?
            .into_iter()
            .collect();
        let projected = Arc::new(self.schema.project(&projection)?);
        plans.extend(self.memtable_scan(memory, &projected, state, filters)?);
        Ok(plans)
    }
}

impl LogsTable {
    /// The plan that reads the table of Postgres; none where it has nothing of that time.
    fn row_scan(
        &self,
        rows: &Arc<dyn LogTable>,
        projected: &SchemaRef,
        asked: &Asked<'_>,
        first: Option<First>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if !self.snapshot.has_rows(asked.range) {
            return Ok(None);
        }
        let filter = match (first, conjunction(asked.filters.to_vec())) {
            (Some(_), Some(filter)) => {
                let schema = DFSchema::try_from(projected.clone())?;
                Some(asked.state.create_physical_expr(filter, &schema)?)
            }
            _ => None,
        };
        let limit = asked.limit.and_then(|limit| u64::try_from(limit).ok());
        let scan = RowScan {
            table: rows.clone(),
            selection: RowSelection {
                tenant: self.tenant.clone(),
                columns: Vec::new(),
                range: asked.range,
                before: self.snapshot.flushed,
                condition: rows::condition(asked.filters),
                order: first.map(|first| match first.order {
                    Order::Asc => RowOrder::Ascending,
                    Order::Desc => RowOrder::Descending,
                }),
                limit,
            },
            schema: projected.clone(),
            filter,
            enough: first.map(|first| first.rows),
            counts: self.segments.counts.clone(),
        };
        let scan = Arc::new(scan) as Arc<dyn PartitionStream>;
        let plan =
            StreamingTableExec::try_new(projected.clone(), vec![scan], None, [], false, None)?;
        Ok(Some(Arc::new(plan)))
    }
}

/// Batches of the memtable, brought to the asked columns as they are read.
#[derive(Debug)]
struct MemtablePartition {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    predicate: Option<Arc<Predicate>>,
}

impl PartitionStream for MemtablePartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let predicate = self.predicate.clone();
        let batches = self.batches.clone().into_iter().map(move |batch| {
            let batch = match &predicate {
                Some(predicate) => filtered(&batch, predicate, &schema)?,
                None => batch,
            };
            adapted(&batch, &schema)
        });
        let batches = futures::stream::iter(batches);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}

/// The rows that satisfy a predicate, with those of the asked columns that the batch has.
fn filtered(batch: &RecordBatch, predicate: &Predicate, asked: &SchemaRef) -> Result<RecordBatch> {
    let matches = predicate.matches(batch)?;
    let schema = batch.schema_ref();
    let names = asked.fields().iter();
    let columns: Vec<usize> = names
        .filter_map(|field| schema.index_of(field.name()).ok())
        .collect();
    Ok(filter_record_batch(&batch.project(&columns)?, &matches)?)
}

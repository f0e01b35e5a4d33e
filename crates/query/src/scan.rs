//! The plan that reads segments: what pruning left of them, dealt out to the query's threads.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_schema::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExecBuilder;
use logmill_model::{TimeRange, field};
use logmill_schema::TableSchema;
use logmill_segment::GranuleSet;
use logmill_store::{PendingDelete, SegmentHandle};

use crate::deletes;
use crate::pruning::{self, Condition};
use crate::segments::{
    Objects, OpenSegment, ScanCounts, ScannedSegment, SegmentCache, SegmentReaders, Source,
};
use crate::time_literals::TimeLiterals;

/// The private address under which a session knows the store's objects.
pub(crate) const OBJECTS_URL: &str = "logmill://store/";

/// See [`few`].
const FEW_GRANULES: u32 = 8;

/// What a scan was asked for.
pub(crate) struct Asked<'a> {
    pub(crate) state: &'a dyn Session,
    pub(crate) table: &'a TableSchema,
    /// All columns, as the engine sees them.
    pub(crate) schema: &'a SchemaRef,
    pub(crate) projection: &'a [usize],
    pub(crate) filters: &'a [Expr],
    pub(crate) limit: Option<usize>,
    pub(crate) range: TimeRange,
}

/// A segment of which something is to be read.
struct Part {
    handle: Arc<SegmentHandle>,
    segment: Arc<OpenSegment>,
    source: Source,
    granules: GranuleSet,
}

impl Part {
    /// The row groups of which something is to be read.
    fn row_groups(&self) -> Vec<usize> {
        let is_read = |row_group: &usize| {
            let mut granules = self.segment.granules_of(*row_group);
            granules.any(|granule| self.granules.contains(granule))
        };
        let row_groups = 0..self.segment.file().row_groups();
        row_groups.filter(is_read).collect()
    }
}

/// Whether so little is left to be read that neither another thread nor more pruning would gain anything.
fn few(parts: &[Part]) -> bool {
    let granules: u32 = parts.iter().map(|part| part.granules.len()).sum();
    granules <= FEW_GRANULES
}

/// What scans of segments need.
#[derive(Clone, Debug)]
pub(crate) struct SegmentScan {
    pub(crate) objects: Objects,
    pub(crate) cache: Arc<SegmentCache>,
    pub(crate) counts: Arc<ScanCounts>,
}

/// Deletes, and the parts that all of them are to be applied to.
type WithDeletes = (Vec<Arc<PendingDelete>>, Vec<Part>);

impl SegmentScan {
    /// Plans that together read all of the segments' records that may match: those of segments that deletes wait for
    /// leave the deleted records out.
    pub(crate) async fn plans(
        &self,
        segments: &[Arc<SegmentHandle>],
        asked: &Asked<'_>,
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let condition = pruning::condition(asked.filters);
        let mut parts = Vec::new();
        // Segments with the same deletes go into one plan.
        let mut with_deletes: BTreeMap<Vec<String>, WithDeletes> = BTreeMap::new();
        for handle in segments {
            let row = handle.row();
            if !asked
                .range
                .overlaps_inclusive(row.min_timestamp_ns, row.max_timestamp_ns)
            {
                continue;
            }
            let Some(part) = self.part(handle, &condition, asked.range).await? else {
                continue;
            };
            let pending = handle.deletes();
            if pending.is_empty() {
                parts.push(part);
            } else {
                let ids = pending.iter().map(|delete| delete.id.0.clone()).collect();
                let entry = with_deletes.entry(ids).or_insert((pending, Vec::new()));
                entry.1.push(part);
            }
        }
        let mut plans = Vec::new();
        if !parts.is_empty() {
            plans.push(self.plan(&parts, asked, asked.projection, asked.limit)?);
        }
        for (pending, parts) in with_deletes.values() {
            plans.push(self.plan_without_deleted(pending, parts, asked)?);
        }
        Ok(plans)
    }

    /// What is left of a segment, if anything is.
    async fn part(
        &self,
        handle: &Arc<SegmentHandle>,
        condition: &Condition,
        range: TimeRange,
    ) -> Result<Option<Part>> {
        let source = self.objects.source(&handle.row().path)?;
        let segment = self.cache.open(&source, handle).await?;
        let (granules, bytes) = pruning::granules(&segment, &source, condition, range).await?;
        self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        if granules.is_empty() {
            return Ok(None);
        }
        Ok(Some(Part {
            handle: handle.clone(),
            segment,
            source,
            granules,
        }))
    }

    fn plan(
        &self,
        parts: &[Part],
        asked: &Asked<'_>,
        projection: &[usize],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let state = asked.state;
        let mut source = ParquetSource::new(asked.schema.clone())
            .with_table_parquet_options(state.default_table_options().parquet)
            .with_parquet_file_reader_factory(Arc::new(SegmentReaders))
            .with_pushdown_filters(true)
            .with_reorder_filters(true)
            .with_enable_page_index(!few(parts))
            .with_bloom_filter_on_read(false);
        // What holds of every record need not be checked while reading.
        let all_in_range = parts.iter().all(|part| {
            let row = part.handle.row();
            asked.range.start_ns <= row.min_timestamp_ns
                && row.max_timestamp_ns < asked.range.end_ns
        });
        let useful = |filter: &&Expr| !(all_in_range && pruning::is_of_time_alone(filter));
        let filters: Vec<Expr> = asked.filters.iter().filter(useful).cloned().collect();
        if let Some(filter) = conjunction(filters) {
            let schema = DFSchema::try_from(asked.schema.clone())?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let url = ObjectStoreUrl::parse(OBJECTS_URL)?;
        let groups = self.deal(parts, asked);
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(Some(projection.to_vec()))?
            .with_expr_adapter(Some(Arc::new(TimeLiterals)))
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Newest first, dealt out in turn, so that every thread begins with the newest it has. The newest segments are
    /// dealt out by row group: inside a file the oldest is first.
    fn deal(&self, parts: &[Part], asked: &Asked<'_>) -> Vec<Vec<PartitionedFile>> {
        let threads = if few(parts) {
            1
        } else {
            asked.state.config().target_partitions().max(1)
        };
        let (newest, others) = parts.split_at(parts.len().min(2 * threads));
        let row_groups = newest.iter().flat_map(|part| {
            let row_groups = part.row_groups().into_iter();
            row_groups.map(move |row_group| (part, row_group))
        });
        let mut row_groups: Vec<(&Part, usize)> = row_groups.collect();
        row_groups
            .sort_by_key(|(part, row_group)| Reverse(part.segment.file().times(*row_group).1));
        let row_groups = row_groups
            .into_iter()
            .map(|(part, row_group)| self.file(part, &[row_group], asked.schema));
        let others = others
            .iter()
            .map(|part| self.file(part, &part.row_groups(), asked.schema));
        let mut groups = vec![Vec::new(); threads];
        for (turn, file) in row_groups.chain(others).enumerate() {
            groups[turn % threads].push(file);
        }
        groups.retain(|group| !group.is_empty());
        groups
    }

    fn file(&self, part: &Part, row_groups: &[usize], schema: &SchemaRef) -> PartitionedFile {
        let row = part.handle.row();
        let mut statistics = Statistics::new_unknown(schema);
        // A page's newest records are found without opening what is older than all of them.
        if let Ok(time) = schema.index_of(field::TIMESTAMP)
            && let Some(column) = statistics.column_statistics.get_mut(time)
        {
            let instant = |t_ns: Option<i64>| match t_ns {
                Some(t_ns) => Precision::Inexact(ScalarValue::TimestampNanosecond(
                    Some(t_ns),
                    Some("UTC".into()),
                )),
                None => Precision::Absent,
            };
            let file = part.segment.file();
            let times = || row_groups.iter().map(|row_group| file.times(*row_group));
            *column = ColumnStatistics {
                min_value: instant(times().map(|(min, _)| min).min()),
                max_value: instant(times().map(|(_, max)| max).max()),
                ..ColumnStatistics::new_unknown()
            };
        }
        PartitionedFile::new(row.path.clone(), row.bytes)
            .with_statistics(Arc::new(statistics))
            .with_extension(pruning::access_plan(
                &part.segment,
                &part.granules,
                row_groups,
            ))
            .with_extension(ScannedSegment {
                segment: part.segment.clone(),
                source: part.source.clone(),
                counts: self.counts.clone(),
                _keep_alive: part.handle.clone(),
            })
    }

    /// A plan of segments that deletes wait for. The columns that tell the deleted records are read too, and left out
    /// of the answer.
    fn plan_without_deleted(
        &self,
        pending: &[Arc<PendingDelete>],
        parts: &[Part],
        asked: &Asked<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let kept = deletes::kept(pending, asked.table)?;
        let mut projection = asked.projection.to_vec();
        for column in kept.column_refs() {
            let index = asked.schema.index_of(&column.name)?;
            if !projection.contains(&index) {
                projection.push(index);
            }
        }
        let scan = self.plan(parts, asked, &projection, None)?;
        let schema = DFSchema::try_from(scan.schema())?;
        let predicate = asked.state.create_physical_expr(kept, &schema)?;
        let asked_columns = (0..asked.projection.len()).collect();
        let filter = FilterExecBuilder::new(predicate, scan)
            .apply_projection(Some(asked_columns))?
            .build()?;
        Ok(Arc::new(filter))
    }
}

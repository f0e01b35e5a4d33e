//! The plans that read segments: what pruning left of them, dealt out to the query's threads.

mod bound;
mod exec;
mod newest;
mod predicate;
mod row_set;
mod rows;
mod search;
mod unit;

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use logmill_model::TimeRange;
use logmill_schema::TableSchema;
use logmill_store::SegmentHandle;
use tokio::task::JoinSet;

use self::exec::SegmentExec;
use self::newest::NewestExec;
pub(crate) use self::predicate::{MatchCache, Predicate};
pub(crate) use self::row_set::Rows;
pub(crate) use self::rows::joined;
use self::search::Sought;
use self::unit::{Part, Reading, Unit};
use crate::deletes;
use crate::pruning::{self, Condition};
use crate::records::First;
use crate::segments::{Objects, PlannedScan, ScanCounts, SegmentCache};

/// Up to so many granules another thread gains nothing.
const FEW_GRANULES: u32 = 8;

/// Up to so many segments one thread finds what is left of them sooner than another is woken.
const FEW_SEGMENTS: usize = 16;

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

impl Asked<'_> {
    fn threads(&self) -> usize {
        self.state.config().target_partitions().max(1)
    }
}

/// What scans of segments need.
#[derive(Clone, Debug)]
pub(crate) struct SegmentScan {
    pub(crate) objects: Objects,
    pub(crate) cache: Arc<SegmentCache>,
    pub(crate) matches: Arc<MatchCache>,
    pub(crate) counts: Arc<ScanCounts>,
}

impl SegmentScan {
    /// Plans that together read the segments' records of which all filters hold, without deleted ones.
    pub(crate) async fn plans(
        &self,
        segments: &[Arc<SegmentHandle>],
        asked: &Asked<'_>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let parts = self.parts(segments, asked).await?;
        if parts.is_empty() {
            return Ok(None);
        }
        let partitions = dealt(&parts, asked.threads());
        let reading = self.reading(asked)?;
        let plan = SegmentExec::new(reading, parts, partitions, asked.limit);
        Ok(Some(Arc::new(plan)))
    }

    /// A plan of the first records in an order, of segments and of memory, of which all filters hold; `timestamp` is in
    /// the projection.
    pub(crate) async fn first(
        &self,
        segments: &[Arc<SegmentHandle>],
        memory: Vec<RecordBatch>,
        asked: &Asked<'_>,
        first: First,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let sought = Sought {
            parts: self.parts(segments, asked).await?,
            in_memory: Predicate::new(asked.state, asked.filters, asked.schema)?,
            reading: self.reading(asked)?,
            range: asked.range,
            threads: asked.threads(),
            first,
            memory,
        };
        Ok(Arc::new(NewestExec::new(sought)))
    }

    fn reading(&self, asked: &Asked<'_>) -> Result<Reading> {
        Ok(Reading {
            schema: Arc::new(asked.schema.project(asked.projection)?),
            counts: self.counts.clone(),
            matches: self.matches.clone(),
        })
    }

    /// What pruning leaves of the segments, newest first.
    async fn parts(
        &self,
        segments: &[Arc<SegmentHandle>],
        asked: &Asked<'_>,
    ) -> Result<Vec<Arc<Part>>> {
        let condition = Arc::new(pruning::condition(asked.filters));
        let bytes_before = self.counts.bytes.load(Ordering::Relaxed);
        let mut predicates = Predicates::default();
        let mut candidates = Vec::new();
        for handle in segments {
            let row = handle.row();
            if !asked
                .range
                .overlaps_inclusive(row.min_timestamp_ns, row.max_timestamp_ns)
            {
                continue;
            }
            // What holds of every record need not be checked while reading.
            let all_in_range = asked.range.start_ns <= row.min_timestamp_ns
                && row.max_timestamp_ns < asked.range.end_ns;
            let useful = |filter: &&Expr| !(all_in_range && pruning::is_of_time_alone(filter));
            let mut filters: Vec<Expr> = asked.filters.iter().filter(useful).cloned().collect();
            let deletes = handle.deletes();
            if !deletes.is_empty() {
                filters.push(deletes::kept(&deletes, asked.table)?);
            }
            candidates.push((handle.clone(), predicates.get(filters, asked)?));
        }
        let threads = asked.threads().min(candidates.len().div_ceil(FEW_SEGMENTS));
        let mut parts: Vec<Arc<Part>> = if threads < 2 {
            self.pruned(candidates, &condition, asked.range).await?
        } else {
            let mut tasks = JoinSet::new();
            let each = candidates.len().div_ceil(threads);
            for candidates in candidates.chunks(each) {
                let (scan, candidates) = (self.clone(), candidates.to_vec());
                let (condition, range) = (condition.clone(), asked.range);
                tasks.spawn(async move { scan.pruned(candidates, &condition, range).await });
            }
            let mut parts = Vec::new();
            while let Some(pruned) = tasks.join_next().await {
                parts.extend(joined(pruned)?);
            }
            parts
        };
        self.counts.plan(PlannedScan {
            segments: parts.len(),
            segments_total: segments.len(),
            granules: parts
                .iter()
                .map(|part| u64::from(part.granules.len()))
                .sum(),
            index_bytes: self.counts.bytes.load(Ordering::Relaxed) - bytes_before,
        });
        parts.sort_by(|one, other| {
            let order = |part: &Part| Reverse(part.handle.row().max_timestamp_ns);
            let times = order(one).cmp(&order(other));
            times.then_with(|| one.path.cmp(&other.path))
        });
        Ok(parts)
    }

    /// What is left of segments that have a predicate each.
    async fn pruned(
        &self,
        segments: Vec<(Arc<SegmentHandle>, Option<Arc<Predicate>>)>,
        condition: &Condition,
        range: TimeRange,
    ) -> Result<Vec<Arc<Part>>> {
        let mut parts = Vec::new();
        for (handle, predicate) in segments {
            let part = self.part(&handle, condition, range, predicate).await?;
            parts.extend(part.map(Arc::new));
        }
        Ok(parts)
    }

    /// What is left of a segment, if anything is.
    async fn part(
        &self,
        handle: &Arc<SegmentHandle>,
        condition: &Condition,
        range: TimeRange,
        predicate: Option<Arc<Predicate>>,
    ) -> Result<Option<Part>> {
        let path = &handle.row().path;
        let source = self.objects.source(path)?;
        let segment = self.cache.open(&self.objects, handle).await?;
        let (granules, bytes) = pruning::granules(&segment, &source, condition, range).await?;
        self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        if granules.is_empty() {
            return Ok(None);
        }
        Ok(Some(Part {
            handle: handle.clone(),
            path: path.as_str().into(),
            segment,
            source,
            granules,
            predicate,
        }))
    }
}

/// The predicates of a scan: of most segments it is the same one.
#[derive(Default)]
struct Predicates(Vec<(Vec<Expr>, Option<Arc<Predicate>>)>);

impl Predicates {
    fn get(&mut self, filters: Vec<Expr>, asked: &Asked<'_>) -> Result<Option<Arc<Predicate>>> {
        if let Some((_, known)) = self.0.iter().find(|(known, _)| *known == filters) {
            return Ok(known.clone());
        }
        let predicate = Predicate::new(asked.state, &filters, asked.schema)?;
        self.0.push((filters, predicate.clone()));
        Ok(predicate)
    }
}

/// Newest first, dealt out in turn, so that every thread begins with the newest it has.
fn dealt(parts: &[Arc<Part>], threads: usize) -> Vec<Vec<Unit>> {
    let granules: u32 = parts.iter().map(|part| part.granules.len()).sum();
    let threads = if granules <= FEW_GRANULES { 1 } else { threads };
    let mut units: Vec<Unit> = parts.iter().flat_map(Part::units).collect();
    units.sort_by_key(|unit| Reverse(unit.times().1));
    let mut dealt: Vec<(u32, Vec<Unit>)> = vec![(0, Vec::new()); threads];
    for unit in units {
        // To whom has least to do.
        if let Some((load, units)) = dealt.iter_mut().min_by_key(|(load, _)| *load) {
            *load += unit.granules.len();
            units.push(unit);
        }
    }
    let dealt = dealt.into_iter().map(|(_, units)| units);
    dealt.filter(|units| !units.is_empty()).collect()
}

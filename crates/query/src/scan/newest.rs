//! The first records in the order of time: which ones they are is found in `timestamp` alone, and only these are read.
//!
//! What may have the newest record is looked into first. As soon as enough are known that are newer than whatever was not
//! looked into yet, the rest is left alone. Memory is looked into like segments are, and as a rule before them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};
use logmill_model::field;
use logmill_query_api::Order;
use logmill_segment::{GRANULE_ROWS, GranuleSet};
use tokio::task::JoinSet;

use super::exec::describe;
use super::predicate::Predicate;
use super::unit::{Part, Reading, Unit};
use crate::records::First;

/// Granules that a thread looks into before it is asked whether that is enough: at first, and at most.
const GRANULES: std::ops::RangeInclusive<usize> = 4..=64;

/// Reads the first records in the order of time, and gives them in none.
#[derive(Debug)]
pub(crate) struct NewestExec {
    reading: Reading,
    first: First,
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
        let search = Search {
            reading: self.reading.clone(),
            first: self.first,
            memory: self.memory.clone(),
            in_memory: self.in_memory.clone(),
            units: self.parts.iter().flat_map(Part::units).collect(),
            threads: self.threads.max(1),
        };
        let batches = futures::stream::once(search.run());
        let batches = batches.map_ok(|batches| futures::stream::iter(batches).map(Ok));
        let schema = self.reading.schema.clone();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            schema,
            batches.try_flatten(),
        )))
    }
}

/// A time as a number that is larger for what is wanted sooner.
type Rank = i64;

const fn rank(order: Order, t_ns: i64) -> Rank {
    match order {
        Order::Desc => t_ns,
        // `-t` would not fit.
        Order::Asc => !t_ns,
    }
}

/// Something that may have wanted records.
#[derive(Clone, Copy)]
struct Candidate {
    /// The best rank that any of its records has.
    best: Rank,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A batch in memory.
    Memory(usize),
    /// A granule of a unit.
    Granule { unit: usize, granule: u32 },
}

/// A record that may be wanted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    rank: Rank,
    source: Source,
    /// Its row in the batch or in the row group.
    row: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Memory(usize),
    Unit(usize),
}

struct Search {
    reading: Reading,
    first: First,
    memory: Vec<RecordBatch>,
    in_memory: Option<Arc<Predicate>>,
    units: Vec<Unit>,
    threads: usize,
}

impl Search {
    async fn run(self) -> Result<Vec<RecordBatch>> {
        let hits = self.hits().await?;
        let mut rows: BTreeMap<Source, Vec<u32>> = BTreeMap::new();
        for hit in hits {
            rows.entry(hit.source).or_default().push(hit.row);
        }
        let mut batches = Vec::with_capacity(rows.len());
        let mut tasks = JoinSet::new();
        for (source, mut rows) in rows {
            rows.sort_unstable();
            match source {
                Source::Memory(at) => batches.extend(self.taken(at, rows)?),
                Source::Unit(unit) => {
                    if let Some(unit) = self.units.get(unit) {
                        spawn_read(&mut tasks, unit.clone(), self.reading.clone(), rows);
                    }
                }
            }
        }
        while let Some(read) = tasks.join_next().await {
            batches.extend(joined(read)?);
        }
        Ok(batches)
    }

    /// The wanted records, and perhaps some more of the last one's time.
    async fn hits(&self) -> Result<Vec<Hit>> {
        let wanted = self.first.rows;
        let candidates = self.candidates()?;
        let mut candidates = candidates.as_slice();
        let mut best = BinaryHeap::with_capacity(wanted.min(1 << 14) + 1);
        let mut hits: Vec<Hit> = Vec::new();
        let mut at_once = *GRANULES.start();
        while let Some(next) = candidates.first() {
            let threshold = threshold(&best, wanted);
            if threshold.is_some_and(|threshold| next.best <= threshold) {
                break;
            }
            let round = candidates.len().min(self.threads * at_once);
            let (now, later) = candidates.split_at(round);
            candidates = later;
            at_once = (at_once * 2).min(*GRANULES.end());
            for found in self.look_into(now, threshold).await? {
                best.push(Reverse(found.rank));
                if best.len() > wanted {
                    best.pop();
                }
                hits.push(found);
            }
        }
        if let Some(threshold) = threshold(&best, wanted) {
            hits.retain(|hit| hit.rank >= threshold);
            hits.sort_unstable_by(|one, other| other.cmp(one));
            hits.truncate(wanted);
        }
        Ok(hits)
    }

    /// All there is, the most promising first.
    fn candidates(&self) -> Result<Vec<Candidate>> {
        let order = self.first.order;
        let mut candidates = Vec::new();
        for (at, batch) in self.memory.iter().enumerate() {
            let ranks = times_of(batch)?.iter().map(|time| rank(order, *time));
            if let Some(best) = ranks.max() {
                let place = Place::Memory(at);
                candidates.push(Candidate { best, place });
            }
        }
        for (at, unit) in self.units.iter().enumerate() {
            let best_of = |(min, max): (i64, i64)| match order {
                Order::Desc => rank(order, max),
                Order::Asc => rank(order, min),
            };
            let segment = &unit.part.segment;
            let first = segment.granules_of(unit.row_group).start;
            let of_all = best_of(unit.times());
            let pages: Vec<Rank> = segment
                .page_times(unit.row_group)
                .into_iter()
                .flatten()
                .map(|page| best_of((page.min_ns, page.max_ns)))
                .collect();
            candidates.extend(unit.granules.iter().map(|granule| {
                let page = granule
                    .checked_sub(first)
                    .and_then(|page| pages.get(page as usize));
                Candidate {
                    best: page.copied().unwrap_or(of_all),
                    place: Place::Granule { unit: at, granule },
                }
            }));
        }
        candidates.sort_by_key(|candidate| Reverse((candidate.best, Reverse(candidate.place))));
        Ok(candidates)
    }

    /// The records of these places that satisfy the predicate and are better than `threshold`.
    async fn look_into(&self, places: &[Candidate], threshold: Option<Rank>) -> Result<Vec<Hit>> {
        let order = self.first.order;
        let mut hits = Vec::new();
        let mut granules: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for candidate in places {
            match candidate.place {
                Place::Memory(at) => hits.extend(self.in_batch(at, threshold)?),
                Place::Granule { unit, granule } => granules.entry(unit).or_default().push(granule),
            }
        }
        // So many to a task that every thread gets some.
        let all: usize = granules.values().map(Vec::len).sum();
        let most = all.div_ceil(self.threads).max(1);
        let mut tasks = JoinSet::new();
        for (at, mut granules) in granules {
            let Some(unit) = self.units.get(at) else {
                continue;
            };
            granules.sort_unstable();
            for granules in granules.chunks(most) {
                let mut part = unit.clone();
                part.granules = GranuleSet::none(part.part.segment.granules());
                granules
                    .iter()
                    .for_each(|granule| part.granules.insert(*granule));
                let known = unit.known(&self.reading.matches);
                let reading = self.reading.clone();
                tasks.spawn(async move {
                    let found = ranks(&part, known, &reading, order, threshold).await?;
                    Ok((Source::Unit(at), found))
                });
            }
        }
        while let Some(found) = tasks.join_next().await {
            let (source, found) = joined(found)?;
            hits.extend(
                found
                    .into_iter()
                    .map(|(rank, row)| Hit { rank, source, row }),
            );
        }
        Ok(hits)
    }

    fn in_batch(&self, at: usize, threshold: Option<Rank>) -> Result<Vec<Hit>> {
        let Some(batch) = self.memory.get(at) else {
            return Ok(Vec::new());
        };
        let matches = self
            .in_memory
            .as_ref()
            .map(|predicate| predicate.matches(batch));
        let matches = matches.transpose()?;
        let mut hits = Vec::new();
        for (row, time) in times_of(batch)?.iter().enumerate() {
            let rank = rank(self.first.order, *time);
            let better = threshold.is_none_or(|threshold| rank > threshold);
            if better && matches.as_ref().is_none_or(|matches| matches.value(row)) {
                hits.push(Hit {
                    rank,
                    source: Source::Memory(at),
                    row: row as u32,
                });
            }
        }
        Ok(hits)
    }

    /// Rows of a batch in memory, with the asked columns.
    fn taken(&self, at: usize, rows: Vec<u32>) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.memory.get(at) else {
            return Ok(None);
        };
        let taken = arrow_select::take::take_record_batch(batch, &UInt32Array::from(rows))?;
        adapted(&taken, &self.reading.schema).map(Some)
    }
}

fn adapted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    logmill_schema::adapt(batch, schema).map_err(|error| DataFusionError::External(Box::new(error)))
}

/// The rank that a record has to beat, once enough are known.
fn threshold(best: &BinaryHeap<Reverse<Rank>>, wanted: usize) -> Option<Rank> {
    (best.len() >= wanted).then(|| best.peek().map_or(Rank::MAX, |worst| worst.0))
}

fn times_of(batch: &RecordBatch) -> Result<&[i64]> {
    let times = batch.column_by_name(field::TIMESTAMP);
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>());
    times
        .map(|times| times.values().as_ref())
        .ok_or_else(|| DataFusionError::Internal("records without a time".to_owned()))
}

/// The ranks and rows, in the row group, of a unit's records that satisfy its predicate and are better than `threshold`.
async fn ranks(
    unit: &Unit,
    known: Option<Arc<RowSelection>>,
    reading: &Reading,
    order: Order,
    threshold: Option<Rank>,
) -> Result<Vec<(Rank, u32)>> {
    let granules = unit.rows();
    let times = Reading {
        schema: time_alone(&reading.schema)?,
        ..reading.clone()
    };
    let mut ranks = Vec::new();
    let mut better = |row: usize, time: i64| {
        let rank = rank(order, time);
        if threshold.is_none_or(|threshold| rank > threshold) {
            ranks.push((rank, row as u32));
        }
    };
    // Which rows the reader gives: those that are known to match, or those that it finds.
    if let Some(known) = known {
        let selection = granules.intersection(&known);
        let mut reader = unit.read_rows(&times, selection.clone(), false)?;
        let mut rows = selected(&selection);
        while let Some(batch) = reader.next().await? {
            for (time, row) in times_of(&batch)?.iter().zip(&mut rows) {
                better(row, *time);
            }
        }
        return Ok(ranks);
    }
    let (mut reader, found) = unit.read_and_tell(&times, granules.clone())?;
    let mut read = Vec::new();
    while let Some(batch) = reader.next().await? {
        read.extend_from_slice(times_of(&batch)?);
    }
    let selection = found.selection(granules);
    for (row, time) in selected(&selection).zip(read) {
        better(row, time);
    }
    Ok(ranks)
}

/// The schema of `timestamp` alone.
fn time_alone(schema: &SchemaRef) -> Result<SchemaRef> {
    let time = schema.field_with_name(field::TIMESTAMP)?;
    Ok(Arc::new(Schema::new(vec![time.clone()])))
}

/// The numbers of the selected rows.
fn selected(selection: &RowSelection) -> impl Iterator<Item = usize> + '_ {
    let mut next = 0;
    selection.iter().flat_map(move |run| {
        let rows = next..next + run.row_count;
        next = rows.end;
        if run.skip { 0..0 } else { rows }
    })
}

fn spawn_read(
    tasks: &mut JoinSet<Result<Vec<RecordBatch>>>,
    unit: Unit,
    reading: Reading,
    rows: Vec<u32>,
) {
    // A task for every few granules: decoding their pages is what takes the time.
    let mut from = 0;
    while from < rows.len() {
        let granules = |at: usize| rows.get(at).map(|row| *row as usize / GRANULE_ROWS);
        let mut until = from + 1;
        let mut distinct = 1;
        while until < rows.len() {
            distinct += usize::from(granules(until) != granules(until - 1));
            if distinct > *GRANULES.start() {
                break;
            }
            until += 1;
        }
        let some = rows.get(from..until).unwrap_or_default().to_vec();
        let (unit, reading) = (unit.clone(), reading.clone());
        tasks.spawn(async move {
            let mut reader = unit.read_rows(&reading, selection_of(&some), false)?;
            let mut batches = Vec::new();
            while let Some(batch) = reader.next().await? {
                batches.push(batch);
            }
            Ok(batches)
        });
        from = until;
    }
}

/// A selection of these rows, which are in order.
fn selection_of(rows: &[u32]) -> RowSelection {
    let mut selectors = Vec::new();
    let mut next = 0;
    for row in rows {
        let row = *row as usize;
        if row > next {
            selectors.push(RowSelector::skip(row - next));
        }
        selectors.push(RowSelector::select(1));
        next = row + 1;
    }
    RowSelection::from(selectors)
}

fn joined<T>(task: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    task.map_err(|error| DataFusionError::Execution(format!("a task of a scan: {error}")))?
}

//! The first records in the order of time: which ones they are is found in `timestamp` alone, and only these are read.
//!
//! What may have the newest record is looked into first. As soon as enough are known that are newer than whatever was not
//! looked into yet, the rest is left alone. Memory is looked into like segments are, and as a rule before them; of a
//! segment, the block of its newest records before its granules.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::{Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result};
use logmill_model::{TimeRange, field};
use logmill_query_api::Order;
use logmill_segment::GranuleSet;
use tokio::task::JoinSet;

use super::predicate::Predicate;
use super::rows::{joined, read_rows};
use super::unit::{Part, Reading, Unit};
use crate::compiled::adapted;
use crate::records::First;

/// Granules that a thread looks into before it is asked whether that is enough: at first, and at most.
const GRANULES: std::ops::RangeInclusive<usize> = 4..=64;

/// Of a part of which pruning leaves so few granules, all are looked into as soon as the block of its newest records.
const PRUNED_GRANULES: u32 = 8;

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

impl Candidate {
    const fn is_cheap(&self) -> bool {
        !matches!(self.place, Place::Granule { .. })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A batch in memory.
    Memory(usize),
    /// The block of a part's newest records.
    Newest(usize),
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
    Newest(usize),
    Unit(usize),
}

/// What a task found.
struct Found {
    source: Source,
    hits: Vec<(Rank, u32)>,
    /// The block that was read for it; `Some(None)` when it could not be.
    block: Option<Option<RecordBatch>>,
}

/// Which first records are looked for, and where.
#[derive(Clone, Debug)]
pub(super) struct Sought {
    pub(super) reading: Reading,
    pub(super) first: First,
    pub(super) range: TimeRange,
    pub(super) memory: Vec<RecordBatch>,
    pub(super) in_memory: Option<Arc<Predicate>>,
    pub(super) parts: Vec<Arc<Part>>,
    /// One at least.
    pub(super) threads: usize,
}

/// A search for the first records.
pub(super) struct Search {
    sought: Sought,
    /// Each with the place of its part.
    units: Vec<(usize, Unit)>,
    /// Newest records of parts, as far as they were read.
    blocks: BTreeMap<usize, RecordBatch>,
    /// Parts whose newest records cannot be read.
    unreadable: BTreeSet<usize>,
}

impl Search {
    pub(super) fn new(sought: Sought) -> Self {
        let units = sought.parts.iter().enumerate();
        let units = units.flat_map(|(at, part)| part.units().map(move |unit| (at, unit)));
        Self {
            units: units.collect(),
            sought,
            blocks: BTreeMap::new(),
            unreadable: BTreeSet::new(),
        }
    }

    /// The records, in no order.
    pub(super) async fn run(mut self) -> Result<Vec<RecordBatch>> {
        let hits = loop {
            // Each time without an answer makes one block more unreadable.
            if let Some(hits) = self.hits().await? {
                break hits;
            }
        };
        let mut rows: BTreeMap<Source, Vec<u32>> = BTreeMap::new();
        for hit in hits {
            rows.entry(hit.source).or_default().push(hit.row);
        }
        let mut batches = Vec::with_capacity(rows.len());
        let mut in_units = Vec::new();
        for (source, mut rows) in rows {
            rows.sort_unstable();
            match source {
                Source::Memory(at) => batches.extend(self.taken(self.sought.memory.get(at), rows)?),
                Source::Newest(part) => batches.extend(self.taken(self.blocks.get(&part), rows)?),
                Source::Unit(unit) => {
                    if let Some((_, unit)) = self.units.get(unit) {
                        in_units.push((unit.clone(), rows));
                    }
                }
            }
        }
        batches.extend(read_rows(in_units, &self.sought.reading, self.sought.threads).await?);
        Ok(batches)
    }

    /// The wanted records; none when a block could not be read without which they are not known.
    async fn hits(&mut self) -> Result<Option<Vec<Hit>>> {
        let wanted = self.sought.first.rows;
        let candidates = self.candidates()?;
        let mut candidates = candidates.as_slice();
        let mut best = BinaryHeap::with_capacity(wanted.min(1 << 14) + 1);
        let mut hits: Vec<Hit> = Vec::new();
        let mut at_once = *GRANULES.start();
        while let Some(next) = candidates.first() {
            let worst = threshold(&best, wanted);
            if worst.is_some_and(|worst| next.best <= worst) {
                break;
            }
            // What costs next to nothing is looked into before any granule is.
            let cheap = candidates
                .iter()
                .take_while(|candidate| candidate.is_cheap());
            let round = match cheap.count() {
                0 => {
                    let round = candidates.len().min(self.sought.threads * at_once);
                    at_once = (at_once * 2).min(*GRANULES.end());
                    round
                }
                cheap => cheap.min(self.sought.threads),
            };
            let (now, later) = candidates.split_at(round);
            candidates = later;
            let Some(found) = self.look_into(now, worst).await? else {
                return Ok(None);
            };
            for found in found {
                best.push(Reverse(found.rank));
                if best.len() > wanted {
                    best.pop();
                }
                hits.push(found);
            }
            // No more are kept than may still be wanted.
            if let Some(worst) = threshold(&best, wanted) {
                hits.retain(|hit| hit.rank >= worst);
            }
        }
        hits.sort_unstable_by(|one, other| other.cmp(one));
        hits.truncate(wanted);
        Ok(Some(hits))
    }

    /// The time that all records of a part's block are newer than, where the block is of use.
    fn block_after(&self, part: usize) -> Option<i64> {
        if self.sought.first.order != Order::Desc || self.unreadable.contains(&part) {
            return None;
        }
        let part = self.sought.parts.get(part)?;
        let granules = part.granules.len();
        if granules <= PRUNED_GRANULES && granules < part.segment.granules() {
            return None;
        }
        let after_ns = part.segment.newest_after_ns()?;
        (after_ns < self.sought.range.end_ns).then_some(after_ns)
    }

    /// All there is, the most promising first.
    fn candidates(&self) -> Result<Vec<Candidate>> {
        let order = self.sought.first.order;
        let mut candidates = Vec::new();
        for (at, batch) in self.sought.memory.iter().enumerate() {
            let ranks = times_of(batch)?.iter().map(|time| rank(order, *time));
            if let Some(best) = ranks.max() {
                let place = Place::Memory(at);
                candidates.push(Candidate { best, place });
            }
        }
        for (at, part) in self.sought.parts.iter().enumerate() {
            if self.block_after(at).is_some() {
                candidates.push(Candidate {
                    best: rank(order, part.handle.row().max_timestamp_ns),
                    place: Place::Newest(at),
                });
            }
        }
        for (at, (part, unit)) in self.units.iter().enumerate() {
            // What is in the block is found there.
            let most = self.block_after(*part).unwrap_or(Rank::MAX);
            let best_of = |(min, max): (i64, i64)| match order {
                Order::Desc => rank(order, max).min(most),
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

    /// The records of these places that satisfy the predicate and are better than `worst`; none when a block could not
    /// be read.
    async fn look_into(
        &mut self,
        places: &[Candidate],
        worst: Option<Rank>,
    ) -> Result<Option<Vec<Hit>>> {
        let order = self.sought.first.order;
        let mut hits = Vec::new();
        let mut granules: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        for candidate in places {
            match candidate.place {
                Place::Memory(at) => hits.extend(self.in_batch(at, worst)?),
                Place::Newest(at) => {
                    if let Some(part) = self.sought.parts.get(at).cloned() {
                        let reading = self.sought.reading.clone();
                        tasks.spawn(async move { newest(at, &part, &reading, worst).await });
                    }
                }
                Place::Granule { unit, granule } => granules.entry(unit).or_default().push(granule),
            }
        }
        // So many to a task that every thread gets some.
        let all: usize = granules.values().map(Vec::len).sum();
        let most = all.div_ceil(self.sought.threads).max(1);
        for (at, mut granules) in granules {
            let Some((part, unit)) = self.units.get(at) else {
                continue;
            };
            let elsewhere = self.block_after(*part);
            granules.sort_unstable();
            for granules in granules.chunks(most) {
                let mut some = GranuleSet::none(unit.part.segment.granules());
                granules.iter().for_each(|granule| some.insert(*granule));
                let (unit, reading) = (unit.clone(), self.sought.reading.clone());
                tasks.spawn(async move {
                    let mut hits = ranks(&unit, some, &reading, order, worst).await?;
                    if let Some(elsewhere) = elsewhere {
                        hits.retain(|(rank, _)| *rank <= elsewhere);
                    }
                    Ok(Found {
                        source: Source::Unit(at),
                        hits,
                        block: None,
                    })
                });
            }
        }
        let mut all_read = true;
        while let Some(found) = tasks.join_next().await {
            let Found {
                source,
                hits: found,
                block,
            } = joined(found)?;
            match (source, block) {
                (Source::Newest(part), Some(Some(block))) => {
                    self.blocks.insert(part, block);
                }
                (Source::Newest(part), Some(None)) => {
                    self.unreadable.insert(part);
                    all_read = false;
                }
                _ => {}
            }
            let found = found.into_iter();
            hits.extend(found.map(|(rank, row)| Hit { rank, source, row }));
        }
        Ok(all_read.then_some(hits))
    }

    fn in_batch(&self, at: usize, worst: Option<Rank>) -> Result<Vec<Hit>> {
        let Some(batch) = self.sought.memory.get(at) else {
            return Ok(Vec::new());
        };
        let found = matching(
            batch,
            self.sought.in_memory.as_deref(),
            self.sought.first.order,
            worst,
        )?;
        let source = Source::Memory(at);
        let hits = found.into_iter();
        Ok(hits.map(|(rank, row)| Hit { rank, source, row }).collect())
    }

    /// Rows of a batch, with the asked columns.
    fn taken(&self, batch: Option<&RecordBatch>, rows: Vec<u32>) -> Result<Option<RecordBatch>> {
        let Some(batch) = batch else {
            return Ok(None);
        };
        let taken = arrow_select::take::take_record_batch(batch, &UInt32Array::from(rows))?;
        adapted(&taken, &self.sought.reading.schema).map(Some)
    }
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

/// The ranks and rows of a batch's records that satisfy a predicate and are better than `worst`.
fn matching(
    batch: &RecordBatch,
    predicate: Option<&Predicate>,
    order: Order,
    worst: Option<Rank>,
) -> Result<Vec<(Rank, u32)>> {
    let matches = predicate.map(|predicate| predicate.matches(batch));
    let matches = matches.transpose()?;
    let matches = |row: usize| matches.as_ref().is_none_or(|matches| matches.value(row));
    let ranks = times_of(batch)?.iter().map(|time| rank(order, *time));
    let better = ranks.enumerate().filter(|(row, rank)| {
        let better = worst.is_none_or(|worst| *rank > worst);
        better && matches(*row)
    });
    Ok(better.map(|(row, rank)| (rank, row as u32)).collect())
}

/// What the block of a part's newest records has.
async fn newest(at: usize, part: &Part, reading: &Reading, worst: Option<Rank>) -> Result<Found> {
    let block = part.segment.newest(&part.source, &reading.counts).await?;
    let predicate = part.predicate.as_deref();
    let hits = block
        .as_ref()
        .map(|block| matching(block, predicate, Order::Desc, worst));
    Ok(Found {
        source: Source::Newest(at),
        hits: hits.transpose()?.unwrap_or_default(),
        block: Some(block),
    })
}

/// The ranks and rows, in the row group, of the records of some granules of a unit that satisfy its predicate and are
/// better than `worst`.
async fn ranks(
    unit: &Unit,
    granules: GranuleSet,
    reading: &Reading,
    order: Order,
    worst: Option<Rank>,
) -> Result<Vec<(Rank, u32)>> {
    let times = Reading {
        schema: time_alone(&reading.schema)?,
        ..reading.clone()
    };
    let whole = granules == unit.granules;
    let some = Unit {
        granules,
        ..unit.clone()
    };
    let mut reader = match unit.known(&reading.matches) {
        Some(known) => some.read_rows(&times, known.within(|page| some.contains(page))),
        None => some.read(&times, whole),
    };
    let mut ranks = Vec::new();
    while let Some((granule, batch)) = reader.next_granule().await? {
        for (row, time) in granule.numbers().zip(times_of(&batch)?) {
            let rank = rank(order, *time);
            if worst.is_none_or(|worst| rank > worst) {
                ranks.push((rank, row as u32));
            }
        }
    }
    Ok(ranks)
}

/// The schema of `timestamp` alone.
fn time_alone(schema: &SchemaRef) -> Result<SchemaRef> {
    let time = schema.field_with_name(field::TIMESTAMP)?;
    Ok(Arc::new(Schema::new(vec![time.clone()])))
}

//! What one thread reads at a time: some granules of a row group.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_buffer::BooleanBufferBuilder;
use arrow_schema::SchemaRef;
use datafusion::common::Result;
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use logmill_segment::GranuleSet;
use logmill_store::SegmentHandle;

use super::predicate::{Found, MatchCache, MatchKey, Predicate};
use crate::pruning;
use crate::segments::{OpenSegment, RowGroupRead, RowGroupReader, ScanCounts, Source};

/// Granules of a unit at most. Its rows are asked in one go, during which a query cannot be stopped; but what a row group
/// has only once, its dictionaries, is read for every unit.
const UNIT_GRANULES: usize = 32;

/// A segment of which something is to be read.
#[derive(Debug)]
pub(crate) struct Part {
    /// The object lives until the plan is gone.
    pub(super) handle: Arc<SegmentHandle>,
    pub(super) path: Arc<str>,
    pub(super) segment: Arc<OpenSegment>,
    pub(super) source: Source,
    /// What pruning left.
    pub(super) granules: GranuleSet,
    pub(super) predicate: Option<Arc<Predicate>>,
}

impl Part {
    /// What is to be read, cut into units.
    pub(super) fn units(self: &Arc<Self>) -> impl Iterator<Item = Unit> + '_ {
        (0..self.segment.file().row_groups()).flat_map(|row_group| {
            let all = self.segment.granules_of(row_group);
            let granules: Vec<u32> = all
                .filter(|granule| self.granules.contains(*granule))
                .collect();
            let units = granules.chunks(UNIT_GRANULES).map(|some| {
                let mut granules = GranuleSet::none(self.segment.granules());
                some.iter().for_each(|granule| granules.insert(*granule));
                Unit {
                    part: self.clone(),
                    row_group,
                    granules,
                }
            });
            units.collect::<Vec<_>>()
        })
    }
}

/// Some granules of a row group.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(super) part: Arc<Part>,
    pub(super) row_group: usize,
    pub(super) granules: GranuleSet,
}

/// What reading a unit needs beside it.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(super) schema: SchemaRef,
    pub(super) counts: Arc<ScanCounts>,
    pub(super) matches: Arc<MatchCache>,
}

/// Rows of a unit that satisfy its predicate, batch by batch.
pub(crate) struct UnitReader {
    rows: Rows,
    /// To be known the next time: under what, among which rows.
    learn: Option<(MatchKey, RowSelection)>,
    matches: Arc<MatchCache>,
    found: Option<Found>,
}

enum Rows {
    /// Nobody asks for a value: only their number is told.
    Counted(Option<RecordBatch>),
    Read(Box<RowGroupReader>),
}

impl Unit {
    /// Oldest and newest time.
    pub(super) fn times(&self) -> (i64, i64) {
        self.part.segment.file().times(self.row_group)
    }

    fn all_rows(&self) -> usize {
        self.part.segment.file().rows(self.row_group)
    }

    fn match_key(&self) -> Option<MatchKey> {
        let predicate = self.part.predicate.as_ref()?;
        predicate.match_key(&self.part.path, &self.granules)
    }

    /// The rows that satisfy the predicate, when that is known without reading them.
    pub(super) fn known(&self, matches: &MatchCache) -> Option<Arc<RowSelection>> {
        match &self.part.predicate {
            Some(_) => matches.get(&self.match_key()?),
            None => Some(Arc::new(self.rows())),
        }
    }

    /// The rows of the granules.
    pub(super) fn rows(&self) -> RowSelection {
        let selection = pruning::selection(&self.part.segment, &self.granules, self.row_group);
        selection.unwrap_or_else(|| RowSelection::from(vec![RowSelector::select(self.all_rows())]))
    }

    /// Reads all rows that satisfy the predicate.
    pub(super) fn read(&self, reading: &Reading) -> Result<UnitReader> {
        match self.known(&reading.matches) {
            Some(known) if reading.schema.fields().is_empty() => {
                let options = RecordBatchOptions::new().with_row_count(Some(known.row_count()));
                let schema = reading.schema.clone();
                let batch = RecordBatch::try_new_with_options(schema, Vec::new(), &options)?;
                Ok(UnitReader {
                    rows: Rows::Counted((batch.num_rows() > 0).then_some(batch)),
                    learn: None,
                    matches: reading.matches.clone(),
                    found: None,
                })
            }
            Some(known) => self.read_rows(reading, known.as_ref().clone(), false),
            None => self.read_rows(reading, self.rows(), true),
        }
    }

    /// Reads some rows; of those, where it is not known, the ones that satisfy the predicate.
    pub(super) fn read_rows(
        &self,
        reading: &Reading,
        rows: RowSelection,
        ask: bool,
    ) -> Result<UnitReader> {
        let Part {
            segment, source, ..
        } = self.part.as_ref();
        let asked = self.part.predicate.as_ref().filter(|_| ask);
        let (filter, found) = asked
            .map(|predicate| predicate.row_filter(segment, self.row_group))
            .unzip();
        let whole = rows.row_count() == self.all_rows();
        let learn = found.as_ref().and_then(|_| self.match_key());
        let read = RowGroupRead {
            row_group: self.row_group,
            filter,
            selection: (!whole).then(|| rows.clone()),
            schema: reading.schema.clone(),
        };
        let reader = RowGroupReader::open(segment, source, &reading.counts, read)?;
        Ok(UnitReader {
            rows: Rows::Read(Box::new(reader)),
            learn: learn.map(|key| (key, rows)),
            matches: reading.matches.clone(),
            found,
        })
    }
}

impl Unit {
    /// Reads all rows that satisfy the predicate, and tells, after the last one, which they are. That is remembered if
    /// somebody may ask for it again.
    pub(super) fn read_and_tell(
        &self,
        reading: &Reading,
        remember: bool,
    ) -> Result<(UnitReader, Found)> {
        let mut reader = self.read_rows(reading, self.rows(), true)?;
        reader.learn = reader.learn.filter(|_| remember);
        let found = reader.found.clone().unwrap_or_default();
        Ok((reader, found))
    }
}

impl UnitReader {
    /// The next rows; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let reader = match &mut self.rows {
            Rows::Counted(batch) => return Ok(batch.take()),
            Rows::Read(reader) => reader,
        };
        let read = reader.next().await;
        let read = read.map_err(|error| match &self.found {
            Some(found) => found.explain(error),
            None => error,
        })?;
        // The reader asks the whole row group before it gives the first row.
        if let (Some(found), Some((key, rows))) = (&self.found, self.learn.take()) {
            let matches = compact(found.selection(rows));
            let bytes = size_of::<MatchKey>() + memory_bytes(&matches);
            self.matches.insert(key, Arc::new(matches), bytes);
        }
        Ok(read)
    }
}

/// What a selection takes, about.
fn memory_bytes(selection: &RowSelection) -> usize {
    match selection.as_mask() {
        Some(mask) => mask.len() / 8,
        None => selection.iter().count() * size_of::<RowSelector>(),
    }
}

/// A selection of many short runs as a bit for each row.
fn compact(selection: RowSelection) -> RowSelection {
    let rows = selection.row_count() + selection.skipped_row_count();
    if memory_bytes(&selection) <= rows / 8 {
        return selection;
    }
    let mut mask = BooleanBufferBuilder::new(rows);
    for run in selection.iter() {
        mask.append_n(run.row_count, !run.skip);
    }
    RowSelection::from_boolean_buffer(mask.finish())
}

//! What one thread reads at a time: some granules of a row group.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use datafusion::common::Result;
use logmill_segment::{GRANULE_ROWS, GranuleSet};
use logmill_store::SegmentHandle;

use super::predicate::{MatchCache, MatchKey, Predicate, Question};
use super::row_set::{GranuleRows, RowSet, Rows};
use crate::segments::{ColumnId, OpenSegment, PageReader, ScanCounts, Source};

/// Granules of a unit at most. What a row group has only once, its dictionaries, is read for every unit; but units are
/// what is dealt out, and of another machine's object, what is asked for at a time.
const UNIT_GRANULES: usize = 32;

/// Every plan above takes its time for a batch: one of fewer rows has those of the next granules too.
const BATCH_ROWS_MIN: usize = GRANULE_ROWS / 4;

/// So long a unit keeps the thread, and until the granule is through that it is at.
const PAUSE_AFTER: Duration = Duration::from_millis(1);

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

/// Rows of a unit that satisfy its predicate, granule by granule.
pub(crate) struct UnitReader {
    pages: PageReader,
    schema: SchemaRef,
    columns: Vec<ColumnId>,
    questions: Vec<Question>,
    /// Rows of all granules at first.
    rows: usize,
    /// What was not looked into yet.
    left: VecDeque<GranuleRows>,
    /// Rows that satisfy the predicate and were not given yet.
    found: VecDeque<GranuleRows>,
    /// All that were found, to be known the next time.
    learn: Option<(MatchKey, RowSet)>,
    matches: Arc<MatchCache>,
    pause: Pause,
}

/// When the thread was given up last, if it was.
#[derive(Default)]
struct Pause(Option<Instant>);

impl Pause {
    /// Gives the thread up, as what takes long has to from time to time: others wait for it, and here a query can be
    /// stopped. It takes as long as decoding some hundred values, and is not done for every granule.
    async fn if_due(&mut self) {
        if self.0.is_none_or(|last| last.elapsed() >= PAUSE_AFTER) {
            tokio::task::yield_now().await;
            self.0 = Some(Instant::now());
        }
    }
}

impl Unit {
    /// Oldest and newest time.
    pub(super) fn times(&self) -> (i64, i64) {
        self.part.segment.file().times(self.row_group)
    }

    fn match_key(&self) -> Option<MatchKey> {
        let predicate = self.part.predicate.as_ref()?;
        predicate.match_key(&self.part.path, &self.granules)
    }

    /// The rows that satisfy the predicate, when that is known without reading them.
    pub(super) fn known(&self, matches: &MatchCache) -> Option<Arc<RowSet>> {
        match &self.part.predicate {
            Some(_) => matches.get(&self.match_key()?),
            None => Some(Arc::new(self.rows())),
        }
    }

    /// The rows of the granules.
    pub(super) fn rows(&self) -> RowSet {
        let all = self.part.segment.granules_of(self.row_group);
        let rows = self.part.segment.file().rows(self.row_group);
        let granules = self.granules.iter().map(|granule| {
            let page = granule.saturating_sub(all.start) as usize;
            let left = rows.saturating_sub(page * GRANULE_ROWS);
            GranuleRows {
                page,
                rows: Rows::All(left.min(GRANULE_ROWS)),
            }
        });
        granules.collect()
    }

    /// Whether it has a granule, by its number in the row group.
    pub(super) fn contains(&self, page: usize) -> bool {
        let all = self.part.segment.granules_of(self.row_group);
        self.granules
            .contains(all.start.saturating_add(page as u32))
    }

    /// Reads all rows that satisfy the predicate. They are remembered, if that was not known and `remember` says so.
    pub(super) fn read(&self, reading: &Reading, remember: bool) -> UnitReader {
        match self.known(&reading.matches) {
            Some(known) => self.read_rows(reading, known.as_ref().clone()),
            None => self.ask_rows(reading, remember),
        }
    }

    /// Reads these rows.
    pub(super) fn read_rows(&self, reading: &Reading, rows: RowSet) -> UnitReader {
        let Part {
            segment,
            path,
            source,
            ..
        } = self.part.as_ref();
        let mut pages = PageReader::new(segment, path, source, &reading.counts, self.row_group);
        let fields = reading.schema.fields().iter();
        UnitReader {
            columns: fields.map(|field| pages.column(field.name())).collect(),
            pages,
            schema: reading.schema.clone(),
            questions: Vec::new(),
            rows: rows.row_count(),
            left: rows.into_iter().collect(),
            found: VecDeque::new(),
            learn: None,
            matches: reading.matches.clone(),
            pause: Pause::default(),
        }
    }

    fn ask_rows(&self, reading: &Reading, remember: bool) -> UnitReader {
        let mut reader = self.read_rows(reading, self.rows());
        if let Some(predicate) = &self.part.predicate {
            let segment = &self.part.segment;
            reader.questions = predicate.questions(segment, self.row_group, &mut reader.pages);
            let key = self.match_key().filter(|_| remember);
            reader.learn = key.map(|key| (key, RowSet::default()));
        }
        reader
    }
}

impl UnitReader {
    /// The next rows, of several granules where each has few, until there are as many as are wanted; `None` after the
    /// last.
    pub(super) async fn next(&mut self, wanted: usize) -> Result<Option<RecordBatch>> {
        let wanted = wanted.min(BATCH_ROWS_MIN);
        let (mut batches, mut rows) = (Vec::new(), 0);
        while rows < wanted
            && let Some((_, batch)) = self.next_granule().await?
        {
            rows += batch.num_rows();
            batches.push(batch);
        }
        Ok(match batches.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            several => Some(concat_batches(&self.schema, several)?),
        })
    }

    /// The next rows, and which they are; `None` after the last.
    pub(super) async fn next_granule(&mut self) -> Result<Option<(GranuleRows, RecordBatch)>> {
        loop {
            if let Some(granule) = self.found.pop_front() {
                let batch = self.batch(&granule)?;
                return Ok(Some((granule, batch)));
            }
            self.pages.forget();
            if self.left.is_empty() {
                if let Some((key, rows)) = self.learn.take() {
                    let bytes = size_of::<MatchKey>() + rows.memory_bytes();
                    self.matches.insert(key, Arc::new(rows), bytes);
                }
                return Ok(None);
            }
            self.look_into_next().await?;
        }
    }

    /// Asks for the rows of the next granules, and fetches what they have.
    async fn look_into_next(&mut self) -> Result<()> {
        let many = self.left.len().min(self.pages.granules_at_once());
        let mut granules: Vec<GranuleRows> = self.left.drain(..many).collect();
        let page_numbers = |granules: &[GranuleRows]| -> Vec<usize> {
            granules.iter().map(|granule| granule.page).collect()
        };
        self.pause.if_due().await;
        for question in &mut self.questions {
            let pages = page_numbers(&granules);
            self.pages.fetch(&question.columns, &pages).await?;
            for granule in &mut granules {
                question.leave(granule, &mut self.pages, self.rows)?;
                self.pause.if_due().await;
            }
            granules.retain(|granule| granule.rows.len() > 0);
        }
        if let Some((_, found)) = &mut self.learn {
            granules
                .iter()
                .for_each(|granule| found.push(granule.clone()));
        }
        let pages = page_numbers(&granules);
        self.pages.fetch(&self.columns, &pages).await?;
        self.found = granules.into();
        Ok(())
    }

    fn batch(&mut self, granule: &GranuleRows) -> Result<RecordBatch> {
        let fields = self.schema.fields().iter();
        let columns = fields.zip(&self.columns).map(|(field, column)| {
            let (page, rows) = (granule.page, &granule.rows);
            self.pages.values(*column, page, rows, field.data_type())
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(granule.rows.len()));
        Ok(RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &options,
        )?)
    }
}

//! Reads pages of a row group: which, is the caller's choice; what was read is counted.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{ArrayRef, new_null_array};
use arrow_schema::DataType;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use logmill_segment::{GRANULE_ROWS, GranuleSet, Page};

use super::open::not_a_segment;
use super::{OpenSegment, Source};
use crate::scan::Rows;

/// Texts of fewer rows than this part of a page are copied, so that the page's memory is free again.
const FEW_OF: usize = 8;

/// What scans read, for the statistics of an answer.
#[derive(Debug, Default)]
pub(crate) struct ScanCounts {
    /// Rows of the granules.
    pub(crate) rows: AtomicU64,
    /// Granules of which a page was read.
    pub(crate) granules: AtomicU64,
    /// Bytes read from segments.
    pub(crate) bytes: AtomicU64,
    /// What scans are going to read, for EXPLAIN.
    planned: Mutex<Vec<PlannedScan>>,
}

/// What a scan of segments is going to read after pruning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedScan {
    pub(crate) segments: usize,
    /// Of the tenant.
    pub(crate) segments_total: usize,
    pub(crate) granules: u64,
    /// Bytes of indexes that were read to find them.
    pub(crate) index_bytes: u64,
}

impl fmt::Display for PlannedScan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segments,
            segments_total,
            granules,
            index_bytes,
        } = self;
        write!(
            formatter,
            "scan: segments={segments}/{segments_total}, granules={granules}, index_bytes={index_bytes}"
        )
    }
}

impl ScanCounts {
    pub(crate) fn plan(&self, scan: PlannedScan) {
        self.planned().push(scan);
    }

    /// What the scans are going to read that were planned so far.
    pub(crate) fn planned(&self) -> MutexGuard<'_, Vec<PlannedScan>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, rows: u64, granules: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.granules.fetch_add(granules, Ordering::Relaxed);
    }
}

/// Reads pages of some columns of a row group.
pub(crate) struct PageReader {
    segment: Arc<OpenSegment>,
    /// Of the segment, to be named where it is damaged.
    path: Arc<str>,
    source: Source,
    counts: Arc<ScanCounts>,
    row_group: usize,
    columns: Vec<Column>,
    /// Granules that are counted already.
    seen: GranuleSet,
}

/// A column as far as it was read.
struct Column {
    name: String,
    /// None when the segment lacks it.
    place: Option<usize>,
    dictionary: Option<ArrayRef>,
    pages: BTreeMap<usize, State>,
}

enum State {
    Read(Bytes),
    Decoded(Page),
}

/// A column of a [`PageReader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ColumnId(usize);

/// What is to be read of a column: a page, or the dictionary.
struct Wanted {
    column: ColumnId,
    page: Option<usize>,
    range: Range<u64>,
}

impl PageReader {
    pub(crate) fn new(
        segment: &Arc<OpenSegment>,
        path: &Arc<str>,
        source: &Source,
        counts: &Arc<ScanCounts>,
        row_group: usize,
    ) -> Self {
        Self {
            segment: segment.clone(),
            path: path.clone(),
            source: source.clone(),
            counts: counts.clone(),
            row_group,
            columns: Vec::new(),
            seen: GranuleSet::none(segment.granules()),
        }
    }

    /// Of how many granules to ask for pages at a time: a request to another machine takes its time.
    pub(crate) const fn granules_at_once(&self) -> usize {
        match self.source {
            Source::Local(_) => 1,
            Source::Remote(..) => usize::MAX,
        }
    }

    /// The column of this name, which the segment may lack.
    pub(crate) fn column(&mut self, name: &str) -> ColumnId {
        let known = self.columns.iter().position(|column| column.name == name);
        ColumnId(known.unwrap_or_else(|| {
            self.columns.push(Column {
                name: name.to_owned(),
                place: self.segment.file().column_place(name),
                dictionary: None,
                pages: BTreeMap::new(),
            });
            self.columns.len() - 1
        }))
    }

    /// Reads pages of columns, and their dictionaries, that were not read yet.
    pub(crate) async fn fetch(&mut self, columns: &[ColumnId], pages: &[usize]) -> Result<()> {
        let segment = self.segment.clone();
        let corrupt = self.corrupt();
        let mut wanted = Vec::new();
        for id in columns {
            let column = self.columns.get(id.0).ok_or_else(not_ours)?;
            let Some(place) = column.place else {
                continue;
            };
            let chunk = segment.file().column_at(self.row_group, place);
            let chunk = chunk.map_err(&corrupt)?;
            let missing = pages.iter().filter(|page| {
                let known = column.pages.contains_key(*page);
                !known && !chunk.is_null(**page)
            });
            let before = wanted.len();
            for page in missing {
                wanted.push(Wanted {
                    column: *id,
                    page: Some(*page),
                    range: chunk.page_range(*page).map_err(&corrupt)?,
                });
            }
            let dictionary = chunk.dictionary_range();
            let dictionary =
                dictionary.filter(|_| column.dictionary.is_none() && wanted.len() > before);
            wanted.extend(dictionary.map(|range| Wanted {
                column: *id,
                page: None,
                range,
            }));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let ranges: Vec<Range<u64>> = wanted.iter().map(|wanted| wanted.range.clone()).collect();
        let read = self.source.read(&ranges).await?;
        let bytes: usize = read.iter().map(Bytes::len).sum();
        self.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        for (wanted, bytes) in wanted.into_iter().zip(read) {
            let column = self.columns.get_mut(wanted.column.0).ok_or_else(not_ours)?;
            if let Some(page) = wanted.page {
                column.pages.insert(page, State::Read(bytes));
                self.count(page);
            } else if let Some(place) = column.place {
                let chunk = segment.file().column_at(self.row_group, place);
                let dictionary = chunk.and_then(|chunk| chunk.dictionary(&bytes));
                column.dictionary = Some(dictionary.map_err(&corrupt)?);
            }
        }
        Ok(())
    }

    fn count(&mut self, page: usize) {
        let granules = self.segment.granules_of(self.row_group);
        let granule = granules.start.saturating_add(page as u32);
        if granules.contains(&granule) && !self.seen.contains(granule) {
            self.seen.insert(granule);
            let before = page * GRANULE_ROWS;
            let rows = self
                .segment
                .file()
                .rows(self.row_group)
                .saturating_sub(before);
            self.counts.add(rows.min(GRANULE_ROWS) as u64, 1);
        }
    }

    /// A page that was fetched.
    pub(crate) fn page(&mut self, id: ColumnId, page: usize) -> Result<Page> {
        let corrupt = self.corrupt();
        let column = self.columns.get_mut(id.0).ok_or_else(not_ours)?;
        let decoded = match (column.pages.get(&page), column.place) {
            (Some(State::Decoded(decoded)), _) => return Ok(decoded.clone()),
            (Some(State::Read(bytes)), Some(place)) => {
                let chunk = self.segment.file().column_at(self.row_group, place);
                let decoded = chunk.and_then(|chunk| chunk.page(page, bytes));
                decoded.map_err(&corrupt)?
            }
            _ => {
                let rows = self.segment.file().rows(self.row_group);
                let rows = rows.saturating_sub(page * GRANULE_ROWS);
                return Ok(Page::Nulls(rows.min(GRANULE_ROWS)));
            }
        };
        column.pages.insert(page, State::Decoded(decoded.clone()));
        Ok(decoded)
    }

    /// The dictionary of a column of which a page was fetched.
    pub(crate) fn dictionary(&self, id: ColumnId) -> Option<&ArrayRef> {
        self.columns.get(id.0)?.dictionary.as_ref()
    }

    /// Values of some rows of a page that was fetched.
    pub(crate) fn values(
        &mut self,
        id: ColumnId,
        page: usize,
        rows: &Rows,
        wanted: &DataType,
    ) -> Result<ArrayRef> {
        let decoded = self.page(id, page)?;
        let all = decoded.rows();
        let corrupt = self.corrupt();
        let column = self.columns.get(id.0).ok_or_else(not_ours)?;
        let values = match decoded {
            Page::Nulls(_) => return Ok(new_null_array(wanted, rows.len())),
            Page::Values(values) => rows.of(&values)?,
            Page::Keys(keys) => {
                let keys = rows.of(&(Arc::new(keys) as ArrayRef))?;
                let keys = Page::Keys(keys.as_primitive::<UInt32Type>().clone());
                let place = column.place.ok_or_else(not_ours)?;
                let chunk = self.segment.file().column_at(self.row_group, place);
                let dictionary = column.dictionary.as_ref();
                let values = chunk.and_then(|chunk| chunk.array(&keys, dictionary));
                values.map_err(&corrupt)?
            }
        };
        let values = match values.as_string_view_opt() {
            // Few texts do not keep a page.
            Some(texts) if rows.len() * FEW_OF <= all => Arc::new(texts.gc()),
            _ => values,
        };
        let promoted = logmill_schema::promote(&values, &column.name, wanted);
        promoted.map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// What a damaged segment answers.
    fn corrupt(&self) -> impl Fn(logmill_segment::Error) -> DataFusionError + use<> {
        let path = self.path.clone();
        move |error| not_a_segment(&path, error)
    }

    /// Forgets pages; not dictionaries.
    pub(crate) fn forget(&mut self) {
        for column in &mut self.columns {
            column.pages.clear();
        }
    }
}

fn not_ours() -> DataFusionError {
    DataFusionError::Internal("a column that this reader does not have".to_owned())
}

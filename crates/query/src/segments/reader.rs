//! Reads rows of a row group: which pages, is the caller's choice; what was read is counted.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::common::Result;
use datafusion::parquet::DecodeResult;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{RowFilter, RowSelection};
use datafusion::parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use logmill_segment::{GRANULE_ROWS, GranuleSet};

use super::{OpenSegment, Source};
use crate::compiled::adapted;

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

/// What is to be read of a row group.
pub(crate) struct RowGroupRead {
    pub(crate) row_group: usize,
    /// Rows of the row group; all of them without it.
    pub(crate) selection: Option<RowSelection>,
    /// What is asked of every row.
    pub(crate) filter: Option<RowFilter>,
    /// The columns of the answer, of which the segment may lack some.
    pub(crate) schema: SchemaRef,
}

/// Rows of a row group, batch by batch.
pub(crate) struct RowGroupReader {
    decoder: ParquetPushDecoder,
    segment: Arc<OpenSegment>,
    source: Source,
    schema: SchemaRef,
    counts: Arc<ScanCounts>,
    row_group: usize,
    /// Granules that are counted already.
    seen: GranuleSet,
}

impl RowGroupReader {
    pub(crate) fn open(
        segment: &Arc<OpenSegment>,
        source: &Source,
        counts: &Arc<ScanCounts>,
        read: RowGroupRead,
    ) -> Result<Self> {
        let names = read
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str());
        let mut builder = ParquetPushDecoderBuilder::new_with_metadata(segment.arrow()?.clone())
            .with_row_groups(vec![read.row_group])
            .with_batch_size(GRANULE_ROWS)
            .with_projection(segment.mask(names));
        if let Some(selection) = read.selection {
            builder = builder.with_row_selection(selection);
        }
        if let Some(filter) = read.filter {
            builder = builder.with_row_filter(filter);
        }
        Ok(Self {
            decoder: builder.build()?,
            segment: segment.clone(),
            source: source.clone(),
            schema: read.schema,
            counts: counts.clone(),
            row_group: read.row_group,
            seen: GranuleSet::none(segment.granules()),
        })
    }

    /// The next rows; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            match self.decoder.try_decode()? {
                DecodeResult::NeedsData(ranges) => {
                    let read = self.source.read(&ranges).await?;
                    self.count(&ranges);
                    self.decoder.push_ranges(ranges, read)?;
                }
                DecodeResult::Data(batch) => {
                    return adapted(&batch, &self.schema).map(Some);
                }
                DecodeResult::Finished => return Ok(None),
            }
        }
    }

    fn count(&mut self, ranges: &[Range<u64>]) {
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        let segment = self.segment.clone();
        for range in ranges {
            self.count_granules(&segment, range);
        }
    }

    fn count_granules(&mut self, segment: &OpenSegment, range: &Range<u64>) {
        let parquet = segment.file().parquet();
        let columns = parquet.row_group(self.row_group).columns();
        let column = columns.iter().position(|column| {
            let (start, length) = column.byte_range();
            (start..start + length).contains(&range.start)
        });
        let pages = column.and_then(|column| {
            parquet
                .offset_index()?
                .get(self.row_group)?
                .get(column)
                .map(|index| index.page_locations())
        });
        let granules = segment.granules_of(self.row_group);
        let rows = segment.file().rows(self.row_group);
        let read = match pages {
            Some(pages) => {
                let offset = |at: u64| {
                    pages.partition_point(|page| u64::try_from(page.offset).unwrap_or(0) < at)
                };
                let first_row = |page: usize| {
                    let row = pages.get(page).map(|page| page.first_row_index);
                    row.map_or(rows, |row| usize::try_from(row).unwrap_or(rows))
                };
                first_row(offset(range.start))..first_row(offset(range.end))
            }
            None => 0..rows,
        };
        let first = read.start / GRANULE_ROWS;
        for granule in first..read.end.div_ceil(GRANULE_ROWS) {
            let number = granules.start.saturating_add(granule as u32);
            if granules.contains(&number) && !self.seen.contains(number) {
                self.seen.insert(number);
                let rows = GRANULE_ROWS.min(rows - granule * GRANULE_ROWS);
                self.counts.add(rows as u64, 1);
            }
        }
    }
}

/// The columns of a file that have these names.
pub(super) fn mask<'a>(
    parquet: &datafusion::parquet::schema::types::SchemaDescriptor,
    names: impl Iterator<Item = &'a str>,
) -> ProjectionMask {
    let roots = parquet.root_schema().get_fields();
    let names: Vec<&str> = names.collect();
    let wanted = roots.iter().enumerate();
    let wanted = wanted.filter(|(_, root)| names.contains(&root.name()));
    ProjectionMask::roots(parquet, wanted.map(|(index, _)| index))
}

//! Segments for DataFusion's Parquet reader: a footer that is parsed already, reads that are counted.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use logmill_segment::{GRANULE_ROWS, GranuleSet};
use logmill_store::SegmentHandle;

use super::{OpenSegment, Source};

/// What scans read, for the statistics of an answer.
#[derive(Debug, Default)]
pub(crate) struct ScanCounts {
    /// Rows of the granules.
    pub(crate) rows: AtomicU64,
    /// Granules of which a page was read.
    pub(crate) granules: AtomicU64,
    /// Bytes read from segments.
    pub(crate) bytes: AtomicU64,
}

impl ScanCounts {
    pub(crate) fn add(&self, rows: u64, granules: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.granules.fetch_add(granules, Ordering::Relaxed);
    }
}

/// What a [`PartitionedFile`] of a plan carries.
#[derive(Clone, Debug)]
pub(crate) struct ScannedSegment {
    pub(crate) segment: Arc<OpenSegment>,
    pub(crate) source: Source,
    pub(crate) counts: Arc<ScanCounts>,
    /// The object lives until the plan is gone.
    pub(crate) _keep_alive: Arc<SegmentHandle>,
}

/// Makes readers of segments.
#[derive(Debug)]
pub(crate) struct SegmentReaders;

impl ParquetFileReaderFactory for SegmentReaders {
    fn create_reader(
        &self,
        _partition_index: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let scanned = file.extension::<ScannedSegment>().ok_or_else(|| {
            DataFusionError::Internal("a file of a plan is not a segment".to_owned())
        })?;
        Ok(Box::new(SegmentReader {
            seen: GranuleSet::none(scanned.segment.granules()),
            scanned: scanned.clone(),
        }))
    }
}

struct SegmentReader {
    scanned: ScannedSegment,
    /// Granules that are counted already.
    seen: GranuleSet,
}

impl SegmentReader {
    fn count(&mut self, ranges: &[Range<u64>]) {
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.scanned
            .counts
            .bytes
            .fetch_add(bytes, Ordering::Relaxed);
        let segment = self.scanned.segment.clone();
        for range in ranges {
            if let Some(row_group) = segment.row_group_at(range.start) {
                self.count_granules(&segment, row_group, range);
            }
        }
    }

    fn count_granules(&mut self, segment: &OpenSegment, row_group: usize, range: &Range<u64>) {
        let parquet = segment.file().parquet();
        let columns = parquet.row_group(row_group).columns();
        let column = columns.iter().position(|column| {
            let (start, length) = column.byte_range();
            (start..start + length).contains(&range.start)
        });
        let pages = column.and_then(|column| {
            parquet
                .offset_index()?
                .get(row_group)?
                .get(column)
                .map(|index| index.page_locations())
        });
        let granules = segment.granules_of(row_group);
        let rows = segment.file().rows(row_group);
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
                self.scanned.counts.add(rows as u64, 1);
            }
        }
    }
}

impl AsyncFileReader for SegmentReader {
    fn get_bytes(
        &mut self,
        range: Range<u64>,
    ) -> BoxFuture<'_, datafusion::parquet::errors::Result<Bytes>> {
        async move {
            let bytes = self.get_byte_ranges(vec![range]).await?;
            let nothing = || ParquetError::General("nothing was read".to_owned());
            bytes.into_iter().next().ok_or_else(nothing)
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, datafusion::parquet::errors::Result<Vec<Bytes>>> {
        self.count(&ranges);
        async move {
            let read = self.scanned.source.read(&ranges).await;
            read.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, datafusion::parquet::errors::Result<Arc<ParquetMetaData>>> {
        let parquet = self.scanned.segment.file().parquet().clone();
        async move { Ok(parquet) }.boxed()
    }
}

//! A segment's footer and the directory of its token index.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use datafusion::common::{DataFusionError, Result};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::parquet::file::page_index::column_index::ColumnIndexMetaData;
use logmill_model::field;
use logmill_schema::ColumnType;
use logmill_segment::{BlockLocation, Newest, Rollup, SegmentFile, TokenIndex, ValueCounts};
use tokio::sync::OnceCell;

use super::Source;
use super::reader::ScanCounts;
use crate::counts::Cells;

/// Bytes that a rollup or the counts of values have in memory for each in the file, about.
const MEMORY_PER_BYTE: usize = 16;

/// What queries need to know of a segment before they read its pages.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    file: SegmentFile,
    index: Option<TokenIndex>,
    columns: HashMap<String, ColumnType>,
    /// First granule of every row group, and the end.
    granules: Vec<u32>,
    /// The place of `timestamp` among the columns.
    time_column: Option<usize>,
    /// Read when they are first asked for; none when the file has none that can be read.
    cells: OnceCell<Option<Arc<Cells>>>,
    values: OnceCell<Option<Arc<ValueCounts>>>,
}

/// A page of `timestamp`.
pub(crate) struct PageTimes {
    /// Its rows, in the row group.
    pub(crate) rows: Range<usize>,
    pub(crate) min_ns: i64,
    pub(crate) max_ns: i64,
}

pub(super) fn not_a_segment(path: &str, error: impl std::fmt::Display) -> DataFusionError {
    DataFusionError::ParquetError(Box::new(ParquetError::General(format!("{path}: {error}"))))
}

impl OpenSegment {
    /// Reads what is needed of an object of `length` bytes.
    pub(crate) async fn open(source: &Source, path: &str, length: u64) -> Result<Self> {
        let mut tail_bytes = SegmentFile::TAIL_BYTES.min(length);
        let file = loop {
            let last = length - tail_bytes..length;
            let tail = source.read(std::slice::from_ref(&last)).await?;
            let tail = tail
                .first()
                .ok_or_else(|| not_a_segment(path, "it is empty"))?;
            match SegmentFile::open(tail, length).map_err(|error| not_a_segment(path, error))? {
                Ok(file) => break file,
                Err(more) => tail_bytes = more,
            }
        };
        let index = match &file.metadata().token_index {
            Some(location) => {
                let range = TokenIndex::directory_range(location)
                    .map_err(|error| not_a_segment(path, error))?;
                let directory = source.read(&[range]).await?;
                let directory = directory.first().map(AsRef::as_ref).unwrap_or_default();
                let index = TokenIndex::open(location.clone(), directory);
                Some(index.map_err(|error| not_a_segment(path, error))?)
            }
            None => None,
        };
        let granules = (0..=file.row_groups()).map(|row_group| file.granules_before(row_group));
        let columns = file.metadata().columns.iter().cloned().collect();
        let time_column = file
            .parquet()
            .file_metadata()
            .schema_descr()
            .columns()
            .iter()
            .position(|column| column.path().string() == field::TIMESTAMP);
        Ok(Self {
            granules: granules.collect(),
            columns,
            time_column,
            cells: OnceCell::new(),
            values: OnceCell::new(),
            index,
            file,
        })
    }

    pub(crate) const fn file(&self) -> &SegmentFile {
        &self.file
    }

    pub(crate) const fn index(&self) -> Option<&TokenIndex> {
        self.index.as_ref()
    }

    /// The type of a column; `None` when no record of the segment has it.
    pub(crate) fn column(&self, name: &str) -> Option<ColumnType> {
        self.columns.get(name).copied()
    }

    /// Granules of all row groups.
    pub(crate) fn granules(&self) -> u32 {
        self.granules.last().copied().unwrap_or(0)
    }

    /// The granules of a row group.
    pub(crate) fn granules_of(&self, row_group: usize) -> Range<u32> {
        let at = |row_group: usize| self.granules.get(row_group).copied().unwrap_or(0);
        at(row_group)..at(row_group + 1)
    }

    /// The counts of the rollup, and the bytes that were read for them now.
    pub(crate) async fn cells(
        &self,
        source: impl FnOnce() -> Result<Source>,
    ) -> Result<(Option<Arc<Cells>>, u64)> {
        let location = self.file.metadata().rollup.as_ref();
        let read = |block: &_, bytes: &_| match Rollup::read(block, bytes) {
            Ok(rollup) => Cells::of(&rollup).map(Some),
            // The records are there: they can be counted.
            Err(error) => {
                tracing::warn!(%error, "a segment's rollup cannot be read: its rows are counted");
                Ok(None)
            }
        };
        once(&self.cells, location, source, read).await
    }

    /// The values of columns, and the bytes that were read for them now.
    pub(crate) async fn values(
        &self,
        source: impl FnOnce() -> Result<Source>,
    ) -> Result<(Option<Arc<ValueCounts>>, u64)> {
        let location = self.file.metadata().values.as_ref();
        let read = |block: &_, bytes: &_| match ValueCounts::read(block, bytes) {
            Ok(values) => Ok(Some(values)),
            Err(error) => {
                tracing::warn!(%error, "a segment's values cannot be read: its rows are counted");
                Ok(None)
            }
        };
        once(&self.values, location, source, read).await
    }

    /// The time that the records of [`OpenSegment::newest`] are newer than; none where the segment has them nowhere
    /// together.
    pub(crate) fn newest_after_ns(&self) -> Option<i64> {
        let newest = self.file.metadata().newest.as_ref();
        newest.map(|newest| newest.after_ns)
    }

    /// The newest records, all columns; none when they cannot be read.
    pub(crate) async fn newest(
        &self,
        source: &Source,
        counts: &ScanCounts,
    ) -> Result<Option<RecordBatch>> {
        let Some(location) = &self.file.metadata().newest else {
            return Ok(None);
        };
        let read = source.block(&location.block).await?;
        counts
            .bytes
            .fetch_add(location.block.bytes, Ordering::Relaxed);
        match Newest::read(location, &read) {
            Ok(newest) => {
                counts.add(newest.rows().num_rows() as u64, 0);
                Ok(Some(newest.rows().clone()))
            }
            // They are among the others.
            Err(error) => {
                tracing::warn!(%error, "a segment's newest records are looked for among all");
                Ok(None)
            }
        }
    }

    /// Bytes in memory, about, when everything is there.
    pub(crate) fn memory_bytes(&self) -> usize {
        let index = self.index.as_ref().map_or(0, TokenIndex::memory_bytes);
        let metadata = self.file.metadata();
        let blocks = metadata.rollup.iter().chain(&metadata.values);
        let blocks = blocks.map(|block| block.bytes).fold(0, u64::saturating_add);
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        (self.file.parquet().memory_size() + self.columns.len() * 64)
            .saturating_add(index)
            .saturating_add(blocks.saturating_mul(MEMORY_PER_BYTE))
    }

    /// Bytes in the file of some columns of a row group.
    pub(crate) fn column_bytes(&self, row_group: usize, schema: &Schema) -> u64 {
        let columns = self.file.parquet().row_group(row_group).columns();
        let columns = columns.iter().filter(|column| {
            let root = column.column_path().parts().first();
            root.is_some_and(|root| schema.column_with_name(root).is_some())
        });
        columns.map(|column| column.byte_range().1).sum()
    }

    /// The times of the pages of a row group, when the file says them.
    pub(crate) fn page_times(
        &self,
        row_group: usize,
    ) -> Option<impl Iterator<Item = PageTimes> + '_> {
        let parquet: &ParquetMetaData = self.file.parquet();
        let column = self.time_column?;
        let index = parquet.column_index()?.get(row_group)?.get(column)?;
        let pages = parquet.offset_index()?.get(row_group)?.get(column)?;
        let ColumnIndexMetaData::INT64(times) = index else {
            return None;
        };
        let (min, max) = (times.min_values(), times.max_values());
        let locations = pages.page_locations();
        if min.len() != locations.len() || max.len() != locations.len() {
            return None;
        }
        let rows = self.file.rows(row_group);
        let first = move |page: usize| {
            let row = locations.get(page).map(|page| page.first_row_index);
            row.map_or(rows, |row| usize::try_from(row).unwrap_or(rows))
        };
        let unit = match self.file.time_unit() {
            arrow_schema::TimeUnit::Microsecond => 1_000,
            _ => 1,
        };
        let pages = min.iter().zip(max).enumerate();
        Some(pages.map(move |(page, (min, max))| PageTimes {
            rows: first(page)..first(page + 1),
            min_ns: min.saturating_mul(unit),
            max_ns: max.saturating_mul(unit),
        }))
    }
}

/// What a block of the file says, read when it is asked for the first time; and the bytes that were read for it now.
async fn once<T>(
    known: &OnceCell<Option<Arc<T>>>,
    location: Option<&BlockLocation>,
    source: impl FnOnce() -> Result<Source>,
    read: impl FnOnce(&BlockLocation, &[u8]) -> Result<Option<T>>,
) -> Result<(Option<Arc<T>>, u64)> {
    let Some(location) = location else {
        return Ok((None, 0));
    };
    let mut bytes_read = 0;
    let init = async {
        let bytes = source()?.block(location).await?;
        bytes_read = location.bytes;
        Ok::<_, DataFusionError>(read(location, &bytes)?.map(Arc::new))
    };
    let value = known.get_or_try_init(|| init).await?.clone();
    Ok((value, bytes_read))
}

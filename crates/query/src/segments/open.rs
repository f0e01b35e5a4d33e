//! A segment's footer and the directory of its token index.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow_schema::{DataType, Schema};
use datafusion::common::{DataFusionError, Result};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::parquet::file::page_index::column_index::ColumnIndexMetaData;
use logmill_model::field;
use logmill_schema::ColumnType;
use logmill_segment::{Rollup, SegmentFile, TokenIndex};
use tokio::sync::OnceCell;

use super::Source;
use super::reader::mask;
use crate::counts::Cells;

/// Bytes that a rollup has in memory for each in the file, about.
const CELLS_PER_BYTE: usize = 16;

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
    /// The columns as they are read: all text as views.
    arrow: OnceLock<ArrowReaderMetadata>,
    /// Read when they are first asked for; none when the file has none that can be read.
    cells: OnceCell<Option<Arc<Cells>>>,
}

/// A page of `timestamp`.
pub(crate) struct PageTimes {
    /// Its rows, in the row group.
    pub(crate) rows: Range<usize>,
    pub(crate) min_ns: i64,
    pub(crate) max_ns: i64,
}

fn not_a_segment(path: &str, error: impl std::fmt::Display) -> DataFusionError {
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
            arrow: OnceLock::new(),
            cells: OnceCell::new(),
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
    pub(crate) async fn cells(&self, source: &Source) -> Result<(Option<Arc<Cells>>, u64)> {
        let Some(location) = &self.file.metadata().rollup else {
            return Ok((None, 0));
        };
        let mut bytes = 0;
        let read = async {
            let range = location.offset..location.offset.saturating_add(location.bytes);
            let read = source.read(std::slice::from_ref(&range)).await?;
            bytes = location.bytes;
            let read = read.first().map(AsRef::as_ref).unwrap_or_default();
            match Rollup::read(location, read) {
                Ok(rollup) => Ok(Some(Arc::new(Cells::of(&rollup)?))),
                // The records are there: they can be counted.
                Err(error) => {
                    tracing::warn!(%error, "a segment's rollup cannot be read: its rows are counted");
                    Ok(None)
                }
            }
        };
        let cells = self
            .cells
            .get_or_try_init(|| read)
            .await
            .map_err(|error: DataFusionError| error)?
            .clone();
        Ok((cells, bytes))
    }

    /// Bytes in memory, about, when everything is there.
    pub(crate) fn memory_bytes(&self) -> usize {
        let index = self.index.as_ref().map_or(0, TokenIndex::memory_bytes);
        let rollup = self.file.metadata().rollup.as_ref();
        let cells = rollup.map_or(0, |rollup| {
            usize::try_from(rollup.bytes)
                .unwrap_or(usize::MAX)
                .saturating_mul(CELLS_PER_BYTE)
        });
        (self.file.parquet().memory_size() + self.columns.len() * 64)
            .saturating_add(index)
            .saturating_add(cells)
    }

    /// What the reader of rows needs to know.
    pub(crate) fn arrow(&self) -> Result<&ArrowReaderMetadata> {
        if let Some(known) = self.arrow.get() {
            return Ok(known);
        }
        let parquet = self.file.parquet();
        let stored = ArrowReaderMetadata::try_new(parquet.clone(), ArrowReaderOptions::new())?;
        let fields = stored.schema().fields().iter().map(|field| {
            let is_text = match field.data_type() {
                DataType::Utf8 | DataType::LargeUtf8 => true,
                DataType::Dictionary(_, value) => **value == DataType::Utf8,
                _ => false,
            };
            match is_text {
                true => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
                false => field.clone(),
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = ArrowReaderOptions::new().with_schema(schema);
        let arrow = ArrowReaderMetadata::try_new(parquet.clone(), options)?;
        Ok(self.arrow.get_or_init(|| arrow))
    }

    /// The columns with these names, of which the segment may lack some.
    pub(crate) fn mask<'a>(&self, names: impl Iterator<Item = &'a str>) -> ProjectionMask {
        mask(self.file.parquet().file_metadata().schema_descr(), names)
    }

    /// Bytes in the file of some columns of a row group.
    pub(crate) fn column_bytes(&self, row_group: usize, names: &[String]) -> u64 {
        let columns = self.file.parquet().row_group(row_group).columns();
        let columns = columns.iter().filter(|column| {
            let root = column.column_path().parts().first();
            root.is_some_and(|root| names.contains(root))
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

//! A segment to record batches, row group by row group: for compaction and checks. Queries read through their engine.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_cast::cast;
use arrow_schema::{DataType, Schema, TimeUnit};
use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::LogicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader,
};
use parquet::file::reader::{ChunkReader, Length};

use crate::index::TokenIndex;
use crate::{Error, GRANULE_ROWS, Result, SegmentMetadata};

/// Decodes every row of a segment, a granule a batch.
pub fn decode(bytes: &Bytes) -> Result<Vec<RecordBatch>> {
    let reader = guarded(|| {
        ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
            .and_then(|builder| builder.with_batch_size(GRANULE_ROWS).build())
    })?;
    collect(reader.map_err(footer)?)
}

/// Reads to the end; times become nanoseconds again.
fn collect(reader: ParquetRecordBatchReader) -> Result<Vec<RecordBatch>> {
    let nanoseconds = |batch: RecordBatch| {
        let schema = batch.schema();
        let fields = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Timestamp(_, zone) => {
                let longer = DataType::Timestamp(TimeUnit::Nanosecond, zone.clone());
                Arc::new(field.as_ref().clone().with_data_type(longer))
            }
            _ => field.clone(),
        });
        let fields: Vec<_> = fields.collect();
        let columns = batch
            .columns()
            .iter()
            .zip(&fields)
            .map(|(column, field)| cast(column, field.data_type()))
            .collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    };
    let batches = guarded(|| -> Result<Vec<_>, _> {
        reader.map(|batch| batch.and_then(nanoseconds)).collect()
    })?;
    batches.map_err(|source| Error::Arrow {
        operation: "decoding",
        source,
    })
}

/// Reads with libraries that panic at some bytes that no writer makes. A merge and the doctor are to name the segment.
pub(crate) fn guarded<T>(read: impl FnOnce() -> T) -> Result<T> {
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    read.map_err(|_panicked| Error::NotASegment("the footer or a page is not possible".to_owned()))
}

fn footer(source: ParquetError) -> Error {
    Error::Parquet {
        operation: "reading the footer",
        source,
    }
}

/// The footer of a segment: what is where.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    parquet: Arc<ParquetMetaData>,
    metadata: SegmentMetadata,
}

impl SegmentFile {
    /// How many of the last bytes to read at first: most footers are shorter.
    pub const TAIL_BYTES: u64 = 256 << 10;

    /// Reads the footer from the last bytes of a file of `length` bytes. `Ok(Err(more))`: that many of the last bytes
    /// are needed, which is more than there were and no more than the file has; so a caller's loop ends.
    pub fn open(tail: &Bytes, length: u64) -> Result<Result<Self, u64>> {
        let mut reader =
            ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        match reader.try_parse_sized(tail, length) {
            Ok(()) => {}
            Err(ParquetError::NeedMoreData(more)) if more > tail.len() && more as u64 <= length => {
                return Ok(Err(more as u64));
            }
            Err(source) => return Err(footer(source)),
        }
        let parquet = reader.finish().map_err(footer)?;
        let file = Self::of(Arc::new(parquet))?;
        for block in file.metadata.blocks() {
            if block.range().end > length {
                return Err(Error::NotASegment(format!(
                    "a block at bytes {:?} of a file of {length}",
                    block.range()
                )));
            }
        }
        Ok(Ok(file))
    }

    /// Of a footer that was read already, page index included.
    pub fn of(parquet: Arc<ParquetMetaData>) -> Result<Self> {
        let metadata = SegmentMetadata::of(parquet.file_metadata())?;
        let file = Self { parquet, metadata };
        for row_group in file.parquet.row_groups() {
            if row_group.num_rows() < 0 {
                return Err(Error::NotASegment(
                    "a row group has fewer than 0 rows".to_owned(),
                ));
            }
            let before_the_file = |column: &ColumnChunkMetaData| {
                column.compressed_size() < 0
                    || column.data_page_offset() < 0
                    || column.dictionary_page_offset().is_some_and(|at| at < 0)
            };
            if row_group.columns().iter().any(before_the_file) {
                return Err(Error::NotASegment(
                    "a column begins before the file, or has a length below 0".to_owned(),
                ));
            }
        }
        if let Some(index) = &file.metadata.token_index
            && index.granules != file.granules_before(file.row_groups())
        {
            return Err(Error::NotASegment(format!(
                "its index has {} granules, its row groups {}",
                index.granules,
                file.granules_before(file.row_groups())
            )));
        }
        Ok(file)
    }

    /// What the segment says of itself.
    pub const fn metadata(&self) -> &SegmentMetadata {
        &self.metadata
    }

    /// The Parquet footer.
    pub const fn parquet(&self) -> &Arc<ParquetMetaData> {
        &self.parquet
    }

    /// Number of row groups.
    pub fn row_groups(&self) -> usize {
        self.parquet.num_row_groups()
    }

    /// Rows of a row group.
    pub fn rows(&self, row_group: usize) -> usize {
        usize::try_from(self.parquet.row_group(row_group).num_rows()).unwrap_or(0)
    }

    /// Granules of a row group.
    pub fn granules(&self, row_group: usize) -> u32 {
        self.rows(row_group).div_ceil(GRANULE_ROWS) as u32
    }

    /// Granules of the row groups before this one.
    pub fn granules_before(&self, row_group: usize) -> u32 {
        (0..row_group)
            .map(|before| self.granules(before))
            .fold(0, u32::saturating_add)
    }

    /// Bytes of the values of a row group before compression.
    pub fn uncompressed_bytes(&self, row_group: usize) -> u64 {
        u64::try_from(self.parquet.row_group(row_group).total_byte_size()).unwrap_or(0)
    }

    /// Where the pages of a row group are in the file.
    pub fn row_group_range(&self, row_group: usize) -> Range<u64> {
        let columns = self.parquet.row_group(row_group).columns();
        let ranges = columns.iter().map(|column| {
            let (start, length) = column.byte_range();
            start..start.saturating_add(length)
        });
        ranges
            .reduce(|all, range| all.start.min(range.start)..all.end.max(range.end))
            .unwrap_or(0..0)
    }

    /// Oldest and newest record of a row group, by its statistics; of the whole segment where there are none.
    pub fn times(&self, row_group: usize) -> (i64, i64) {
        let whole = (
            self.metadata.min_timestamp_ns,
            self.metadata.max_timestamp_ns,
        );
        let column = self
            .parquet
            .row_group(row_group)
            .columns()
            .iter()
            .find(|column| column.column_path().string() == logmill_model::field::TIMESTAMP);
        match column.and_then(|column| column.statistics()) {
            Some(parquet::file::statistics::Statistics::Int64(times)) => {
                let unit = match self.time_unit() {
                    TimeUnit::Microsecond => 1_000,
                    _ => 1,
                };
                match (times.min_opt(), times.max_opt()) {
                    (Some(min), Some(max)) => (min.saturating_mul(unit), max.saturating_mul(unit)),
                    _ => whole,
                }
            }
            _ => whole,
        }
    }

    /// The unit of the column `timestamp`.
    pub fn time_unit(&self) -> TimeUnit {
        let columns = self.parquet.file_metadata().schema_descr().columns();
        let column = columns
            .iter()
            .find(|column| column.path().string() == logmill_model::field::TIMESTAMP);
        match column.and_then(|column| column.logical_type_ref().cloned()) {
            Some(LogicalType::Timestamp(kind)) if kind.unit == parquet::basic::TimeUnit::MICROS => {
                TimeUnit::Microsecond
            }
            _ => TimeUnit::Nanosecond,
        }
    }

    /// Where the token index is in the file, blocks and directory.
    pub fn index_range(&self) -> Option<Range<u64>> {
        let index = self.metadata.token_index.as_ref()?;
        let directory = TokenIndex::directory_range(index).ok()?;
        Some(index.offset..directory.end)
    }

    /// The token index and the bytes of its blocks, from the bytes of [`SegmentFile::index_range`].
    pub(crate) fn open_index<'a>(&self, bytes: &'a [u8]) -> Result<(TokenIndex, &'a [u8])> {
        let Some(location) = self.metadata.token_index.clone() else {
            return Err(Error::Index("the segment has none".to_owned()));
        };
        let blocks = usize::try_from(location.blocks_bytes).unwrap_or(usize::MAX);
        let Some((blocks, directory)) = bytes.split_at_checked(blocks) else {
            return Err(Error::Index("it ends too early".to_owned()));
        };
        Ok((TokenIndex::open(location, directory)?, blocks))
    }

    /// Whether the token index is what was written, from the bytes of [`SegmentFile::index_range`].
    pub fn check_index(&self, bytes: &[u8]) -> Result<()> {
        let (index, blocks) = self.open_index(bytes)?;
        index.check(blocks)
    }

    /// Decodes a row group, a granule a batch.
    pub fn decode_row_group(
        &self,
        row_group: usize,
        bytes: &RowGroupBytes,
    ) -> Result<Vec<RecordBatch>> {
        let decoding = |source| Error::Parquet {
            operation: "decoding a row group",
            source,
        };
        let reader = guarded(|| {
            let options = ArrowReaderOptions::new();
            let metadata = ArrowReaderMetadata::try_new(self.parquet.clone(), options)?;
            ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), metadata)
                .with_row_groups(vec![row_group])
                .with_batch_size(GRANULE_ROWS)
                .build()
        })?;
        collect(reader.map_err(decoding)?)
    }
}

/// A part of a file: the pages of a row group.
#[derive(Clone, Debug)]
pub struct RowGroupBytes {
    /// Its first byte's place in the file.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl RowGroupBytes {
    fn from(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let outside = || ParquetError::EOF(format!("byte {start} is outside of the row group"));
        let start = start.checked_sub(self.offset).ok_or_else(outside)?;
        let start = usize::try_from(start).map_err(|_too_far| outside())?;
        if start > self.bytes.len() {
            return Err(outside());
        }
        Ok(self.bytes.slice(start..))
    }
}

impl Length for RowGroupBytes {
    fn len(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl ChunkReader for RowGroupBytes {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!(
                "{length} bytes from {start} are more than the row group has"
            )));
        }
        Ok(bytes.slice(..length))
    }
}

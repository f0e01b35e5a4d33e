//! Record batches, and row groups of other segments, to a segment.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use logmill_model::field;
use logmill_schema::{ColumnType, TableSchema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use xxhash_rust::xxh3::Xxh3;

use crate::gather::{Column, Columns, gather, indices};
use crate::index::{ColumnSeed, IndexBuilder, Tokeniser};
use crate::newest::{Newest, NewestBuilder};
use crate::order::{self, Position, positions};
use crate::read::{RowGroupBytes, SegmentFile};
use crate::rollup::Rollup;
use crate::text_chunk::{TextColumn, TextWriter, Tokens};
use crate::values::{ColumnValues, ValueCounts, ValueCountsBuilder};
use crate::{Error, GRANULE_ROWS, Result, SegmentMetadata, encoding};

/// Settings of the encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentOptions {
    /// Most rows of a row group; a multiple of [`GRANULE_ROWS`].
    pub row_group_rows: usize,
    /// Level of zstd.
    pub zstd_level: i32,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            row_group_rows: 1 << 20,
            zstd_level: 1,
        }
    }
}

/// What a segment that is taken over says of its rows, each in its own block.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    /// The bytes of [`SegmentFile::index_range`].
    pub index: &'a [u8],
    /// Its counts.
    pub rollup: &'a Rollup,
    /// Its newest records, if it says them.
    pub newest: Option<&'a Newest>,
    /// The values of its columns, if it says them.
    pub values: Option<&'a ValueCounts>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Number of records.
    pub rows: u64,
    /// Length of the segment.
    pub bytes: u64,
    /// Oldest record.
    pub min_timestamp_ns: i64,
    /// Newest record.
    pub max_timestamp_ns: i64,
    /// Columns that have a value, and their types, in the file's order.
    pub columns: Vec<(String, ColumnType)>,
    /// xxh3-64 of the segment's bytes.
    pub checksum: u64,
}

/// Encodes the rows of `batches` (each with `timestamp`; other columns may differ) into `out`, which is cleared
/// first. Each row group is in the order of [`SegmentWriter::write`].
pub fn encode(
    batches: &[RecordBatch],
    options: &SegmentOptions,
    out: &mut Vec<u8>,
) -> Result<SegmentSummary> {
    out.clear();
    encode_rows(batches, positions(batches), options, out)
}

/// Encodes some rows of `batches`, as [`encode`] does.
pub fn encode_rows(
    batches: &[RecordBatch],
    rows: Vec<Position>,
    options: &SegmentOptions,
    out: &mut Vec<u8>,
) -> Result<SegmentSummary> {
    out.clear();
    let schema = columns_with_values(&table_of(batches), batches, &rows);
    let columns = Columns::of(batches, &schema)?;
    let unit = unit_of(&columns, &rows);
    let mut writer = SegmentWriter::begin(&mut *out, schema, unit, &columns, &rows, options)?;
    writer.write_columns(&columns, rows)?;
    Ok(writer.finish()?.0)
}

/// Microseconds, when all times are whole in them.
fn unit_of(columns: &Columns<'_>, rows: &[Position]) -> TimeUnit {
    if rows.iter().all(|at| columns.time(at) % 1_000 == 0) {
        TimeUnit::Microsecond
    } else {
        TimeUnit::Nanosecond
    }
}

/// The union of the batches' columns.
pub(crate) fn table_of(batches: &[RecordBatch]) -> TableSchema {
    let mut table = TableSchema::new();
    for batch in batches {
        table.merge(batch.schema_ref());
    }
    table
}

/// The columns of a table that one of the rows has a value of, in the table's order.
fn columns_with_values(
    table: &TableSchema,
    batches: &[RecordBatch],
    rows: &[Position],
) -> SchemaRef {
    let all = batches.iter().map(RecordBatch::num_rows).sum::<usize>() == rows.len();
    let has_value = |name: &str| {
        let nulls: Vec<_> = batches
            .iter()
            .map(|batch| {
                batch
                    .column_by_name(name)
                    .map(|column| column.logical_nulls())
            })
            .collect();
        let any = |batch: u32| match &nulls[batch as usize] {
            Some(Some(nulls)) => nulls.null_count() < nulls.len(),
            Some(None) => true,
            None => false,
        };
        let one = |at: &Position| match &nulls[at.batch as usize] {
            Some(Some(nulls)) => nulls.is_valid(at.row as usize),
            Some(None) => true,
            None => false,
        };
        if all {
            (0..batches.len() as u32).any(any)
        } else {
            rows.iter().any(one)
        }
    };
    let fields = table.columns().filter(|(name, _)| has_value(name));
    Arc::new(Schema::new(
        fields
            .map(|(name, kind)| kind.field(name))
            .collect::<Vec<_>>(),
    ))
}

fn file_schema(schema: &SchemaRef, unit: TimeUnit) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Timestamp(_, zone) => {
            let shortened = DataType::Timestamp(unit, zone.clone());
            Arc::new(field.as_ref().clone().with_data_type(shortened))
        }
        _ => field.clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn parquet(operation: &'static str) -> impl Fn(ParquetError) -> Error {
    move |source| Error::Parquet { operation, source }
}

/// A segment under construction: row groups one after the other, then index, rollup, newest records, values and footer. It holds one row
/// group's compressed pages and the index's pairs in memory.
pub struct SegmentWriter<W: Write + Send> {
    /// Columns as records have them.
    schema: SchemaRef,
    /// Columns as the file has them: times may be whole microseconds.
    file_schema: SchemaRef,
    options: SegmentOptions,
    file: SerializedFileWriter<Digest<W>>,
    columns: ArrowRowGroupWriterFactory,
    texts: TextWriter,
    tokeniser: Tokeniser,
    index: IndexBuilder,
    rollup: Rollup,
    newest: NewestBuilder,
    values: ValueCountsBuilder,
    granules: u32,
    rows: u64,
    times: Option<(i64, i64)>,
}

impl<W: Write + Send> SegmentWriter<W> {
    /// A segment with these columns (types of [`ColumnType::field`], `timestamp` first), its times in a unit that all
    /// times to come are whole in. Encodings are chosen from the rows of `sample`.
    pub fn new(
        out: W,
        schema: SchemaRef,
        unit: TimeUnit,
        sample: &[RecordBatch],
        options: &SegmentOptions,
    ) -> Result<Self> {
        let columns = Columns::of(sample, &schema)?;
        let rows = positions(sample);
        Self::begin(out, schema, unit, &columns, &rows, options)
    }

    fn begin(
        out: W,
        schema: SchemaRef,
        unit: TimeUnit,
        sample: &Columns<'_>,
        rows: &[Position],
        options: &SegmentOptions,
    ) -> Result<Self> {
        if schema.fields().is_empty() {
            return Err(Error::Empty);
        }
        let file_schema = file_schema(&schema, unit);
        let properties = encoding::properties(&schema, sample, rows, options)?;
        let writer = ArrowWriter::try_new_with_options(
            Digest::new(out),
            file_schema.clone(),
            ArrowWriterOptions::new().with_properties(properties),
        );
        let (file, columns) = writer
            .and_then(ArrowWriter::into_serialized_writer)
            .map_err(parquet("beginning a segment"))?;
        Ok(Self {
            newest: NewestBuilder::new(&schema),
            schema,
            file_schema,
            options: options.clone(),
            file,
            columns,
            texts: TextWriter::of_thread(options.zstd_level)?,
            tokeniser: Tokeniser::default(),
            index: IndexBuilder::default(),
            rollup: Rollup::default(),
            values: ValueCountsBuilder::default(),
            granules: 0,
            rows: 0,
            times: None,
        })
    }

    /// Writes all rows of `batches` as one or more row groups, each ordered by service, message shape, host and time; rows
    /// that come first go into the first row group.
    pub fn write(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let columns = Columns::of(batches, &self.schema)?;
        self.write_columns(&columns, positions(batches))
    }

    fn write_columns(&mut self, columns: &Columns<'_>, mut rows: Vec<Position>) -> Result<()> {
        self.newest.add(columns, &rows)?;
        for rows in rows.chunks_mut(self.options.row_group_rows) {
            order::sort(columns, rows, &mut self.tokeniser);
            self.count(columns, rows);
            self.write_row_group(columns, rows)?;
        }
        Ok(())
    }

    fn write_row_group(&mut self, columns: &Columns<'_>, rows: &[Position]) -> Result<()> {
        let encoding = parquet("encoding a row group");
        let ordinal = self.file.flushed_row_groups().len();
        let writers = self
            .columns
            .create_column_writers(ordinal)
            .map_err(&encoding)?;
        let described = self.file.schema_descr().columns().to_vec();
        let mut row_group = self.file.next_row_group().map_err(&encoding)?;
        let places = indices(rows);
        let fields = self.file_schema.fields().iter();
        for ((field, described), mut writer) in fields.zip(described).zip(writers) {
            let column = match columns.get(field.name()) {
                Some(Column::Plain(arrays)) => {
                    write_plain(&mut writer, field, arrays, &places)?;
                    let values = ColumnValues::of_rows(arrays, rows);
                    self.values.add(field.name(), values);
                    let chunk = writer.close().map_err(&encoding)?;
                    chunk
                        .append_to_row_group(&mut row_group)
                        .map_err(&encoding)?;
                    continue;
                }
                Some(Column::Texts(texts)) => TextColumn::Texts(texts),
                Some(Column::Dictionary(dictionary)) => TextColumn::Dictionary(dictionary),
                None => return Err(Error::NotASegment(format!("no column {}", field.name()))),
            };
            let tokens = Tokens {
                index: &mut self.index,
                tokeniser: &mut self.tokeniser,
                seed: ColumnSeed::of(field.name()),
                first_granule: self.granules,
            };
            let values = self.texts.write(
                column,
                rows,
                field.name(),
                described,
                tokens,
                &mut row_group,
            )?;
            self.values.add(field.name(), Some(values));
        }
        row_group.close().map_err(&encoding)?;
        self.granules += rows.len().div_ceil(GRANULE_ROWS) as u32;
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// Counts rows into the rollup, and takes their times in.
    fn count(&mut self, columns: &Columns<'_>, rows: &[Position]) {
        for at in rows {
            let time = columns.time(at);
            let (oldest, newest) = self.times.unwrap_or((time, time));
            self.times = Some((oldest.min(time), newest.max(time)));
        }
        self.rollup.count(columns, rows);
    }

    /// Whether row groups of `source` can be taken over as they are: it has an index, granules of our size, and no
    /// column of another type than ours.
    pub fn can_copy(&self, source: &SegmentFile) -> bool {
        let metadata = source.metadata();
        let indexed = metadata.token_index.is_some() && metadata.rollup.is_some();
        let same_type = |(name, kind): &(String, ColumnType)| {
            self.schema
                .field_with_name(name)
                .is_ok_and(|field| ColumnType::of(field) == Some(*kind))
        };
        indexed
            && source.parquet().offset_index().is_some()
            && source.time_unit() == self.time_unit()
            && metadata.columns.iter().all(same_type)
    }

    fn time_unit(&self) -> TimeUnit {
        let field = self.file_schema.field_with_name(field::TIMESTAMP);
        match field.map(Field::data_type) {
            Ok(DataType::Timestamp(unit, _)) => *unit,
            _ => TimeUnit::Nanosecond,
        }
    }

    /// Takes all row groups of `source` over, byte by byte, with its index and what else it says of its rows;
    /// `row_group` reads one. The caller has asked [`SegmentWriter::can_copy`].
    pub fn copy(
        &mut self,
        source: &SegmentFile,
        blocks: &Blocks<'_>,
        mut row_group: impl FnMut(usize) -> Result<RowGroupBytes>,
    ) -> Result<()> {
        let first_granule = self.granules;
        for ordinal in 0..source.row_groups() {
            let bytes = row_group(ordinal)?;
            self.copy_row_group(source, ordinal, &bytes)?;
        }
        let (index, of_index) = source.open_index(blocks.index)?;
        self.index.add_index(index, of_index, first_granule);
        self.rollup.merge(blocks.rollup);
        let columns = source.metadata().columns.iter();
        let columns = columns.map(|(name, _)| name.as_str());
        self.values.merge(columns, blocks.values);
        self.newest.merge(blocks.newest)
    }

    fn copy_row_group(
        &mut self,
        source: &SegmentFile,
        ordinal: usize,
        bytes: &RowGroupBytes,
    ) -> Result<()> {
        let copying = parquet("copying a row group");
        let (own, rows) = (self.file.flushed_row_groups().len(), source.rows(ordinal));
        let writers = self.columns.create_column_writers(own).map_err(&copying)?;
        let schema = self.file_schema.clone();
        let mut row_group = self.file.next_row_group().map_err(&copying)?;
        for (column, writer) in schema.fields().iter().zip(writers) {
            match chunk(source, ordinal, column.name()) {
                Some(chunk) => row_group.append_column(bytes, chunk).map_err(&copying)?,
                None => write_nulls(writer, column, rows, &mut row_group)?,
            }
        }
        row_group.close().map_err(&copying)?;
        self.granules += source.granules(ordinal);
        self.rows += rows as u64;
        let (oldest, newest) = source.times(ordinal);
        let times = self.times.unwrap_or((oldest, newest));
        self.times = Some((times.0.min(oldest), times.1.max(newest)));
        Ok(())
    }

    /// Rows written so far.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes index, rollup, newest records, values and footer.
    pub fn finish(mut self) -> Result<(SegmentSummary, W)> {
        let ending = parquet("ending a segment");
        let Some((min_timestamp_ns, max_timestamp_ns)) = self.times else {
            return Err(Error::Empty);
        };
        self.texts.keep();
        let mut embedded = Vec::new();
        let offset = self.file.bytes_written() as u64;
        let token_index = self.index.finish(self.granules, offset, &mut embedded)?;
        let rollup = self.rollup.write(offset, &mut embedded)?;
        let newest = self.newest.write(self.rows, offset, &mut embedded)?;
        let values = self.values.write(self.rows, offset, &mut embedded)?;
        self.file
            .write_all(&embedded)
            .map_err(|error| ending(ParquetError::External(Box::new(error))))?;
        let column = |field: &Arc<Field>| {
            let kind = ColumnType::of(field).unwrap_or(ColumnType::String);
            (field.name().clone(), kind)
        };
        let metadata = SegmentMetadata {
            format_version: crate::FORMAT_VERSION,
            rows: self.rows,
            min_timestamp_ns,
            max_timestamp_ns,
            columns: self.schema.fields().iter().map(column).collect(),
            token_index: Some(token_index),
            rollup: Some(rollup),
            newest,
            values,
        };
        for pair in metadata.to_key_values() {
            self.file.append_key_value_metadata(pair);
        }
        let digest = self.file.into_inner().map_err(&ending)?;
        let summary = SegmentSummary {
            rows: metadata.rows,
            bytes: digest.bytes,
            min_timestamp_ns,
            max_timestamp_ns,
            columns: metadata.columns,
            checksum: digest.hash.digest(),
        };
        Ok((summary, digest.out))
    }
}

/// Writes a column that is no text.
fn write_plain(
    writer: &mut ArrowColumnWriter,
    field: &Arc<Field>,
    arrays: &[ArrayRef],
    places: &[(usize, usize)],
) -> Result<()> {
    for places in places.chunks(GRANULE_ROWS) {
        let mut array = gather(arrays, places)?;
        if array.data_type() != field.data_type() {
            array = cast(&array, field.data_type()).map_err(|source| Error::Arrow {
                operation: "shortening times",
                source,
            })?;
        }
        write_array(writer, field, &array)?;
    }
    Ok(())
}

fn write_array(
    writer: &mut ArrowColumnWriter,
    column: &Arc<Field>,
    array: &ArrayRef,
) -> Result<()> {
    let leaves = compute_leaves(column, array);
    let written = leaves.and_then(|leaves| leaves.iter().try_for_each(|leaf| writer.write(leaf)));
    written.map_err(parquet("encoding a column"))
}

/// A column that no row of a row group has.
fn write_nulls<W: Write + Send>(
    mut writer: ArrowColumnWriter,
    column: &Arc<Field>,
    rows: usize,
    row_group: &mut SerializedRowGroupWriter<'_, W>,
) -> Result<()> {
    let mut left = rows;
    while left > 0 {
        let some = left.min(GRANULE_ROWS);
        write_array(
            &mut writer,
            column,
            &new_null_array(column.data_type(), some),
        )?;
        left -= some;
    }
    let written = writer
        .close()
        .and_then(|chunk| chunk.append_to_row_group(row_group));
    written.map_err(parquet("encoding an empty column"))
}

/// A column's chunk with all that its footer says of it.
fn chunk(source: &SegmentFile, ordinal: usize, name: &str) -> Option<ColumnCloseResult> {
    let parquet = source.parquet();
    let row_group = parquet.row_group(ordinal);
    let at = row_group
        .columns()
        .iter()
        .position(|column| column.column_path().parts() == [name])?;
    let metadata = row_group.column(at).clone();
    let column_index = parquet
        .column_index()
        .and_then(|index| index.get(ordinal)?.get(at))
        .filter(|index| !matches!(index, ColumnIndexMetaData::NONE));
    let offset_index = parquet
        .offset_index()
        .and_then(|index| index.get(ordinal)?.get(at));
    Some(ColumnCloseResult {
        bytes_written: u64::try_from(metadata.compressed_size()).unwrap_or(0),
        rows_written: source.rows(ordinal) as u64,
        metadata,
        bloom_filter: None,
        column_index: column_index.cloned(),
        offset_index: offset_index.cloned(),
    })
}

/// A writer that counts and hashes what goes through it.
struct Digest<W> {
    out: W,
    hash: Xxh3,
    bytes: u64,
}

impl<W> Digest<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            hash: Xxh3::new(),
            bytes: 0,
        }
    }
}

impl<W: Write> Write for Digest<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

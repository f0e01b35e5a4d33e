//! Record batches to a segment.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow_schema::ArrowError;
use arrow_select::take::take;
use logmill_model::field;
use logmill_schema::{ColumnType, TableSchema, concat};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, Result, SegmentMetadata};

/// Settings of the encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentOptions {
    /// Rows of a data page.
    pub granule_rows: usize,
    /// Most rows of a row group; a multiple of `granule_rows`.
    pub row_group_rows: usize,
    /// Level of zstd.
    pub zstd_level: i32,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            granule_rows: crate::GRANULE_ROWS,
            row_group_rows: 1 << 20,
            zstd_level: 1,
        }
    }
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

/// A page ends by its rows, never by its bytes: pages of all columns must end on the same rows.
const PAGE_BYTES_MAX: usize = 1 << 30;

/// Bytes of a text that statistics keep.
const STATISTICS_BYTES: usize = 64;

/// Columns whose values hardly repeat. A dictionary of them is as long as the column, and reading one row of it would
/// read the whole dictionary.
const WITHOUT_DICTIONARY: [&str; 4] = [
    field::TIMESTAMP,
    field::MESSAGE,
    field::TRACE_ID,
    field::SPAN_ID,
];

/// Encodes the rows of `batches` (each with `timestamp`; other columns may differ) into `out`, which is cleared
/// first. Rows are sorted by time, stably: records of one instant keep the order of their arrival.
pub fn encode(
    batches: &[RecordBatch],
    options: &SegmentOptions,
    out: &mut Vec<u8>,
) -> Result<SegmentSummary> {
    out.clear();
    let sorted = without_empty_columns(&sort_by_time(batches)?)?;
    let metadata = describe(&sorted)?;
    let properties = properties(&sorted, options, &metadata)?;
    let written = || {
        let options = ArrowWriterOptions::new().with_properties(properties);
        let mut writer = ArrowWriter::try_new_with_options(&mut *out, sorted.schema(), options)?;
        writer.write(&sorted)?;
        writer.close()
    };
    written().map_err(|source| Error::Parquet {
        operation: "encoding",
        source,
    })?;
    Ok(SegmentSummary {
        rows: metadata.rows,
        bytes: out.len() as u64,
        min_timestamp_ns: metadata.min_timestamp_ns,
        max_timestamp_ns: metadata.max_timestamp_ns,
        columns: metadata.columns,
        checksum: xxh3_64(out),
    })
}

fn arrow(operation: &'static str) -> impl Fn(ArrowError) -> Error {
    move |source| Error::Arrow { operation, source }
}

/// All rows of `batches` as one batch sorted by time, stably; columns that a batch lacks are null.
pub fn sort_by_time(batches: &[RecordBatch]) -> Result<RecordBatch> {
    sort(merge(batches)?)
}

/// All batches as one.
fn merge(batches: &[RecordBatch]) -> Result<RecordBatch> {
    let mut table = TableSchema::new();
    for batch in batches {
        table.merge(batch.schema_ref());
    }
    let merged = match batches {
        [only] => only.clone(),
        _ => concat(batches, &table.to_arrow())?,
    };
    if merged.num_rows() == 0 {
        Err(Error::Empty)
    } else {
        Ok(merged)
    }
}

/// Drops the columns that no row has a value of.
fn without_empty_columns(batch: &RecordBatch) -> Result<RecordBatch> {
    let kept: Vec<usize> = (0..batch.num_columns())
        .filter(|index| batch.column(*index).logical_null_count() < batch.num_rows())
        .collect();
    batch
        .project(&kept)
        .map_err(arrow("dropping empty columns"))
}

/// The times of a batch's rows.
pub fn timestamps(batch: &RecordBatch) -> Result<&[i64]> {
    let column = batch.column_by_name(field::TIMESTAMP);
    let column = column.and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    match column {
        Some(column) if column.null_count() == 0 => Ok(column.values()),
        _ => Err(Error::NotASegment("a batch has no timestamps".to_owned())),
    }
}

/// Sorts by time, stably, unless the rows are in order already.
fn sort(batch: RecordBatch) -> Result<RecordBatch> {
    let times = timestamps(&batch)?;
    if times.is_sorted() {
        return Ok(batch);
    }
    let mut order: Vec<u64> = (0..batch.num_rows() as u64).collect();
    order.sort_by_key(|row| times[usize::try_from(*row).unwrap_or_default()]);
    let order = UInt64Array::from(order);
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| take(column, &order, None))
        .collect::<Result<_, _>>()
        .map_err(arrow("sorting"))?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).map_err(arrow("sorting"))
}

fn describe(sorted: &RecordBatch) -> Result<SegmentMetadata> {
    let times = timestamps(sorted)?;
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return Err(Error::Empty);
    };
    let column = |field: &Arc<arrow_schema::Field>| {
        (
            field.name().clone(),
            ColumnType::of(field).unwrap_or(ColumnType::String),
        )
    };
    Ok(SegmentMetadata {
        format_version: crate::FORMAT_VERSION,
        rows: sorted.num_rows() as u64,
        min_timestamp_ns: *first,
        max_timestamp_ns: *last,
        columns: sorted.schema_ref().fields().iter().map(column).collect(),
    })
}

fn properties(
    sorted: &RecordBatch,
    options: &SegmentOptions,
    metadata: &SegmentMetadata,
) -> Result<WriterProperties> {
    let zstd = ZstdLevel::try_new(options.zstd_level).map_err(|source| Error::Parquet {
        operation: "choosing a level of zstd",
        source,
    })?;
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("logmill ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(zstd))
        .set_data_page_row_count_limit(options.granule_rows)
        .set_write_batch_size(options.granule_rows)
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        .set_max_row_group_row_count(Some(options.row_group_rows))
        .set_statistics_truncate_length(Some(STATISTICS_BYTES))
        .set_column_index_truncate_length(Some(STATISTICS_BYTES))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(metadata.to_key_values()));
    for column in sorted.schema_ref().fields() {
        builder = column_properties(builder, column);
    }
    Ok(builder.build())
}

fn column_properties(
    builder: WriterPropertiesBuilder,
    column: &arrow_schema::Field,
) -> WriterPropertiesBuilder {
    let path = || ColumnPath::new(vec![column.name().clone()]);
    let mut builder = builder;
    if WITHOUT_DICTIONARY.contains(&column.name().as_str()) {
        builder = builder.set_column_dictionary_enabled(path(), false);
    }
    match ColumnType::of(column) {
        Some(ColumnType::Timestamp) => builder
            .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED)
            .set_column_statistics_enabled(path(), EnabledStatistics::Page),
        Some(ColumnType::Integer | ColumnType::WideInteger | ColumnType::Float) => {
            builder.set_column_statistics_enabled(path(), EnabledStatistics::Page)
        }
        _ => builder,
    }
}

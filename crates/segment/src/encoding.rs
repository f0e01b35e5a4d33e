//! The encoding of each column, chosen from its data.

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use logmill_model::field;
use logmill_schema::ColumnType;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::ColumnPath;
use rustc_hash::FxHashSet;

use crate::gather::Column;
use crate::{Error, Position, Result, SegmentOptions};

/// A page ends by its rows, never by its bytes: pages of all columns must end on the same rows.
const PAGE_BYTES_MAX: usize = 1 << 30;

/// Bytes of a text that statistics keep.
const STATISTICS_BYTES: usize = 64;

/// Rows that are looked at.
const SAMPLE_ROWS: usize = 4_096;

/// Columns whose values hardly repeat. A dictionary of them is as long as the column, and reading one row of it would
/// read the whole dictionary.
const WITHOUT_DICTIONARY: [&str; 4] = [
    field::TIMESTAMP,
    field::MESSAGE,
    field::TRACE_ID,
    field::SPAN_ID,
];

/// The writer's properties for a table, chosen from a sample of its rows.
pub(crate) fn properties(
    schema: &Schema,
    batches: &[RecordBatch],
    rows: &[Position],
    options: &SegmentOptions,
) -> Result<WriterProperties> {
    let zstd = ZstdLevel::try_new(options.zstd_level).map_err(|source| Error::Parquet {
        operation: "choosing a level of zstd",
        source,
    })?;
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("logmill ", env!("CARGO_PKG_VERSION")).to_owned())
        // The second kind of page keeps nulls apart from values, which then compress by themselves.
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(zstd))
        .set_data_page_row_count_limit(options.granule_rows)
        .set_write_batch_size(options.granule_rows)
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        .set_max_row_group_row_count(Some(options.row_group_rows))
        .set_statistics_truncate_length(Some(STATISTICS_BYTES))
        .set_column_index_truncate_length(Some(STATISTICS_BYTES))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    let step = (rows.len() / SAMPLE_ROWS).max(1);
    let sample: Vec<Position> = rows.iter().step_by(step).copied().collect();
    for column in schema.fields() {
        let repeats = !WITHOUT_DICTIONARY.contains(&column.name().as_str())
            && values_repeat(batches, &sample, column)?;
        builder = column_properties(builder, column, repeats);
    }
    Ok(builder.build())
}

/// Whether a dictionary pays: at most one in four of the sampled values is new.
fn values_repeat(batches: &[RecordBatch], sample: &[Position], column: &Field) -> Result<bool> {
    if sample.is_empty() {
        return Ok(true);
    }
    let values = Column::of(batches, column)?.gather(sample)?;
    let hashes = column_hashes(&values);
    let there = hashes.iter().flatten().count();
    let distinct: FxHashSet<u64> = hashes.into_iter().flatten().collect();
    Ok(distinct.len() * 4 <= there.max(4))
}

fn column_hashes(values: &arrow_array::ArrayRef) -> Vec<Option<u64>> {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, Int32Type, Int64Type};
    use xxhash_rust::xxh3::xxh3_64;

    if let Some(texts) = values.as_string_opt::<i32>() {
        let hash = |text: Option<&str>| text.map(|text| xxh3_64(text.as_bytes()));
        texts.iter().map(hash).collect()
    } else if let Some(texts) = values.as_dictionary_opt::<Int32Type>() {
        let key = |key: Option<i32>| key.map(|key| u64::from(key.cast_unsigned()));
        texts.keys().iter().map(key).collect()
    } else if let Some(integers) = values.as_primitive_opt::<Int64Type>() {
        let hash = |value: Option<i64>| value.map(i64::cast_unsigned);
        integers.iter().map(hash).collect()
    } else if let Some(floats) = values.as_primitive_opt::<Float64Type>() {
        floats.iter().map(|value| value.map(f64::to_bits)).collect()
    } else {
        vec![None; values.len()]
    }
}

fn column_properties(
    builder: WriterPropertiesBuilder,
    column: &Field,
    repeats: bool,
) -> WriterPropertiesBuilder {
    let path = || ColumnPath::new(vec![column.name().clone()]);
    let kind = ColumnType::of(column).unwrap_or(ColumnType::String);
    let builder = builder.set_column_dictionary_enabled(path(), repeats);
    let builder = match kind {
        ColumnType::String => builder,
        _ => builder.set_column_statistics_enabled(path(), EnabledStatistics::Page),
    };
    let encoding = match kind {
        ColumnType::Timestamp => Encoding::DELTA_BINARY_PACKED,
        ColumnType::Boolean => Encoding::RLE,
        _ if repeats => return builder,
        ColumnType::Integer | ColumnType::WideInteger => Encoding::DELTA_BINARY_PACKED,
        ColumnType::Float => Encoding::PLAIN,
        // All lengths, then all bytes: what is left to compress is text alone.
        ColumnType::String => Encoding::DELTA_LENGTH_BYTE_ARRAY,
    };
    builder.set_column_encoding(path(), encoding)
}

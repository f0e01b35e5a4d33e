//! How the Parquet library's writer encodes the columns that are no text, chosen from their data.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{Field, Schema};
use logmill_schema::ColumnType;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::ColumnPath;
use rustc_hash::FxHashSet;

use crate::gather::{Column, Columns, gather, indices};
use crate::{Error, GRANULE_ROWS, Position, Result, SegmentOptions};

/// A page ends by its rows, never by its bytes: pages of all columns must end on the same rows.
const PAGE_BYTES_MAX: usize = 1 << 30;

/// Rows that are looked at.
const SAMPLE_ROWS: usize = 4_096;

/// The writer's properties for a table, chosen from a sample of its rows.
pub(crate) fn properties(
    schema: &Schema,
    columns: &Columns<'_>,
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
        .set_data_page_row_count_limit(GRANULE_ROWS)
        .set_write_batch_size(GRANULE_ROWS)
        .set_data_page_size_limit(PAGE_BYTES_MAX)
        .set_max_row_group_row_count(Some(options.row_group_rows))
        .set_statistics_enabled(EnabledStatistics::Page);
    let sample = indices(sample(rows));
    for field in schema.fields() {
        if let Some(Column::Plain(arrays)) = columns.get(field.name()) {
            let repeats = field.is_nullable() && values_repeat(arrays, &sample)?;
            builder = column_properties(builder, field, repeats);
        }
    }
    Ok(builder.build())
}

/// The rows that are looked at.
pub(crate) fn sample(rows: &[Position]) -> impl Iterator<Item = &Position> {
    rows.iter().step_by((rows.len() / SAMPLE_ROWS).max(1))
}

/// Whether a dictionary pays: at most one in four of the sampled values is new.
pub(crate) fn repeat(distinct: usize, there: usize) -> bool {
    distinct * 4 <= there.max(4)
}

/// Whether the values of a sample repeat.
fn values_repeat(arrays: &[ArrayRef], sample: &[(usize, usize)]) -> Result<bool> {
    if sample.is_empty() {
        return Ok(true);
    }
    let values = gather(arrays, sample)?;
    let distinct: FxHashSet<u64> = if let Some(integers) = values.as_primitive_opt::<Int64Type>() {
        let value = integers.iter().flatten();
        value.map(i64::cast_unsigned).collect()
    } else if let Some(floats) = values.as_primitive_opt::<Float64Type>() {
        floats.iter().flatten().map(f64::to_bits).collect()
    } else {
        FxHashSet::default()
    };
    let there = values.len() - values.null_count();
    Ok(repeat(distinct.len(), there))
}

fn column_properties(
    builder: WriterPropertiesBuilder,
    field: &Field,
    repeats: bool,
) -> WriterPropertiesBuilder {
    let path = || ColumnPath::new(vec![field.name().clone()]);
    let builder = builder.set_column_dictionary_enabled(path(), repeats);
    let encoding = match ColumnType::of(field) {
        Some(ColumnType::Timestamp) => Encoding::DELTA_BINARY_PACKED,
        Some(ColumnType::Boolean) => Encoding::RLE,
        _ if repeats => return builder,
        Some(ColumnType::Float) => Encoding::PLAIN,
        _ => Encoding::DELTA_BINARY_PACKED,
    };
    builder.set_column_encoding(path(), encoding)
}

//! Hashes of what a row says, whatever the types of its columns at the moment.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// A hash for each row that depends on the names and values of its fields alone.
///
/// It does not change when a column is promoted (5, 5.0, "5" and "5.0" are the same value), when columns are
/// reordered, or when a dictionary becomes plain; null is absence. So it is a stable tie-break between rows of equal
/// timestamp while they move from memory into segments.
pub fn record_hashes(batch: &RecordBatch) -> Result<Vec<u128>, ArrowError> {
    let mut hashes = vec![0_u128; batch.num_rows()];
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let name = xxhash_rust::xxh3::xxh3_64(field.name().as_bytes());
        add_column(&mut hashes, name, column)?;
    }
    Ok(hashes)
}

/// Adds a column's values; addition, so that the order of columns does not matter.
fn add_column(hashes: &mut [u128], name: u64, column: &ArrayRef) -> Result<(), ArrowError> {
    let mut add = |row: usize, value: u128| {
        if let Some(hash) = hashes.get_mut(row) {
            *hash = hash.wrapping_add(value);
        }
    };
    match column.data_type() {
        DataType::Int64 => {
            for (row, value) in column.as_primitive::<Int64Type>().iter().enumerate() {
                if let Some(value) = value {
                    add(row, integer(name, value));
                }
            }
        }
        DataType::Float64 => {
            for (row, value) in column.as_primitive::<Float64Type>().iter().enumerate() {
                if let Some(value) = value {
                    add(row, float(name, value));
                }
            }
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            for (row, value) in column
                .as_primitive::<TimestampNanosecondType>()
                .iter()
                .enumerate()
            {
                if let Some(value) = value {
                    add(row, integer(name, value));
                }
            }
        }
        DataType::Utf8 => {
            for (row, value) in column.as_string::<i32>().iter().enumerate() {
                if let Some(value) = value {
                    add(row, text(name, value));
                }
            }
        }
        DataType::Utf8View => {
            for (row, value) in column.as_string_view().iter().enumerate() {
                if let Some(value) = value {
                    add(row, text(name, value));
                }
            }
        }
        _ => return add_column(hashes, name, &cast(column, &DataType::Utf8)?),
    }
    Ok(())
}

fn integer(name: u64, value: i64) -> u128 {
    xxh3_128_with_seed(&value.to_le_bytes(), name)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "whole and within 2^53, so exact"
)]
fn float(name: u64, value: f64) -> u128 {
    if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
        integer(name, value as i64)
    } else {
        xxh3_128_with_seed(&[b"f", &value.to_le_bytes()[..]].concat(), name)
    }
}

/// Text that is a number hashes as that number, for it may have been one before it met text.
fn text(name: u64, value: &str) -> u128 {
    let may_be_number = value.len() <= 32
        && value
            .as_bytes()
            .first()
            .is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
    if may_be_number {
        if let Ok(value) = value.parse::<i64>() {
            return integer(name, value);
        }
        if let Ok(value) = value.parse::<f64>() {
            return float(name, value);
        }
    }
    xxh3_128_with_seed(&[b"t", value.as_bytes()].concat(), name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BooleanArray, DictionaryArray, Float64Array, Int64Array, StringArray, types::Int32Type,
    };
    use arrow_schema::{Field, Schema};

    use super::*;

    fn hashes(columns: Vec<(&str, ArrayRef)>) -> Vec<u128> {
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, c)| Field::new(*name, c.data_type().clone(), true))
            .collect();
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        record_hashes(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap())
            .unwrap()
    }

    #[test]
    fn promotion_does_not_change_a_hash() {
        let as_integer = hashes(vec![("x", Arc::new(Int64Array::from(vec![5, -3])))]);
        let as_float = hashes(vec![("x", Arc::new(Float64Array::from(vec![5.0, -3.0])))]);
        let as_text = hashes(vec![("x", Arc::new(StringArray::from(vec!["5.0", "-3"])))]);
        assert_eq!(as_integer, as_float);
        assert_eq!(as_integer, as_text);
        let fraction = hashes(vec![("x", Arc::new(Float64Array::from(vec![0.1, 1e300])))]);
        let text = hashes(vec![(
            "x",
            Arc::new(StringArray::from(vec!["0.1", "1e300"])),
        )]);
        assert_eq!(fraction, text);
        let truth = hashes(vec![("x", Arc::new(BooleanArray::from(vec![true])))]);
        assert_eq!(
            truth,
            hashes(vec![("x", Arc::new(StringArray::from(vec!["true"])))])
        );
        let dictionary: DictionaryArray<Int32Type> = vec!["a", "b"].into_iter().collect();
        let plain = hashes(vec![("x", Arc::new(StringArray::from(vec!["a", "b"])))]);
        assert_eq!(hashes(vec![("x", Arc::new(dictionary))]), plain);
    }

    #[test]
    fn texts_that_differ_hash_differently_though_they_are_the_same_number() {
        let texts = ["1.1", "1.10", "007", "7", "0x7", "7e0", "00.0", "00", "2.0.0", "2.0", ""];
        let ids = [
            "12345678901234567890123456789012",
            "12345678901234567890123456789013",
        ];
        let texts: Vec<_> = texts.into_iter().chain(ids).collect();
        let found = hashes(vec![("x", Arc::new(StringArray::from(texts.clone())))]);
        for (one, hash) in texts.iter().zip(&found) {
            for (other, other_hash) in texts.iter().zip(&found) {
                assert_eq!(one == other, hash == other_hash, "{one} {other}");
            }
        }
    }

    #[test]
    fn names_order_and_absence_count_as_they_should() {
        let a: ArrayRef = Arc::new(StringArray::from(vec![Some("v"), None]));
        let b: ArrayRef = Arc::new(StringArray::from(vec![None, Some("v")]));
        let both = hashes(vec![("a", a.clone()), ("b", b.clone())]);
        assert_eq!(both, hashes(vec![("b", b), ("a", a.clone())]));
        assert_ne!(
            both[0], both[1],
            "the same value under another name is another record"
        );
        assert_eq!(both[0], hashes(vec![("a", a)])[0], "null is absence");
    }
}

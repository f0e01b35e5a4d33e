//! Hashes of what a row says, whatever the types of its columns at the moment.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

/// Digits of 2^53: longer whole numbers never became floats.
const EXACT_DIGITS: usize = 16;

/// A hash for each row that depends on the names and values of its fields alone.
///
/// It does not change when a column is promoted (5, 5.0, "5" and "5.0" are the same value), when columns are
/// reordered, or when a dictionary becomes plain; null is absence. So it is a stable tie-break between rows of equal
/// timestamp while they move from memory into segments.
///
/// A value is hashed as the text that [`adapt()`](crate::adapt()) would make of it. Texts that differ hash differently,
/// also when they are the same number ("1.1" and "1.10" are two versions of a program), but for the one pair that
/// promotion cannot keep apart, "5" and "5.0".
pub fn record_hashes(batch: &RecordBatch) -> Result<Vec<u128>, ArrowError> {
    let mut hashes = vec![0_u128; batch.num_rows()];
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        add_column(&mut hashes, xxh3_64(field.name().as_bytes()), column)?;
    }
    Ok(hashes)
}

/// Adds a column's values; addition, so that the order of columns does not matter.
fn add_column(hashes: &mut [u128], name: u64, column: &ArrayRef) -> Result<(), ArrowError> {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let times = column.as_primitive::<TimestampNanosecondType>();
            add(
                hashes,
                name,
                times.iter().map(|time| time.map(i64::to_le_bytes)),
            );
        }
        DataType::Utf8 => add(hashes, name, column.as_string::<i32>().iter().map(said)),
        DataType::Utf8View => add(hashes, name, column.as_string_view().iter().map(said)),
        _ => add_column(hashes, name, &cast(column, &DataType::Utf8)?)?,
    }
    Ok(())
}

fn add<T: AsRef<[u8]>>(hashes: &mut [u128], name: u64, values: impl Iterator<Item = Option<T>>) {
    for (hash, value) in hashes.iter_mut().zip(values) {
        if let Some(value) = value {
            *hash = hash.wrapping_add(xxh3_128_with_seed(value.as_ref(), name));
        }
    }
}

/// What a text says: a whole number without the ".0" that it has got if it met a float on its way.
fn said(value: Option<&str>) -> Option<&str> {
    let value = value?;
    let whole = value.strip_suffix(".0").filter(|whole| {
        let digits = whole.strip_prefix('-').unwrap_or(whole).as_bytes();
        let canonical = digits == b"0" || digits.first().is_some_and(|first| *first != b'0');
        canonical && digits.len() <= EXACT_DIGITS && digits.iter().all(u8::is_ascii_digit)
    });
    Some(whole.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BooleanArray, DictionaryArray, Float64Array, Int64Array, StringArray, types::Int32Type,
    };
    use arrow_schema::{Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::{ColumnType, adapt};

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
        let texts = [
            "1.1", "1.10", "007", "7", "0x7", "7e0", "00.0", "00", "2.0.0", "2.0", "",
        ];
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

    /// The hash of one value in a column of type `from`, as it is and adapted to each of `to`.
    fn promoted(value: ArrayRef, from: ColumnType, to: &[ColumnType]) -> Vec<u128> {
        let schema = |kind: ColumnType| Arc::new(Schema::new(vec![kind.field("x")]));
        let batch = RecordBatch::try_new(schema(from), vec![value]).unwrap();
        let adapted = to.iter().scan(batch.clone(), |batch, kind| {
            *batch = adapt(batch, &schema(*kind)).unwrap();
            Some(batch.clone())
        });
        std::iter::once(batch.clone())
            .chain(adapted)
            .map(|batch| record_hashes(&batch).unwrap()[0])
            .collect()
    }

    proptest! {
        #[test]
        fn no_number_changes_its_hash_on_its_way_to_text(
            integer in -(1_i64 << 53)..=1 << 53, wide: i64, float: f64,
        ) {
            use ColumnType::{Float, Integer, String, WideInteger};
            let integers: ArrayRef = Arc::new(Int64Array::from(vec![integer]));
            let wides: ArrayRef = Arc::new(Int64Array::from(vec![wide]));
            let floats: ArrayRef = Arc::new(Float64Array::from(vec![float]));
            let ways = [
                promoted(integers.clone(), Integer, &[Float, String]),
                promoted(integers, Integer, &[WideInteger, String]),
                promoted(wides, WideInteger, &[String]),
                promoted(floats, Float, &[String]),
            ];
            for hashes in ways {
                prop_assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
            }
        }
    }
}

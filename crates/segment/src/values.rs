//! How often a segment's columns have each of their values, where those are few: facets are drawn from it without reading
//! rows.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::embedded::{self, BlockLocation, SEGMENT_ROWS_MIN};
use crate::{Error, Position, Result};

/// A column of more different values is not counted.
pub const VALUES_MAX: usize = 1_000;

/// A column that has a value of more bytes is not counted.
pub const VALUE_BYTES_MAX: usize = 256;

/// Bytes of all values of a segment at most, about: beyond it the columns with the most are left out.
const BYTES_MAX: usize = 1 << 20;

/// What a value takes beside its text, bytes: about.
const COUNT_BYTES: usize = 8;

/// The values of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnValues {
    /// Records that have each value: the text, decimal digits of an integer, `true` or `false`.
    Counts(BTreeMap<String, u64>),
    /// There are more than [`VALUES_MAX`].
    TooMany,
    /// One is longer than [`VALUE_BYTES_MAX`].
    TooLong,
}

/// The values of a segment's columns. A column that is not among them was not counted: floats and times never are, others
/// where they did not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValueCounts {
    columns: BTreeMap<String, ColumnValues>,
}

impl ValueCounts {
    /// Reads what a segment has at this place.
    pub fn read(location: &BlockLocation, bytes: &[u8]) -> Result<Self> {
        let json = embedded::read(location, bytes).map_err(Error::Values)?;
        serde_json::from_slice(&json).map_err(|error| Error::Values(error.to_string()))
    }

    /// The values of a column, if they were counted.
    pub fn get(&self, column: &str) -> Option<&ColumnValues> {
        self.columns.get(column)
    }

    /// Every column that was counted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ColumnValues)> {
        let columns = self.columns.iter();
        columns.map(|(name, values)| (name.as_str(), values))
    }
}

/// Counts values while a segment is written.
#[derive(Debug, Default)]
pub(crate) struct ValueCountsBuilder {
    values: ValueCounts,
    /// Columns of which some rows were not counted.
    uncounted: BTreeSet<String>,
}

impl ValueCountsBuilder {
    /// What was counted so far.
    pub(crate) const fn values(&self) -> &ValueCounts {
        &self.values
    }

    /// Adds the values that some rows have of a column; none when they were not counted.
    pub(crate) fn add(&mut self, column: &str, values: Option<ColumnValues>) {
        let Some(values) = values else {
            self.uncounted.insert(column.to_owned());
            return;
        };
        match self.values.columns.entry(column.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(values);
            }
            Entry::Occupied(mut entry) => entry.get_mut().merge(values),
        }
    }

    /// Adds what a segment of these columns says of its rows, if it does.
    pub(crate) fn merge<'a>(
        &mut self,
        columns: impl Iterator<Item = &'a str>,
        values: Option<&ValueCounts>,
    ) {
        for column in columns {
            self.add(
                column,
                values.and_then(|values| values.get(column)).cloned(),
            );
        }
    }

    /// The columns of which all rows were counted.
    pub(crate) fn finish(mut self) -> ValueCounts {
        let uncounted = self.uncounted;
        self.values
            .columns
            .retain(|name, _| !uncounted.contains(name));
        self.values
    }

    /// Writes the block of a segment of so many rows to `out`, which begins at `offset` of the file: JSON, compressed.
    pub(crate) fn write(
        self,
        segment_rows: u64,
        offset: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<BlockLocation>> {
        if segment_rows < SEGMENT_ROWS_MIN {
            return Ok(None);
        }
        let mut columns: Vec<_> = self.finish().columns.into_iter().collect();
        columns.sort_by_key(|(_, values)| values.bytes());
        let mut bytes = 0;
        columns.retain(|(_, values)| {
            bytes += values.bytes();
            bytes <= BYTES_MAX
        });
        let columns: BTreeMap<_, _> = columns.into_iter().collect();
        let json = serde_json::to_vec(&ValueCounts { columns });
        let json = json.map_err(|error| Error::Values(error.to_string()))?;
        embedded::write(&json, offset, out)
            .map(Some)
            .map_err(Error::Values)
    }
}

impl ColumnValues {
    /// The values of texts, one for each record that has one.
    pub(crate) fn of_texts<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut counts: FxHashMap<&str, u64> = FxHashMap::default();
        for text in texts {
            if text.len() > VALUE_BYTES_MAX {
                return Self::TooLong;
            }
            *counts.entry(text).or_default() += 1;
            if counts.len() > VALUES_MAX {
                return Self::TooMany;
            }
        }
        Self::of_counts(counts)
    }

    /// The values of a dictionary of which each record has one; a key outside of it is none.
    pub(crate) fn of_keys(dictionary: &[&str], keys: &[u32]) -> Self {
        if dictionary.iter().any(|value| value.len() > VALUE_BYTES_MAX) {
            return Self::TooLong;
        }
        if dictionary.len() > VALUES_MAX {
            return Self::TooMany;
        }
        let mut counts = vec![0; dictionary.len()];
        for key in keys {
            if let Some(count) = counts.get_mut(*key as usize) {
                *count += 1;
            }
        }
        Self::of_counts(
            dictionary
                .iter()
                .zip(counts)
                .filter(|(_, count)| *count > 0),
        )
    }

    /// The values of rows of a column that is no text; none of a column whose values are not counted.
    pub(crate) fn of_rows(arrays: &[ArrayRef], rows: &[Position]) -> Option<Self> {
        let integers = arrays
            .iter()
            .map(|array| array.as_primitive_opt::<Int64Type>());
        if let Some(integers) = integers.collect::<Option<Vec<_>>>() {
            let value = |at: &Position| {
                let integers = integers.get(at.batch as usize)?;
                let row = at.row as usize;
                integers.is_valid(row).then(|| integers.value(row))
            };
            return Some(Self::of_values(rows.iter().filter_map(value)));
        }
        let booleans = arrays.iter().map(|array| array.as_boolean_opt());
        let booleans = booleans.collect::<Option<Vec<_>>>()?;
        let value = |at: &Position| {
            let booleans = booleans.get(at.batch as usize)?;
            let row = at.row as usize;
            booleans.is_valid(row).then(|| booleans.value(row))
        };
        Some(Self::of_values(rows.iter().filter_map(value)))
    }

    fn of_values<T: Eq + Hash + ToString>(values: impl Iterator<Item = T>) -> Self {
        let mut counts: FxHashMap<T, u64> = FxHashMap::default();
        for value in values {
            *counts.entry(value).or_default() += 1;
            if counts.len() > VALUES_MAX {
                return Self::TooMany;
            }
        }
        Self::of_counts(counts)
    }

    fn of_counts(counts: impl IntoIterator<Item = (impl ToString, u64)>) -> Self {
        let counts = counts.into_iter();
        Self::Counts(
            counts
                .map(|(value, count)| (value.to_string(), count))
                .collect(),
        )
    }

    fn merge(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::TooLong, _) | (_, Self::TooLong) => *self = Self::TooLong,
            (Self::TooMany, _) | (_, Self::TooMany) => *self = Self::TooMany,
            (Self::Counts(counts), Self::Counts(other)) => {
                for (value, count) in other {
                    let known = counts.entry(value).or_default();
                    // What a damaged block says may be more than a number holds.
                    *known = known.saturating_add(count);
                }
                if counts.len() > VALUES_MAX {
                    *self = Self::TooMany;
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Counts(counts) => counts.keys().map(|value| value.len() + COUNT_BYTES).sum(),
            Self::TooMany | Self::TooLong => COUNT_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BooleanArray, Float64Array, Int64Array};
    use proptest::prelude::*;

    use super::*;

    fn counts(values: &[(&str, u64)]) -> ColumnValues {
        ColumnValues::of_counts(values.iter().copied())
    }

    #[test]
    fn values_of_every_kind_are_counted() {
        let row = |row| Position { batch: 0, row };
        let rows = [row(0), row(1), row(2), row(3)];
        let of = |array: ArrayRef| ColumnValues::of_rows(&[array], &rows);
        let integers = Int64Array::from(vec![Some(-5), None, Some(200), Some(-5)]);
        assert_eq!(
            of(Arc::new(integers)),
            Some(counts(&[("-5", 2), ("200", 1)]))
        );
        let booleans = BooleanArray::from(vec![Some(true), None, Some(true), None]);
        assert_eq!(of(Arc::new(booleans)), Some(counts(&[("true", 2)])));
        assert_eq!(of(Arc::new(Float64Array::from(vec![0.5; 4]))), None);
        let texts = ["b", "", "b"];
        assert_eq!(
            ColumnValues::of_texts(texts.into_iter()),
            counts(&[("", 1), ("b", 2)])
        );
        let keys = [1, 0, u32::MAX, 1];
        assert_eq!(
            ColumnValues::of_keys(&["", "b"], &keys),
            counts(&[("", 1), ("b", 2)])
        );
    }

    #[test]
    fn many_and_long_values_are_not_counted() {
        let many: Vec<String> = (0..=VALUES_MAX).map(|value| value.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let some = &many[..VALUES_MAX];
        let keys: Vec<u32> = (0..=VALUES_MAX as u32).collect();
        assert_eq!(
            ColumnValues::of_texts(many.iter().copied()),
            ColumnValues::TooMany
        );
        assert_eq!(ColumnValues::of_keys(&many, &keys), ColumnValues::TooMany);
        assert_eq!(
            ColumnValues::of_texts([long.as_str()].into_iter()),
            ColumnValues::TooLong
        );
        assert_eq!(
            ColumnValues::of_keys(&[&long], &keys),
            ColumnValues::TooLong
        );
        let mut all = ColumnValues::of_texts(some.iter().copied());
        assert!(matches!(all, ColumnValues::Counts(_)));
        all.merge(counts(&[("other", 1)]));
        assert_eq!(all, ColumnValues::TooMany);
        all.merge(ColumnValues::TooLong);
        all.merge(counts(&[("other", 1)]));
        assert_eq!(all, ColumnValues::TooLong);
    }

    #[test]
    fn the_columns_with_the_most_are_left_out_when_not_all_fit() {
        let mut values = ValueCountsBuilder::default();
        let long = |value: usize| format!("{value:0200}");
        let texts: Vec<String> = (0..VALUES_MAX).map(long).collect();
        for column in 0..9 {
            let some = texts[..VALUES_MAX - 10 * column].iter();
            let some = ColumnValues::of_texts(some.map(String::as_str));
            values.add(&column.to_string(), Some(some));
        }
        values.add("8", None);
        let mut out = Vec::new();
        let location = values
            .write(SEGMENT_ROWS_MIN, 7, &mut out)
            .unwrap()
            .unwrap();
        assert_eq!(location.offset, 7);
        let read = ValueCounts::read(&location, &out).unwrap();
        let names: Vec<_> = read.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["3", "4", "5", "6", "7"]);
    }

    proptest! {
        #[test]
        fn counts_come_back_and_add_up(one in prop::collection::vec("[a-c\"\u{e9}]{0,2}", 0..30), other in prop::collection::vec("[a-c]{0,2}", 0..30)) {
            let of = |texts: &[String]| {
                let mut values = ValueCountsBuilder::default();
                values.add("x", Some(ColumnValues::of_texts(texts.iter().map(String::as_str))));
                values
            };
            let read = |values: ValueCountsBuilder| {
                let mut out = Vec::new();
                let location = values.write(SEGMENT_ROWS_MIN, 0, &mut out).unwrap().unwrap();
                ValueCounts::read(&location, &out).unwrap()
            };
            let mut merged = of(&one);
            merged.merge(["x"].into_iter(), Some(&read(of(&other))));
            prop_assert_eq!(read(merged), read(of(&[one, other].concat())));
        }

        #[test]
        fn damage_is_an_error_and_not_a_panic(at in any::<prop::sample::Index>(), with in 1_u8..=255) {
            let mut values = ValueCountsBuilder::default();
            values.add("level", Some(counts(&[("info", 5), ("warn", 1)])));
            let mut out = Vec::new();
            let location = values.write(SEGMENT_ROWS_MIN, 0, &mut out).unwrap().unwrap();
            let at = at.index(out.len());
            out[at] ^= with;
            prop_assert!(ValueCounts::read(&location, &out).is_err());
        }
    }
}

//! Which rows of a row group, granule by granule.

use arrow_array::{ArrayRef, BooleanArray, UInt32Array};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use datafusion::common::Result;
use logmill_segment::GRANULE_ROWS;

/// Up to so many rows of a granule are listed; more are a bit for each row.
const LISTED_ROWS: usize = GRANULE_ROWS / 16;

/// Some rows of a granule, in order.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    /// All of so many.
    All(usize),
    /// Those whose bit is set.
    Marked(BooleanBuffer),
    /// These.
    Listed(Vec<u16>),
}

impl Rows {
    /// Rows by their numbers, which rise.
    fn listed(rows: impl Iterator<Item = usize>) -> Self {
        Self::Listed(rows.map(|row| row as u16).collect())
    }

    /// No row.
    pub(crate) const fn none() -> Self {
        Self::All(0)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::All(rows) => *rows,
            Self::Marked(marked) => marked.count_set_bits(),
            Self::Listed(rows) => rows.len(),
        }
    }

    /// Their numbers in the granule.
    pub(crate) fn numbers(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self {
            Self::All(rows) => Box::new(0..*rows),
            Self::Marked(marked) => Box::new(marked.set_indices()),
            Self::Listed(rows) => Box::new(rows.iter().map(|row| usize::from(*row))),
        }
    }

    /// Their values, of those of all rows of the granule.
    pub(crate) fn of(&self, values: &ArrayRef) -> Result<ArrayRef> {
        Ok(match self {
            Self::All(_) => values.clone(),
            Self::Marked(marked) => {
                arrow_select::filter::filter(values, &BooleanArray::new(marked.clone(), None))?
            }
            Self::Listed(rows) => {
                let rows = UInt32Array::from_iter_values(rows.iter().map(|row| u32::from(*row)));
                arrow_select::take::take(values, &rows, None)?
            }
        })
    }

    /// Those of them that satisfy a condition, by its answer for each of them.
    fn that(self, matches: &BooleanBuffer) -> Self {
        let count = matches.count_set_bits();
        if count == matches.len() {
            return self;
        }
        let all = matches!(self, Self::All(_));
        if all && count > LISTED_ROWS {
            return Self::Marked(matches.clone());
        }
        let numbers = self.numbers().zip(matches.iter());
        let mut kept = numbers.filter_map(|(row, matches)| matches.then_some(row));
        if count <= LISTED_ROWS {
            return Self::listed(kept);
        }
        let mut marked = BooleanBufferBuilder::new(GRANULE_ROWS);
        for row in kept.by_ref() {
            marked.append_n(row - marked.len(), false);
            marked.append(true);
        }
        if let Self::Marked(before) = &self {
            marked.append_n(before.len().saturating_sub(marked.len()), false);
        }
        Self::Marked(marked.finish())
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::All(_) => 0,
            Self::Marked(marked) => marked.len() / 8,
            Self::Listed(rows) => rows.len() * size_of::<u16>(),
        }
    }
}

/// Some rows of a granule.
#[derive(Clone, Debug)]
pub(crate) struct GranuleRows {
    /// The granule's number in its row group: that of its pages.
    pub(crate) page: usize,
    pub(crate) rows: Rows,
}

impl GranuleRows {
    /// Leaves those that satisfy a condition, by its answer for each of the rows.
    pub(crate) fn keep(&mut self, matches: &BooleanBuffer) {
        let rows = std::mem::replace(&mut self.rows, Rows::none());
        self.rows = rows.that(matches);
    }

    /// Their numbers in the row group.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        let before = self.page * GRANULE_ROWS;
        self.rows.numbers().map(move |row| before + row)
    }
}

/// Some rows of a row group: the granules that have any, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowSet(Vec<GranuleRows>);

impl RowSet {
    /// Rows by their numbers in the row group, which rise.
    pub(crate) fn of_numbers(rows: &[u32]) -> Self {
        let page = |row: &u32| *row as usize / GRANULE_ROWS;
        let granules = rows.chunk_by(|one, other| page(one) == page(other));
        let granules = granules.map(|rows| GranuleRows {
            page: rows.first().map_or(0, page),
            rows: Rows::listed(rows.iter().map(|row| *row as usize % GRANULE_ROWS)),
        });
        granules.collect()
    }

    pub(crate) fn row_count(&self) -> usize {
        self.0.iter().map(|granule| granule.rows.len()).sum()
    }

    /// What is also in some granules.
    pub(crate) fn within(&self, is_wanted: impl Fn(usize) -> bool) -> Self {
        let granules = self.0.iter().filter(|granule| is_wanted(granule.page));
        granules.cloned().collect()
    }

    pub(crate) fn push(&mut self, granule: GranuleRows) {
        self.0.push(granule);
    }

    /// What it takes, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        let rows = self.0.iter().map(|granule| granule.rows.memory_bytes());
        self.0.len() * size_of::<GranuleRows>() + rows.sum::<usize>()
    }
}

impl FromIterator<GranuleRows> for RowSet {
    fn from_iter<I: IntoIterator<Item = GranuleRows>>(granules: I) -> Self {
        Self(granules.into_iter().collect())
    }
}

impl IntoIterator for RowSet {
    type Item = GranuleRows;
    type IntoIter = std::vec::IntoIter<GranuleRows>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// One condition after the other leaves what all of them hold of, however rows are kept.
        #[test]
        fn conditions_leave_what_they_all_hold_of(
            rows in 1_usize..=GRANULE_ROWS,
            steps in proptest::collection::vec(1_usize..40, 0..5),
        ) {
            let mut left = GranuleRows { page: 3, rows: Rows::All(rows) };
            let mut expected: Vec<usize> = (0..rows).collect();
            for step in steps {
                let holds = |row: &usize| row % 41 >= step || row.is_multiple_of(7);
                let matches = BooleanBuffer::from_iter(expected.iter().map(holds));
                left.keep(&matches);
                expected.retain(holds);
            }
            prop_assert_eq!(left.rows.len(), expected.len());
            prop_assert_eq!(left.rows.numbers().collect::<Vec<_>>(), expected.clone());
            let numbers: Vec<u32> = left.numbers().map(|row| row as u32).collect();
            let again = RowSet::of_numbers(&numbers);
            prop_assert_eq!(again.row_count(), expected.len());
            let all = UInt32Array::from_iter_values(0..rows as u32);
            let values = left.rows.of(&(std::sync::Arc::new(all) as ArrayRef)).unwrap();
            prop_assert_eq!(values.len(), expected.len());
        }
    }
}

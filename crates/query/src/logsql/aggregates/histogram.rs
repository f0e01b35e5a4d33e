//! How many numbers fell in which bucket.

use std::collections::BTreeMap;

use arrow_schema::DataType;
use datafusion::common::{Result, ScalarValue};
use logmill_lang::value::histogram::{bucket, write_buckets};

use super::fold::{Columns, Fold, State, text_value, write_number};

#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    hits: BTreeMap<u16, u64>,
}

impl Fold for Histogram {
    fn value_type() -> DataType {
        DataType::Utf8View
    }

    fn update(&mut self, columns: &Columns) {
        columns.numbers(|number| {
            if let Some(bucket) = bucket(number) {
                *self.hits.entry(bucket).or_default() += 1;
            }
        });
    }

    fn state(&self) -> Vec<u8> {
        let mut state = Vec::new();
        for (bucket, hits) in &self.hits {
            write_number(u64::from(*bucket), &mut state);
            write_number(*hits, &mut state);
        }
        state
    }

    fn merge(&mut self, state: &mut State<'_>) {
        while !state.is_empty() {
            let bucket = u16::try_from(state.number()).unwrap_or(u16::MAX);
            *self.hits.entry(bucket).or_default() += state.number();
        }
    }

    fn value(&mut self) -> Result<ScalarValue> {
        let mut text = String::new();
        write_buckets(
            self.hits.iter().map(|(bucket, hits)| (*bucket, *hits)),
            &mut text,
        );
        Ok(text_value(text))
    }

    fn size(&self) -> usize {
        self.hits.len() * 32
    }
}

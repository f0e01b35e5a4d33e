//! The least or the greatest text.

use arrow_schema::DataType;
use datafusion::common::{Result, ScalarValue};
use logmill_lang::value::order::compare;

use super::fold::{Columns, Fold, State, text_value, write_text};

/// Whether a text has a place among others: what is not there has none, nor what is no number.
pub(in crate::logsql) fn is_ranked(text: &str) -> bool {
    !text.is_empty() && text != "NaN"
}

#[derive(Clone, Debug)]
pub(super) struct Extreme {
    greatest: bool,
    best: String,
}

impl Extreme {
    pub(super) const fn new(greatest: bool) -> Self {
        Self {
            greatest,
            best: String::new(),
        }
    }

    fn take(&mut self, text: &str) {
        let better = match compare(text, &self.best) {
            _ if !is_ranked(text) => false,
            _ if self.best.is_empty() => true,
            order if self.greatest => order.is_gt(),
            order => order.is_lt(),
        };
        if better {
            self.best.clear();
            self.best.push_str(text);
        }
    }
}

impl Fold for Extreme {
    fn value_type() -> DataType {
        DataType::Utf8View
    }

    fn update(&mut self, columns: &Columns) {
        for texts in columns.texts() {
            for row in 0..columns.rows() {
                if !texts.repeats(row) {
                    self.take(texts.get(row));
                }
            }
        }
    }

    fn state(&self) -> Vec<u8> {
        let mut state = Vec::new();
        write_text(&self.best, &mut state);
        state
    }

    fn merge(&mut self, state: &mut State<'_>) {
        self.take(&state.text());
    }

    fn value(&mut self) -> Result<ScalarValue> {
        Ok(text_value(self.best.clone()))
    }

    fn size(&self) -> usize {
        self.best.capacity()
    }
}

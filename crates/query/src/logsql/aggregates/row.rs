//! One record of a group.

use arrow_schema::DataType;
use datafusion::common::{Result, ScalarValue};
use logmill_lang::value::order::compare;

use super::Pick;
use super::fold::{Columns, Fold, State, text_value, write_text};
use crate::logsql::pipes::write_json;

/// The record found so far. Records are written only where they are better than it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pick: Pick,
    names: Vec<String>,
    by: String,
    object: String,
}

impl Row {
    pub(super) const fn new(pick: Pick, names: Vec<String>) -> Self {
        Self {
            pick,
            names,
            by: String::new(),
            object: String::new(),
        }
    }

    fn is_better(&self, by: &str) -> bool {
        match self.pick {
            Pick::Any => self.object.is_empty(),
            // A record without the value is neither the least nor the greatest.
            _ if by.is_empty() => false,
            _ if self.object.is_empty() => true,
            Pick::Least => compare(by, &self.by).is_lt(),
            Pick::Greatest => compare(by, &self.by).is_gt(),
        }
    }
}

impl Fold for Row {
    fn value_type() -> DataType {
        DataType::Utf8View
    }

    fn update(&mut self, columns: &Columns) {
        let Some(by) = columns.texts().first() else {
            return;
        };
        let mut best = None;
        for row in 0..columns.rows() {
            if by.repeats(row) || !self.is_better(by.get(row)) {
                continue;
            }
            best = Some(row);
            by.get(row).clone_into(&mut self.by);
            if self.object.is_empty() {
                // Some object is there from now on.
                self.object.push_str("{}");
            }
        }
        if let Some(row) = best {
            let mut values = Vec::new();
            columns.row(row, &mut values);
            let values = values.split_first().map_or(&[][..], |(_by, values)| values);
            self.object.clear();
            write_json(&self.names, values, &mut self.object);
        }
    }

    fn state(&self) -> Vec<u8> {
        let mut state = Vec::new();
        write_text(&self.by, &mut state);
        write_text(&self.object, &mut state);
        state
    }

    fn merge(&mut self, state: &mut State<'_>) {
        let (by, object) = (state.text(), state.text());
        if !object.is_empty() && self.is_better(&by) {
            (self.by, self.object) = (by, object);
        }
    }

    fn value(&mut self) -> Result<ScalarValue> {
        let object = if self.object.is_empty() {
            "{}"
        } else {
            &self.object
        };
        Ok(text_value(object.to_owned()))
    }

    fn size(&self) -> usize {
        self.by.capacity() + self.object.capacity()
    }
}

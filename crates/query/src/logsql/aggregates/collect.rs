//! Values and records as JSON arrays.

use std::collections::HashSet;

use arrow_schema::DataType;
use datafusion::common::{Result, ScalarValue};
use logmill_lang::value::json::write_array;
use logmill_lang::value::order::compare;

use super::fold::{Columns, Fold, State, write_text};
use crate::logsql::functions::Object;
use crate::logsql::pipes::write_json;

fn array(text: String) -> ScalarValue {
    ScalarValue::Utf8View(Some(text))
}

fn most(limit: Option<u64>) -> usize {
    match limit {
        Some(limit) if limit > 0 => usize::try_from(limit).unwrap_or(usize::MAX),
        _ => usize::MAX,
    }
}

fn state_of<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<u8> {
    let mut state = Vec::new();
    texts
        .into_iter()
        .for_each(|text| write_text(text, &mut state));
    state
}

/// What a text in a list or set takes beside its bytes.
const TEXT_BYTES: usize = 48;

/// All values, empty ones too.
#[derive(Clone, Debug)]
pub(super) struct All {
    most: usize,
    /// Whether the last column is an object of further fields.
    open: bool,
    texts: Vec<String>,
    bytes: usize,
}

impl All {
    pub(super) fn new(limit: Option<u64>, open: bool) -> Self {
        Self {
            most: most(limit),
            open,
            texts: Vec::new(),
            bytes: 0,
        }
    }

    fn take(&mut self, text: String) {
        if self.texts.len() < self.most {
            self.bytes += text.len() + TEXT_BYTES;
            self.texts.push(text);
        }
    }
}

impl Fold for All {
    fn value_type() -> DataType {
        DataType::Utf8View
    }

    fn update(&mut self, columns: &Columns) {
        let (objects, columns_of_texts) = match columns.texts().split_last() {
            Some((objects, others)) if self.open => (Some(objects), others),
            _ => (None, columns.texts()),
        };
        for texts in columns_of_texts {
            for row in 0..columns.rows() {
                self.take(texts.get(row).to_owned());
            }
        }
        if let Some(objects) = objects {
            for row in 0..columns.rows() {
                let members = Object::read(objects.get(row)).into_texts();
                members.for_each(|(_, text)| self.take(text));
            }
        }
    }

    fn state(&self) -> Vec<u8> {
        state_of(&self.texts)
    }

    fn merge(&mut self, state: &mut State<'_>) {
        while !state.is_empty() {
            self.take(state.text());
        }
    }

    fn value(&mut self) -> Result<ScalarValue> {
        let mut text = String::new();
        write_array(&self.texts, &mut text);
        Ok(array(text))
    }

    fn size(&self) -> usize {
        self.bytes
    }
}

/// The different values that are not empty.
#[derive(Clone, Debug)]
pub(super) struct Unique {
    most: usize,
    /// Whether the last column is an object of further fields.
    open: bool,
    texts: HashSet<String>,
    bytes: usize,
}

impl Unique {
    pub(super) fn new(limit: Option<u64>, open: bool) -> Self {
        Self {
            most: most(limit),
            open,
            texts: HashSet::new(),
            bytes: 0,
        }
    }

    fn take(&mut self, text: &str) {
        if !text.is_empty() && self.texts.len() < self.most && !self.texts.contains(text) {
            self.bytes += text.len() + TEXT_BYTES;
            self.texts.insert(text.to_owned());
        }
    }
}

impl Fold for Unique {
    fn value_type() -> DataType {
        DataType::Utf8View
    }

    fn update(&mut self, columns: &Columns) {
        if self.open {
            columns.present_texts(true, |text| self.take(text));
            return;
        }
        for texts in columns.texts() {
            for row in 0..columns.rows() {
                if !texts.repeats(row) {
                    self.take(texts.get(row));
                }
            }
        }
    }

    fn state(&self) -> Vec<u8> {
        state_of(&self.texts)
    }

    fn merge(&mut self, state: &mut State<'_>) {
        while !state.is_empty() {
            self.take(&state.text());
        }
    }

    fn value(&mut self) -> Result<ScalarValue> {
        let mut texts: Vec<&String> = self.texts.iter().collect();
        // Different ways to write a number are equal in the order of values.
        texts.sort_by(|left, right| compare(left, right).then_with(|| left.cmp(right)));
        let mut text = String::new();
        write_array(texts, &mut text);
        Ok(array(text))
    }

    fn size(&self) -> usize {
        self.bytes
    }
}

/// Records as texts, each the JSON object of one.
#[derive(Clone, Debug)]
pub(super) struct Records {
    names: Vec<String>,
    most: usize,
    objects: Vec<String>,
    bytes: usize,
}

impl Records {
    pub(super) fn new(names: Vec<String>, limit: Option<u64>) -> Self {
        Self {
            names,
            most: most(limit),
            objects: Vec::new(),
            bytes: 0,
        }
    }

    fn take(&mut self, object: String) {
        self.bytes += object.len() + TEXT_BYTES;
        self.objects.push(object);
    }
}

impl Fold for Records {
    fn value_type() -> DataType {
        DataType::Utf8View
    }

    fn update(&mut self, columns: &Columns) {
        let mut values = Vec::new();
        for row in 0..columns.rows() {
            if self.objects.len() >= self.most {
                return;
            }
            columns.row(row, &mut values);
            let mut object = String::new();
            write_json(&self.names, &values, &mut object);
            self.take(object);
        }
    }

    fn state(&self) -> Vec<u8> {
        state_of(&self.objects)
    }

    fn merge(&mut self, state: &mut State<'_>) {
        while !state.is_empty() && self.objects.len() < self.most {
            let object = state.text();
            self.take(object);
        }
    }

    fn value(&mut self) -> Result<ScalarValue> {
        let mut text = String::new();
        write_array(&self.objects, &mut text);
        Ok(array(text))
    }

    fn size(&self) -> usize {
        self.bytes
    }
}

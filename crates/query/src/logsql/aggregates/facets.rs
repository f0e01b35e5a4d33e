//! Which fields records have, and which values of them are frequent.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, ListArray, StringViewArray, StructArray};
use arrow_schema::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use logmill_lang::ast::Facets;

use super::fold::{Columns, Fold, State, write_number, write_text};
use crate::logsql::functions::Object;

fn members(names: &[&'static str]) -> DataType {
    let fields = names.iter().map(|name| {
        let kind = if *name == "hits" {
            DataType::Int64
        } else {
            DataType::Utf8View
        };
        Field::new(*name, kind, true)
    });
    DataType::Struct(fields.collect())
}

fn list_of(names: &[&'static str]) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(members(names), true)))
}

/// A list of structs as one value.
fn list(names: &[&'static str], columns: Vec<ArrayRef>) -> ScalarValue {
    let DataType::Struct(fields) = members(names) else {
        return ScalarValue::Null;
    };
    let items = StructArray::new(fields, columns, None);
    let item = Arc::new(Field::new_list_field(members(names), true));
    let offsets = arrow_buffer::OffsetBuffer::from_lengths([items.len()]);
    ScalarValue::List(Arc::new(ListArray::new(
        item,
        offsets,
        Arc::new(items),
        None,
    )))
}

fn numbers(hits: impl Iterator<Item = u64>) -> ArrayRef {
    let hits = hits.map(|hits| i64::try_from(hits).unwrap_or(i64::MAX));
    Arc::new(Int64Array::from_iter_values(hits))
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(texts))
}

const NAMES: [&str; 2] = ["name", "hits"];
const VALUES: [&str; 3] = ["field_name", "field_value", "hits"];

/// How many records have which field.
#[derive(Clone, Debug)]
pub(super) struct Names {
    names: Vec<String>,
    hits: HashMap<String, u64>,
}

impl Names {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self {
            names,
            hits: HashMap::new(),
        }
    }

    fn add(&mut self, name: &str, hits: u64) {
        match self.hits.get_mut(name) {
            Some(own) => *own += hits,
            None => {
                self.hits.insert(name.to_owned(), hits);
            }
        }
    }
}

impl Fold for Names {
    fn value_type() -> DataType {
        list_of(&NAMES)
    }

    fn update(&mut self, columns: &Columns) {
        let Some((open, texts)) = columns.texts().split_last() else {
            return;
        };
        let rows = columns.rows();
        let names = std::mem::take(&mut self.names);
        for (name, texts) in names.iter().zip(texts) {
            let hits = (0..rows).filter(|row| !texts.get(*row).is_empty()).count();
            if hits > 0 {
                self.add(name, hits as u64);
            }
        }
        self.names = names;
        for row in 0..rows {
            for (name, _) in Object::read(open.get(row)).into_texts() {
                self.add(&name, 1);
            }
        }
    }

    fn state(&self) -> Vec<u8> {
        let mut state = Vec::new();
        for (name, hits) in &self.hits {
            write_text(name, &mut state);
            write_number(*hits, &mut state);
        }
        state
    }

    fn merge(&mut self, state: &mut State<'_>) {
        while !state.is_empty() {
            let name = state.text();
            let hits = state.number();
            self.add(&name, hits);
        }
    }

    fn value(&mut self) -> Result<ScalarValue> {
        let mut hits: Vec<(&String, &u64)> = self.hits.iter().collect();
        hits.sort();
        let names = texts(hits.iter().map(|(name, _)| name.as_str()));
        let hits = numbers(hits.iter().map(|(_, hits)| **hits));
        Ok(list(&NAMES, vec![names, hits]))
    }

    fn size(&self) -> usize {
        let names = self.hits.keys();
        names.map(|name| name.len() + 48).sum()
    }
}

/// The values of one field, as long as they are few and short.
#[derive(Clone, Debug, Default)]
struct Counts {
    hits: HashMap<String, u64>,
    too_many: bool,
}

/// How many records have which value of which field.
#[derive(Clone, Debug)]
pub(super) struct Values {
    names: Vec<String>,
    facets: Facets,
    fields: HashMap<String, Counts>,
    records: u64,
    bytes: usize,
}

impl Values {
    pub(super) fn new(names: Vec<String>, facets: Facets) -> Self {
        Self {
            names,
            facets,
            fields: HashMap::new(),
            records: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, name: &str, value: &str, hits: u64) {
        if !self.fields.contains_key(name) {
            self.bytes += name.len() + 64;
            self.fields.insert(name.to_owned(), Counts::default());
        }
        let Some(counts) = self.fields.get_mut(name) else {
            return;
        };
        if counts.too_many {
            return;
        }
        if let Some(own) = counts.hits.get_mut(value) {
            *own += hits;
            return;
        }
        let most = usize::try_from(self.facets.max_values_per_field).unwrap_or(usize::MAX);
        if value.len() as u64 > self.facets.max_value_len || counts.hits.len() >= most {
            *counts = Counts {
                hits: HashMap::new(),
                too_many: true,
            };
            return;
        }
        self.bytes += value.len() + 48;
        counts.hits.insert(value.to_owned(), hits);
    }

    fn is_too_many(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|counts| counts.too_many)
    }
}

impl Fold for Values {
    fn value_type() -> DataType {
        list_of(&VALUES)
    }

    fn update(&mut self, columns: &Columns) {
        let Some((open, texts)) = columns.texts().split_last() else {
            return;
        };
        let rows = columns.rows();
        self.records += rows as u64;
        let names = std::mem::take(&mut self.names);
        for (name, texts) in names.iter().zip(texts) {
            let mut begun = 0;
            for row in 0..rows {
                // Equal values that follow one another are counted as one.
                let ends = row + 1 == rows || !texts.repeats(row + 1);
                if !ends {
                    continue;
                }
                let hits = (row + 1 - begun) as u64;
                begun = row + 1;
                let value = texts.get(row);
                if !value.is_empty() {
                    self.add(name, value, hits);
                }
                if self.is_too_many(name) {
                    break;
                }
            }
        }
        self.names = names;
        for row in 0..rows {
            for (name, value) in Object::read(open.get(row)).into_texts() {
                self.add(&name, &value, 1);
            }
        }
    }

    fn state(&self) -> Vec<u8> {
        let mut state = Vec::new();
        write_number(self.records, &mut state);
        for (name, counts) in &self.fields {
            write_text(name, &mut state);
            write_number(u64::from(counts.too_many), &mut state);
            write_number(counts.hits.len() as u64, &mut state);
            for (value, hits) in &counts.hits {
                write_text(value, &mut state);
                write_number(*hits, &mut state);
            }
        }
        state
    }

    fn merge(&mut self, state: &mut State<'_>) {
        self.records += state.number();
        while !state.is_empty() {
            let name = state.text();
            if state.number() != 0 {
                let counts = self.fields.entry(name.clone()).or_default();
                counts.too_many = true;
                counts.hits.clear();
            }
            for _ in 0..state.number() {
                let value = state.text();
                let hits = state.number();
                self.add(&name, &value, hits);
            }
        }
    }

    fn value(&mut self) -> Result<ScalarValue> {
        let mut found: Vec<(&str, &str, u64)> = Vec::new();
        let mut fields: Vec<_> = self.fields.iter().collect();
        fields.sort_by_key(|(name, _)| name.as_str());
        let most = usize::try_from(self.facets.limit).unwrap_or(usize::MAX);
        for (name, counts) in fields {
            let is_constant =
                counts.hits.len() == 1 && counts.hits.values().all(|hits| *hits == self.records);
            if counts.too_many || (is_constant && !self.facets.keep_const_fields) {
                continue;
            }
            let mut values: Vec<_> = counts.hits.iter().collect();
            values.sort_by(|left, right| right.1.cmp(left.1).then_with(|| left.0.cmp(right.0)));
            let values = values.into_iter().take(most);
            found.extend(values.map(|(value, hits)| (name.as_str(), value.as_str(), *hits)));
        }
        let names = texts(found.iter().map(|(name, ..)| *name));
        let values = texts(found.iter().map(|(_, value, _)| *value));
        let hits = numbers(found.iter().map(|(_, _, hits)| *hits));
        Ok(list(&VALUES, vec![names, values, hits]))
    }

    fn size(&self) -> usize {
        self.bytes
    }
}

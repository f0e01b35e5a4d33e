//! The union of many batches' schemas: a tenant's table as a reader sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use logmill_model::field;

use crate::ColumnType;

/// A table's columns and their joined types. The canonical columns are always there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    attributes: BTreeMap<String, ColumnType>,
}

impl Default for TableSchema {
    fn default() -> Self {
        Self::new()
    }
}

impl TableSchema {
    /// The canonical columns alone.
    pub fn new() -> Self {
        Self {
            attributes: BTreeMap::new(),
        }
    }

    /// Takes in a column: adds it, or joins its type. Canonical columns have their type already.
    pub fn add(&mut self, name: &str, column_type: ColumnType) {
        if field::CANONICAL.contains(&name) {
            return;
        }
        match self.attributes.get_mut(name) {
            Some(known) => *known = known.join(column_type),
            None => {
                self.attributes.insert(name.to_owned(), column_type);
            }
        }
    }

    /// Takes in every column of a batch's or segment's Arrow schema.
    pub fn merge(&mut self, schema: &Schema) {
        for arrow_field in schema.fields() {
            let column_type = ColumnType::of(arrow_field).unwrap_or(ColumnType::String);
            self.add(arrow_field.name(), column_type);
        }
    }

    /// The type of a column, if there is one of that name.
    pub fn column(&self, name: &str) -> Option<ColumnType> {
        if field::CANONICAL.contains(&name) {
            return Some(canonical_type(name));
        }
        self.attributes.get(name).copied()
    }

    /// All columns: the canonical ones in their order, then attributes by name.
    pub fn columns(&self) -> impl Iterator<Item = (&str, ColumnType)> {
        let canonical = field::CANONICAL
            .iter()
            .map(|name| (*name, canonical_type(name)));
        canonical.chain(
            self.attributes
                .iter()
                .map(|(name, kind)| (name.as_str(), *kind)),
        )
    }

    /// The Arrow schema, columns in the order of [`TableSchema::columns`].
    pub fn to_arrow(&self) -> SchemaRef {
        let fields: Vec<_> = self
            .columns()
            .map(|(name, kind)| kind.field(name))
            .collect();
        Arc::new(Schema::new(fields))
    }
}

fn canonical_type(name: &str) -> ColumnType {
    if name == field::TIMESTAMP {
        ColumnType::Timestamp
    } else {
        ColumnType::String
    }
}

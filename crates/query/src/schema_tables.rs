//! `information_schema`: the one table and its columns, under the names that PostgreSQL gives their types.

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::common::Result;

use crate::session::{CATALOG, TABLE};

/// A type as PostgreSQL knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PostgresType {
    /// Its number in `pg_type`.
    pub(crate) oid: i64,
    /// Its name in `pg_type`.
    pub(crate) short: &'static str,
    /// Its name in SQL.
    pub(crate) name: &'static str,
    /// Bytes of a value; -1 where they vary.
    pub(crate) length: i64,
}

/// The types that columns and answers have.
pub(crate) const TYPES: [PostgresType; 11] = [
    postgres_type(16, "bool", "boolean", 1),
    postgres_type(17, "bytea", "bytea", -1),
    postgres_type(20, "int8", "bigint", 8),
    postgres_type(21, "int2", "smallint", 2),
    postgres_type(23, "int4", "integer", 4),
    postgres_type(25, "text", "text", -1),
    postgres_type(701, "float8", "double precision", 8),
    postgres_type(1082, "date", "date", 4),
    postgres_type(1114, "timestamp", "timestamp without time zone", 8),
    postgres_type(1184, "timestamptz", "timestamp with time zone", 8),
    postgres_type(1700, "numeric", "numeric", -1),
];

const fn postgres_type(
    oid: i64,
    short: &'static str,
    name: &'static str,
    length: i64,
) -> PostgresType {
    PostgresType {
        oid,
        short,
        name,
        length,
    }
}

/// The type of a column of the table.
pub(crate) fn type_of(data_type: &DataType) -> PostgresType {
    let oid = match data_type {
        DataType::Boolean => 16,
        DataType::Int64 => 20,
        DataType::Float64 => 701,
        DataType::Timestamp(_, _) => 1184,
        _ => 25,
    };
    let found = TYPES.into_iter().find(|kind| kind.oid == oid);
    found.expect("all of these are among the types")
}

/// Tables about the table `logs`, made when they are asked for.
pub(crate) struct InformationSchema {
    pub(crate) logs: SchemaRef,
}

impl fmt::Debug for InformationSchema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InformationSchema")
    }
}

const NAMES: [&str; 4] = ["tables", "columns", "schemata", "views"];

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        NAMES.map(str::to_owned).to_vec()
    }

    fn table_exist(&self, name: &str) -> bool {
        NAMES.contains(&name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let place = || {
            [
                ("table_catalog", CATALOG.0),
                ("table_schema", CATALOG.1),
                ("table_name", TABLE),
            ]
        };
        let columns = match name {
            "tables" => place()
                .into_iter()
                .chain([("table_type", "BASE TABLE")])
                .map(|(name, value)| (name, texts([value])))
                .collect(),
            "columns" => self.columns(),
            "schemata" => {
                let row = [
                    ("catalog_name", CATALOG.0),
                    ("schema_name", CATALOG.1),
                    ("schema_owner", CATALOG.0),
                ];
                row.map(|(name, value)| (name, texts([value]))).to_vec()
            }
            "views" => place()
                .into_iter()
                .chain([("view_definition", "")])
                .map(|(name, _)| (name, texts([])))
                .collect(),
            _ => return Ok(None),
        };
        in_memory(columns).map(Some)
    }
}

impl InformationSchema {
    fn columns(&self) -> Vec<(&'static str, ArrayRef)> {
        let fields = || self.logs.fields().iter();
        let all = |value: &'static str| texts(fields().map(|_field| value));
        let none = || -> ArrayRef { Arc::new(Int64Array::new_null(self.logs.fields().len())) };
        let types = || fields().map(|field| type_of(field.data_type()));
        let nullable = fields().map(|field| if field.is_nullable() { "YES" } else { "NO" });
        vec![
            ("table_catalog", all(CATALOG.0)),
            ("table_schema", all(CATALOG.1)),
            ("table_name", all(TABLE)),
            (
                "column_name",
                texts(fields().map(|field| field.name().as_str())),
            ),
            (
                "ordinal_position",
                integers(1..=self.logs.fields().len() as i64),
            ),
            (
                "column_default",
                Arc::new(StringArray::new_null(self.logs.fields().len())),
            ),
            ("is_nullable", texts(nullable)),
            ("data_type", texts(types().map(|kind| kind.name))),
            ("character_maximum_length", none()),
            ("numeric_precision", none()),
            ("numeric_scale", none()),
            ("datetime_precision", none()),
            ("udt_schema", all("pg_catalog")),
            ("udt_name", texts(types().map(|kind| kind.short))),
        ]
    }
}

/// A column of texts.
pub(crate) fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// A column of integers.
pub(crate) fn integers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// A small table.
pub(crate) fn in_memory(columns: Vec<(&str, ArrayRef)>) -> Result<Arc<dyn TableProvider>> {
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
    Ok(Arc::new(MemTable::try_new(
        batch.schema(),
        vec![vec![batch]],
    )?))
}

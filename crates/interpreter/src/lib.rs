//! LogsQL over plain records: every filter, pipe and function as its documentation says it, one record after the other.
//!
//! Tests hold the engine against it, so it is clear rather than fast, shares nothing with the engine but the syntax tree
//! and the functions on single values, and knows neither columns nor types: a record is a map of names to texts.
//!
//! What is left to chance is left out of comparisons by those who compare: which records `limit` takes of unordered ones,
//! the order of equal ones, which record `row_any` shows.

mod filter;
mod pipes;
mod stats;

use std::collections::BTreeMap;

use logmill_lang::Query;
use logmill_lang::ast::Values;
use logmill_lang::value::{hash, time};
use logmill_model::TimeRange;

/// A record: names of fields and their values, none of them empty.
pub type Row = BTreeMap<String, String>;

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It makes no sense here.
    #[error("not supported: {0}")]
    NotSupported(String),
    /// A regular expression or a pattern in it is none.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    fn invalid(error: impl std::error::Error) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;

/// Stored records, and when and for which time they are asked.
#[derive(Clone, Debug)]
pub struct Interpreter<'a> {
    /// The records: `_time` (RFC 3339), `_msg`, `_stream` and whatever else they have.
    pub records: &'a [Row],
    /// What is now, in nanoseconds since the epoch.
    pub now_ns: i64,
    /// The time that is asked for beside what a query says.
    pub range: TimeRange,
}

impl Interpreter<'_> {
    /// The answer to a query.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn run(&self, query: &Query) -> Result<Vec<Row>> {
        self.rows(query).map(|rows| rows.rows)
    }

    fn rows(&self, query: &Query) -> Result<Rows> {
        let range = match query.options.ignore_global_time_filter {
            Some(true) => TimeRange::ALL,
            _ => self.range,
        };
        let in_range = |row: &&Row| {
            let t_ns = time::parse_rfc3339(get(row, "_time"));
            range == TimeRange::ALL || t_ns.is_some_and(|t_ns| range.contains(t_ns))
        };
        let mut rows = Rows {
            rows: self.records.iter().filter(in_range).cloned().collect(),
            are_stored: true,
        };
        self.filter(&mut rows, &query.filter)?;
        for pipe in &query.pipes {
            self.pipe(&mut rows, pipe, query, range)?;
        }
        Ok(rows)
    }

    /// The values of a list, or those that a query gives.
    fn values(&self, values: &Values) -> Result<Vec<String>> {
        match values {
            Values::List(list) => Ok(list.clone()),
            Values::Query(query) => {
                let field = query.value_field().ok_or_else(|| {
                    Error::NotSupported("a subquery that does not end in one field".to_owned())
                })?;
                let rows = self.rows(query)?;
                Ok(rows.rows.iter().map(|row| rows.get(row, field)).collect())
            }
        }
    }
}

/// Records at a place among the pipes.
#[derive(Clone, Debug)]
struct Rows {
    rows: Vec<Row>,
    /// Whether they are stored records, whatever was done to them: `timestamp` and `message` are then other names of
    /// `_time` and `_msg`, and streams have an id.
    are_stored: bool,
}

impl Rows {
    /// Computed records.
    fn computed(rows: Vec<Row>) -> Self {
        Self {
            rows,
            are_stored: false,
        }
    }

    /// The value of a field, empty if there is none.
    fn get(&self, row: &Row, name: &str) -> String {
        if let Some(value) = row.get(name) {
            return value.clone();
        }
        match name {
            "timestamp" if self.are_stored => get(row, "_time").to_owned(),
            "message" if self.are_stored => get(row, "_msg").to_owned(),
            "_stream_id" if self.are_stored => hash::stream_id(get(row, "_stream")),
            _ => String::new(),
        }
    }

    /// The name under which a record has the field.
    fn own_name<'n>(&self, row: &Row, name: &'n str) -> &'n str {
        match name {
            "timestamp" if self.are_stored && !row.contains_key(name) => "_time",
            "message" if self.are_stored && !row.contains_key(name) => "_msg",
            _ => name,
        }
    }

    fn remove(&self, row: &mut Row, name: &str) {
        row.remove(self.own_name(row, name));
    }
}

fn get<'r>(row: &'r Row, name: &str) -> &'r str {
    row.get(name).map_or("", String::as_str)
}

/// Gives a field a value; the empty one takes it away.
fn set(row: &mut Row, name: &str, value: impl Into<String>) {
    let value = value.into();
    if value.is_empty() {
        row.remove(name);
    } else {
        row.insert(name.to_owned(), value);
    }
}

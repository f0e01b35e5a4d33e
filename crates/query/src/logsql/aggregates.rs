//! Aggregate functions of LogsQL that the engine has not: over values of any type, as the texts that records show.
//!
//! Each is a [`Fold`]: it takes rows, joins with others of its kind through bytes, and ends in a value. What it holds is
//! counted as memory of the query.

mod collect;
mod extreme;
mod facets;
mod fold;
mod histogram;
mod quantile;
mod row;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{AggregateUDF, Expr, lit};
use logmill_lang::ast::Facets;

use super::scope::Scope;
use fold::{Aggregate, Fold};

pub(super) use extreme::is_ranked;

fn call<F: Fold>(name: &'static str, spec: String, fold: F, mut values: Vec<Expr>) -> Expr {
    if values.is_empty() {
        // An aggregate is of something.
        values.push(lit(ScalarValue::Utf8View(None)));
    }
    AggregateUDF::from(Aggregate::new(name, spec, fold)).call(values)
}

/// The least or the greatest of texts, in their natural order.
pub(super) fn extreme(values: Vec<Expr>, greatest: bool) -> Expr {
    let name = if greatest { "max_text" } else { "min_text" };
    call(name, String::new(), extreme::Extreme::new(greatest), values)
}

/// The value at a place, `0..=1`, of all values in their order: a number, where all values are numbers by their type.
pub(super) fn quantile(mut values: Vec<Expr>, open: Option<Expr>, phi: f64, numbers: bool) -> Expr {
    let is_open = open.is_some();
    values.extend(open);
    if numbers && !is_open {
        call(
            "quantile",
            phi.to_string(),
            quantile::Numbers::new(phi),
            values,
        )
    } else {
        let spec = format!("{phi} {is_open}");
        call(
            "quantile_text",
            spec,
            quantile::Texts::new(phi, is_open),
            values,
        )
    }
}

/// How many numbers fell in which bucket, as a JSON array.
pub(super) fn histogram(value: Expr) -> Expr {
    call(
        "histogram",
        String::new(),
        histogram::Histogram::default(),
        vec![value],
    )
}

/// The values, as a JSON array: all of them, or each once and in order. `open` is an object of further fields.
pub(super) fn values(
    mut values: Vec<Expr>,
    open: Option<Expr>,
    unique: bool,
    limit: Option<u64>,
) -> Expr {
    let is_open = open.is_some();
    values.extend(open);
    let spec = format!("{limit:?} {is_open}");
    if unique {
        call(
            "uniq_values",
            spec,
            collect::Unique::new(limit, is_open),
            values,
        )
    } else {
        call("values", spec, collect::All::new(limit, is_open), values)
    }
}

/// The records, as a JSON array of objects of these fields. The last value is an object of further fields.
pub(super) fn json_values(names: Vec<String>, values: Vec<Expr>, limit: Option<u64>) -> Expr {
    let spec = format!("{names:?} {limit:?}");
    call(
        "json_values",
        spec,
        collect::Records::new(names, limit),
        values,
    )
}

/// Which record is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    Any,
    Least,
    Greatest,
}

/// A record, as a JSON object of these fields. The last value is an object of further fields.
pub(super) fn row(pick: Pick, by: Option<Expr>, names: Vec<String>, values: Vec<Expr>) -> Expr {
    let name = match pick {
        Pick::Any => "row_any",
        Pick::Least => "row_min",
        Pick::Greatest => "row_max",
    };
    let spec = format!("{names:?}");
    let by = by.unwrap_or_else(|| lit(""));
    let values = [by].into_iter().chain(values).collect();
    call(name, spec, row::Row::new(pick, names), values)
}

/// The columns of records and the object of their other fields.
fn all_fields(scope: &Scope) -> (Vec<String>, Vec<Expr>) {
    let mut names = Vec::new();
    let mut values = Vec::new();
    for (name, value) in scope.columns() {
        names.push(name.to_owned());
        values.push(value.expr.clone());
    }
    values.push(scope.open().unwrap_or_else(|| lit("")));
    (names, values)
}

/// How many records have which field, as a list of `{name, hits}`.
pub(super) fn field_names(scope: &Scope) -> Expr {
    let (names, values) = all_fields(scope);
    let spec = format!("{names:?}");
    call("field_names", spec, facets::Names::new(names), values)
}

/// How many records have which value of which field, as a list of `{field_name, field_value, hits}`.
pub(super) fn facets(scope: &Scope, facets: &Facets) -> Expr {
    let (names, values) = all_fields(scope);
    let spec = format!("{names:?} {facets:?}");
    call(
        "facets",
        spec,
        facets::Values::new(names, facets.clone()),
        values,
    )
}

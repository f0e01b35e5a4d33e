//! Structured conditions as DataFusion expressions, by the type of each column.

use arrow_schema::DataType;
use datafusion::common::{Column, ScalarValue};
use datafusion::functions::regex::expr_fn::regexp_like;
use datafusion::functions::string::expr_fn::starts_with;
use datafusion::logical_expr::{Expr, cast, lit, try_cast};
use logmill_model::{TimeRange, field, time};
use logmill_query_api::{Condition, Filter, Literal, TextQuery};
use logmill_schema::{ColumnType, TableSchema};

use crate::functions;

/// A name as an expression; `None` when no record of the tenant can have it.
pub(crate) fn named(table: &TableSchema, name: &str) -> Option<(Expr, ColumnType)> {
    if let Some(kind) = table.column(name) {
        return Some((Expr::Column(Column::new_unqualified(name)), kind));
    }
    table.column(field::OVERFLOW)?;
    let overflow = Expr::Column(Column::new_unqualified(field::OVERFLOW));
    let value = functions::overflow_get().call(vec![overflow, lit(name)]);
    Some((value, ColumnType::String))
}

/// A time as a literal of the column's type.
pub(crate) fn time_literal(t_ns: i64) -> Expr {
    Expr::Literal(
        ScalarValue::TimestampNanosecond(Some(t_ns), Some("UTC".into())),
        None,
    )
}

/// The `timestamp` column.
pub(crate) fn timestamp() -> Expr {
    Expr::Column(Column::new_unqualified(field::TIMESTAMP))
}

/// Records in a range of time.
pub(crate) fn in_range(range: TimeRange) -> Expr {
    timestamp()
        .gt_eq(time_literal(range.start_ns))
        .and(timestamp().lt(time_literal(range.end_ns)))
}

/// Records whose message has all terms; the function folds their tokens.
pub(crate) fn has_text(text: &TextQuery) -> Option<Expr> {
    let message = || Expr::Column(Column::new_unqualified(field::MESSAGE));
    text.terms
        .iter()
        .map(|tokens| contains(message(), tokens))
        .reduce(Expr::and)
}

fn contains(text: Expr, tokens: &[String]) -> Expr {
    functions::has_phrase().call(vec![text, lit(tokens.join(" "))])
}

/// Records that satisfy a condition. `None` for the value's expression: no record has the field.
pub(crate) fn condition(table: &TableSchema, filter: &Filter) -> Expr {
    let Some((value, kind)) = named(table, &filter.field) else {
        let holds_of_absence = matches!(
            filter.condition,
            Condition::NotIn(_) | Condition::Exists(false)
        );
        return lit(holds_of_absence);
    };
    match &filter.condition {
        Condition::In(literals) => is_in(&value, kind, literals),
        Condition::NotIn(literals) => value
            .clone()
            .is_null()
            .or(Expr::Not(Box::new(is_in(&value, kind, literals)))),
        Condition::Greater(bound) => compare(&value, kind, bound, Expr::gt),
        Condition::GreaterOrEqual(bound) => compare(&value, kind, bound, Expr::gt_eq),
        Condition::Less(bound) => compare(&value, kind, bound, Expr::lt),
        Condition::LessOrEqual(bound) => compare(&value, kind, bound, Expr::lt_eq),
        Condition::Prefix(prefix) => starts_with(text_of(value, kind), lit(prefix.as_str())),
        Condition::Contains(tokens) => contains(text_of(value, kind), tokens),
        Condition::Regex(pattern) => regexp_like(text_of(value, kind), lit(pattern.as_str()), None),
        Condition::Exists(true) => value.is_not_null(),
        Condition::Exists(false) => value.is_null(),
    }
}

fn is_in(value: &Expr, kind: ColumnType, literals: &[Literal]) -> Expr {
    let literals: Vec<Expr> = literals
        .iter()
        .filter_map(|literal| literal_of(kind, literal))
        .collect();
    match literals.as_slice() {
        [] => lit(false),
        [one] => value.clone().eq(one.clone()),
        _ => value.clone().in_list(literals, false),
    }
}

/// A literal as a column of this type has it; `None` when no value of the column is equal to it.
#[allow(
    clippy::cast_possible_truncation,
    reason = "whole and within 2^53, so exact"
)]
fn literal_of(kind: ColumnType, literal: &Literal) -> Option<Expr> {
    match kind {
        ColumnType::String => Some(lit(text_literal(literal))),
        ColumnType::Boolean => match literal {
            Literal::Boolean(value) => Some(lit(*value)),
            Literal::String(text) => text.parse::<bool>().ok().map(lit),
            _ => None,
        },
        ColumnType::Integer | ColumnType::WideInteger => match literal {
            Literal::Integer(value) => Some(lit(*value)),
            Literal::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => {
                Some(lit(*value as i64))
            }
            Literal::String(text) => text.parse::<i64>().ok().map(lit),
            _ => None,
        },
        ColumnType::Float => number(literal).map(lit),
        ColumnType::Timestamp => time_of(literal).map(time_literal),
    }
}

fn compare(
    value: &Expr,
    kind: ColumnType,
    bound: &Literal,
    operator: impl Fn(Expr, Expr) -> Expr,
) -> Expr {
    let compared = match (kind, bound) {
        // A bound between two integers.
        (ColumnType::Integer | ColumnType::WideInteger, Literal::Float(bound)) => Some(operator(
            cast(value.clone(), DataType::Float64),
            lit(*bound),
        )),
        // A column where numbers and text met, compared with a number: by what is a number in it.
        (ColumnType::String, Literal::Integer(_) | Literal::Float(_)) => number(bound)
            .map(|bound| operator(try_cast(value.clone(), DataType::Float64), lit(bound))),
        _ => literal_of(kind, bound).map(|bound| operator(value.clone(), bound)),
    };
    compared.unwrap_or_else(|| lit(false))
}

/// A value as text.
pub(crate) fn text_of(value: Expr, kind: ColumnType) -> Expr {
    if kind == ColumnType::String {
        value
    } else {
        cast(value, DataType::Utf8View)
    }
}

fn text_literal(literal: &Literal) -> String {
    match literal {
        Literal::Boolean(value) => value.to_string(),
        Literal::Integer(value) => value.to_string(),
        Literal::Float(value) => serde_json::Value::from(*value).to_string(),
        Literal::String(text) => text.clone(),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a float column is compared as floats are"
)]
fn number(literal: &Literal) -> Option<f64> {
    match literal {
        Literal::Integer(value) => Some(*value as f64),
        Literal::Float(value) => Some(*value),
        Literal::String(text) => text.parse().ok(),
        Literal::Boolean(_) => None,
    }
}

fn time_of(literal: &Literal) -> Option<i64> {
    match literal {
        Literal::Integer(value) => time::parse_epoch_i64(*value),
        Literal::Float(value) => time::parse_epoch_f64(*value),
        Literal::String(text) => time::parse_timestamp(text),
        Literal::Boolean(_) => None,
    }
}

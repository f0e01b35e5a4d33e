//! Conditions on values that are no texts, as comparisons of their own type: pruning understands these, and no value
//! has to be written to be looked at.

use arrow_schema::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, cast, lit};
use logmill_lang::ast::{Bound, Comparison, Matcher, Number, Operand};
use logmill_lang::value;

use super::super::scope::{Kind, Value};
use super::list;
use crate::predicate::time_literal;

/// Whole numbers up to here are exact as floating point numbers.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The condition; `None` where only the text of the value decides.
pub(super) fn condition(value: &Value, matcher: &Matcher) -> Result<Option<Expr>> {
    if value.kind == Kind::Text {
        return Ok(None);
    }
    Ok(match matcher {
        Matcher::Exact(text) if !text.is_empty() => Some(is_one_of(value, [text])),
        Matcher::In(values) => {
            let values = list(values)?;
            let is_empty = values.iter().any(String::is_empty);
            let is_empty = is_empty.then(|| value.expr.clone().is_null());
            let present = values.iter().filter(|text| !text.is_empty());
            let is_one = is_one_of(value, present);
            Some([is_one].into_iter().chain(is_empty).fold(lit(false), or))
        }
        // A word of a whole number is all of its digits.
        Matcher::Phrase(text) if value.kind == Kind::Integer && is_digits(text) => {
            let negative = format!("-{text}");
            Some(is_one_of(value, [text, &negative]))
        }
        Matcher::Compare {
            comparison,
            operand: Operand::Number(number),
        } => compare(value, *comparison, number),
        Matcher::Range(range) => {
            let comparison = |bound: &Bound, less: [Comparison; 2]| {
                let comparison = less[usize::from(bound.inclusive)];
                compare(value, comparison, &bound.number)
            };
            let above = [Comparison::Greater, Comparison::GreaterOrEqual];
            let below = [Comparison::Less, Comparison::LessOrEqual];
            let min = comparison(&range.min, above);
            let max = comparison(&range.max, below);
            min.zip(max).map(|(min, max)| min.and(max))
        }
        _ => None,
    })
}

fn or(left: Expr, right: Expr) -> Expr {
    if left == lit(false) {
        right
    } else {
        left.or(right)
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the value is one of those that the texts are; a text that no value of the type shows is none.
fn is_one_of<'a>(value: &Value, texts: impl IntoIterator<Item = &'a String>) -> Expr {
    let literals = texts.into_iter().filter_map(|text| match value.kind {
        Kind::Integer => {
            let number: i64 = text.parse().ok()?;
            (number.to_string() == *text).then(|| lit(number))
        }
        Kind::Float => value::number::parse_decimal(text).map(lit),
        Kind::Boolean => text.parse::<bool>().ok().map(lit),
        Kind::Time => value::time::parse_rfc3339(text).map(time_literal),
        Kind::Text => Some(lit(text.as_str())),
    });
    let literals: Vec<Expr> = literals.collect();
    match literals.as_slice() {
        [] => lit(false),
        [only] => value.expr.clone().eq(only.clone()),
        _ => value.expr.clone().in_list(literals, false),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "whole and exact, or a time of which no more is known"
)]
fn compare(value: &Value, comparison: Comparison, bound: &Number) -> Option<Expr> {
    let may_be_nan = value.may_be_nan();
    let (value, bound) = match value.kind {
        Kind::Integer if bound.value.fract() == 0.0 && bound.value.abs() < EXACT_MAX => {
            (value.expr.clone(), lit(bound.value as i64))
        }
        Kind::Integer => (
            cast(value.expr.clone(), DataType::Float64),
            lit(bound.value),
        ),
        Kind::Float => (value.expr.clone(), lit(bound.value)),
        Kind::Time => {
            let t_ns = value::time::parse_rfc3339(&bound.text).unwrap_or(bound.value as i64);
            (value.expr.clone(), time_literal(t_ns))
        }
        Kind::Boolean => return Some(lit(false)),
        Kind::Text => return None,
    };
    // The engine's order has NaN after everything.
    let is_number = || value.clone().lt_eq(lit(f64::INFINITY));
    Some(match comparison {
        Comparison::Greater if may_be_nan => value.clone().gt(bound).and(is_number()),
        Comparison::GreaterOrEqual if may_be_nan => value.clone().gt_eq(bound).and(is_number()),
        Comparison::Less => value.lt(bound),
        Comparison::LessOrEqual => value.lt_eq(bound),
        Comparison::Greater => value.gt(bound),
        Comparison::GreaterOrEqual => value.gt_eq(bound),
    })
}

//! Filters as a condition on the tokens and columns of a segment.

use arrow_schema::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{InList, Like, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use logmill_model::{json, token};

use super::pieces::{Piece, certain_tokens, literal, literal_in_any_case};
use super::{like, regex};

/// Values of a list that are looked up; a longer list is not.
const LIST_MAX: usize = 256;

/// What a granule has if it has a match. The other way round it need not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Anything.
    Unknown,
    /// A value of the column.
    Present(String),
    /// This token, in any case, in the column, if it is of text; a value of it else.
    Token(String, String),
    /// All of these.
    And(Vec<Condition>),
    /// One of these.
    Or(Vec<Condition>),
}

impl Condition {
    fn and(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts: Vec<_> = parts
            .into_iter()
            .filter(|part| *part != Self::Unknown)
            .collect();
        match <[Self; 1]>::try_from(parts) {
            Ok([only]) => only,
            Err(parts) if parts.is_empty() => Self::Unknown,
            Err(parts) => Self::And(parts),
        }
    }

    fn or(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts: Vec<_> = parts.into_iter().collect();
        if parts.contains(&Self::Unknown) {
            return Self::Unknown;
        }
        match <[Self; 1]>::try_from(parts) {
            Ok([only]) => only,
            Err(parts) => Self::Or(parts),
        }
    }
}

/// What a row has of which all `filters` are true.
pub(crate) fn condition(filters: &[Expr]) -> Condition {
    Condition::and(filters.iter().map(of))
}

fn of(filter: &Expr) -> Condition {
    match filter {
        Expr::Alias(alias) => of(&alias.expr),
        Expr::IsTrue(inner) => of(inner),
        Expr::IsNotNull(inner) => present(inner),
        Expr::Column(column) => Condition::Present(column.name.clone()),
        Expr::BinaryExpr(binary) => of_binary(binary),
        Expr::InList(list) if !list.negated => of_list(list),
        Expr::Like(like) => of_like(like),
        Expr::Between(between) if !between.negated => present(&between.expr),
        Expr::ScalarFunction(call) => of_call(call),
        _ => Condition::Unknown,
    }
}

fn of_binary(binary: &BinaryExpr) -> Condition {
    let BinaryExpr { left, op, right } = binary;
    match op {
        Operator::And => Condition::and([of(left), of(right)]),
        Operator::Or => Condition::or([of(left), of(right)]),
        Operator::Eq
        | Operator::NotEq
        | Operator::Lt
        | Operator::LtEq
        | Operator::Gt
        | Operator::GtEq => {
            let both = [present(left), present(right)];
            let more = match op {
                Operator::Eq => [equal(left, right), equal(right, left)],
                Operator::Gt => [found_within(left, right), Condition::Unknown],
                Operator::Lt => [found_within(right, left), Condition::Unknown],
                _ => [Condition::Unknown, Condition::Unknown],
            };
            Condition::and(both.into_iter().chain(more))
        }
        Operator::RegexMatch => matches_regex(left, right, ""),
        Operator::RegexIMatch => matches_regex(left, right, "i"),
        Operator::LikeMatch => matches_like(left, right, false),
        Operator::ILikeMatch => matches_like(left, right, true),
        _ => Condition::Unknown,
    }
}

fn of_list(list: &InList) -> Condition {
    let values = if list.list.len() <= LIST_MAX {
        Condition::or(list.list.iter().map(|value| equal(&list.expr, value)))
    } else {
        Condition::Unknown
    };
    Condition::and([present(&list.expr), values])
}

fn of_like(like: &Like) -> Condition {
    // Another escape than the usual one is refused when it comes to evaluation.
    if like.negated || like.escape_char.is_some_and(|escape| escape != '\\') {
        return Condition::Unknown;
    }
    matches_like(&like.expr, &like.pattern, like.case_insensitive)
}

fn of_call(call: &ScalarFunction) -> Condition {
    match (call.name(), call.args.as_slice()) {
        ("has_token" | "has_phrase" | "phrase" | "sequence", [value, wanted]) => {
            match (column(value), text(wanted)) {
                (Some(name), Some(wanted)) => tokens_of(name, wanted),
                _ => present(value),
            }
        }
        ("phrase_any_case", [value, wanted]) => match (column(value), text(wanted)) {
            // What other letters are in lower case depends on too much.
            (Some(name), Some(wanted)) if wanted.is_ascii() => tokens_of(name, wanted),
            _ => present(value),
        },
        ("phrase_prefix_any_case", [value, prefix]) => match (column(value), text(prefix)) {
            (Some(name), Some(prefix)) => {
                let pieces = [Piece::Boundary].into_iter();
                let pieces = pieces.chain(literal_in_any_case(prefix));
                has_pieces(name, &pieces.collect::<Vec<_>>())
            }
            _ => present(value),
        },
        ("regexp", [value, pattern]) => matches_regex(value, pattern, ""),
        ("stream_has", [value, words, _selector]) => match (column(value), text(words)) {
            (Some(name), Some(words)) => tokens_of(name, words),
            _ => present(value),
        },
        // False of what is not there.
        (
            "any" | "compare" | "contains_all" | "contains_any" | "exact" | "in" | "ipv4_range"
            | "len_range" | "range" | "string_range" | "value_type",
            [value, ..],
        ) => present(value),
        ("starts_with" | "exact_prefix" | "phrase_prefix", [value, prefix]) => {
            match (column(value), text(prefix)) {
                (Some(name), Some(prefix)) => {
                    let pieces = [Piece::Boundary].into_iter().chain(literal(prefix));
                    has_pieces(name, &pieces.collect::<Vec<_>>())
                }
                _ => present(value),
            }
        }
        ("contains", [value, part]) => contains(value, part),
        ("regexp_like" | "matches", [value, pattern]) => matches_regex(value, pattern, ""),
        ("regexp_like", [value, pattern, flags]) => match text(flags) {
            Some(flags) => matches_regex(value, pattern, flags),
            None => Condition::Unknown,
        },
        _ => Condition::Unknown,
    }
}

/// `strpos(value, part) > 0`.
fn found_within(call: &Expr, bound: &Expr) -> Condition {
    match (call, bound) {
        (Expr::ScalarFunction(call), Expr::Literal(ScalarValue::Int64(Some(0)), _))
            if call.name() == "strpos" =>
        {
            match call.args.as_slice() {
                [value, part] => contains(value, part),
                _ => Condition::Unknown,
            }
        }
        (Expr::Cast(cast), bound) => found_within(&cast.expr, bound),
        _ => Condition::Unknown,
    }
}

fn contains(value: &Expr, part: &Expr) -> Condition {
    match (column(value), text(part)) {
        (Some(name), Some(part)) => has_pieces(name, &literal(part).collect::<Vec<_>>()),
        _ => present(value),
    }
}

fn matches_like(value: &Expr, pattern: &Expr, any_case: bool) -> Condition {
    match (column(value), text(pattern)) {
        (Some(name), Some(pattern)) => has_pieces(name, &like::pieces(pattern, any_case)),
        _ => present(value),
    }
}

fn matches_regex(value: &Expr, pattern: &Expr, flags: &str) -> Condition {
    let (Some(name), Some(pattern)) = (column(value), text(pattern)) else {
        return present(value);
    };
    match regex::sequences(pattern, flags) {
        Some(sequences) => Condition::or(sequences.iter().map(|pieces| has_pieces(name, pieces))),
        None => Condition::Unknown,
    }
}

/// What a row has in which `value` is equal to a literal.
fn equal(value: &Expr, wanted: &Expr) -> Condition {
    let Some(wanted) = text(wanted) else {
        return Condition::Unknown;
    };
    if let Some(name) = column(value) {
        return tokens_of(name, wanted);
    }
    let Some(overflow) = overflow_column(value) else {
        return Condition::Unknown;
    };
    // A number, a list or an object may be written in several ways.
    let digits = wanted.bytes().all(|byte| byte.is_ascii_digit());
    let may_vary = wanted.starts_with(['[', '{']) || wanted.parse::<f64>().is_ok();
    if may_vary && !digits {
        return Condition::Present(overflow.to_owned());
    }
    let mut written = Vec::new();
    json::write_string(wanted, &mut written);
    tokens_of(overflow, &String::from_utf8_lossy(&written))
}

/// All tokens of a text.
fn tokens_of(name: &str, text: &str) -> Condition {
    let tokens =
        token::tokens(text).map(|(_, token)| Condition::Token(name.to_owned(), token.to_owned()));
    Condition::and(
        [Condition::Present(name.to_owned())]
            .into_iter()
            .chain(tokens),
    )
}

fn has_pieces(name: &str, pieces: &[Piece]) -> Condition {
    let tokens = certain_tokens(pieces).into_iter().map(|texts| {
        let token = |text: &String| Condition::Token(name.to_owned(), text.clone());
        Condition::or(texts.iter().map(token))
    });
    Condition::and(
        [Condition::Present(name.to_owned())]
            .into_iter()
            .chain(tokens),
    )
}

/// What a row has in which a value is not null.
fn present(value: &Expr) -> Condition {
    match column_in_casts(value).or_else(|| overflow_column(value)) {
        Some(name) => Condition::Present(name.to_owned()),
        None => Condition::Unknown,
    }
}

/// The column that a value is, as the text that it has.
fn column(value: &Expr) -> Option<&str> {
    let is_text = |kind: &DataType| {
        matches!(
            kind,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        )
    };
    match value {
        Expr::Column(column) => Some(&column.name),
        Expr::Alias(alias) => column(&alias.expr),
        Expr::Cast(cast) if is_text(cast.field.data_type()) => column(&cast.expr),
        Expr::TryCast(cast) if is_text(cast.field.data_type()) => column(&cast.expr),
        _ => None,
    }
}

/// The column that a value is, as any type.
fn column_in_casts(value: &Expr) -> Option<&str> {
    match value {
        Expr::Column(column) => Some(&column.name),
        Expr::Alias(alias) => column_in_casts(&alias.expr),
        Expr::Cast(cast) => column_in_casts(&cast.expr),
        Expr::TryCast(cast) => column_in_casts(&cast.expr),
        _ => None,
    }
}

/// The column of attributes past the bound, when the value is one of them.
fn overflow_column(value: &Expr) -> Option<&str> {
    match value {
        Expr::Alias(alias) => overflow_column(&alias.expr),
        Expr::Cast(cast) => overflow_column(&cast.expr),
        Expr::TryCast(cast) => overflow_column(&cast.expr),
        Expr::ScalarFunction(call) if call.name() == "overflow_get" => {
            call.args.first().and_then(column)
        }
        _ => None,
    }
}

fn text(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        Expr::Cast(cast) => text(&cast.expr),
        Expr::Alias(alias) => text(&alias.expr),
        _ => None,
    }
}

//! Conditions on fields.

use logmill_model::field;
use serde_json::Value;

use crate::{Error, Result};

/// A condition on one field. A record that lacks the field satisfies only `NotIn` and `Exists(false)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The column's name; a name past the column bound is looked up in the overflow column.
    pub field: String,
    /// What holds of its value.
    pub condition: Condition,
}

/// What must hold of a value. Comparison is by the column's type: a literal is brought to it, and one that
/// cannot be matches nothing (`NotIn`: everything).
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Is one of these (equality is a list of one).
    In(Vec<Literal>),
    /// Is none of these.
    NotIn(Vec<Literal>),
    /// Is greater.
    Greater(Literal),
    /// Is greater or equal.
    GreaterOrEqual(Literal),
    /// Is less.
    Less(Literal),
    /// Is less or equal.
    LessOrEqual(Literal),
    /// As text, starts with this, case and all.
    Prefix(String),
    /// As text, has these tokens (in any case) one after the other.
    Contains(Vec<String>),
    /// As text, matches this regular expression somewhere.
    Regex(String),
    /// Has a value (or has none).
    Exists(bool),
}

/// A value in a condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `true`, `false`.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// Text.
    String(String),
}

/// Most values of a list, and most conditions of a query.
const CONDITIONS_MAX: usize = 1_000;

const OPERATORS: &str = "eq, ne, in, not_in, gt, gte, lt, lte, prefix, contains, regex, exists";

impl Filter {
    /// Reads the `filters` object of a request: a scalar is equality, an array is one of these, an object has operators.
    pub fn parse_all(filters: &Value) -> Result<Vec<Self>> {
        let Value::Object(filters) = filters else {
            return Err(invalid(
                "filters is an object: {\"field\": value, list or operators}",
            ));
        };
        let mut parsed = Vec::new();
        for (name, value) in filters {
            match value {
                Value::Object(operators) if operators.is_empty() => {
                    return Err(invalid(&format!("{name} has no operator: use {OPERATORS}")));
                }
                Value::Object(operators) => {
                    for (operator, operand) in operators {
                        parsed.push(Self::of(name, condition(name, operator, operand)?));
                    }
                }
                Value::Array(_) => parsed.push(Self::of(name, condition(name, "in", value)?)),
                _ => parsed.push(Self::of(name, condition(name, "eq", value)?)),
            }
        }
        if parsed.len() > CONDITIONS_MAX {
            return Err(invalid(&format!("more than {CONDITIONS_MAX} conditions")));
        }
        Ok(parsed)
    }

    /// A condition on a field.
    pub fn of(field: &str, condition: Condition) -> Self {
        Self {
            field: field.to_owned(),
            condition,
        }
    }
}

fn condition(name: &str, operator: &str, operand: &Value) -> Result<Condition> {
    let one = || literal(name, operand);
    let text = || match operand {
        Value::String(text) => Ok(text.clone()),
        _ => Err(invalid(&format!(
            "{name}: {operator} takes a text, not {operand}"
        ))),
    };
    Ok(match operator {
        "eq" => Condition::In(vec![one()?]),
        "ne" => Condition::NotIn(vec![one()?]),
        "in" => Condition::In(list(name, operator, operand)?),
        "not_in" => Condition::NotIn(list(name, operator, operand)?),
        "gt" => Condition::Greater(one()?),
        "gte" => Condition::GreaterOrEqual(one()?),
        "lt" => Condition::Less(one()?),
        "lte" => Condition::LessOrEqual(one()?),
        "prefix" => Condition::Prefix(text()?),
        "contains" => {
            let tokens = logmill_model::token::written_tokens(&text()?);
            if tokens.is_empty() {
                return Err(invalid(&format!(
                    "{name}: contains takes at least one word"
                )));
            }
            Condition::Contains(tokens)
        }
        "regex" => Condition::Regex(regex(name, text()?)?),
        "exists" => match operand {
            Value::Bool(exists) => Condition::Exists(*exists),
            _ => return Err(invalid(&format!("{name}: exists takes true or false"))),
        },
        other => {
            return Err(invalid(&format!(
                "{name}: there is no operator {other:?}: use {OPERATORS}"
            )));
        }
    })
}

/// Checks that a regular expression compiles within its size limit.
fn regex(name: &str, pattern: String) -> Result<String> {
    const SIZE_MAX: usize = 1 << 20;
    match regex::RegexBuilder::new(&pattern)
        .size_limit(SIZE_MAX)
        .build()
    {
        Ok(_) => Ok(pattern),
        Err(error) => Err(invalid(&format!("{name}: regex {pattern:?}: {error}"))),
    }
}

fn list(name: &str, operator: &str, operand: &Value) -> Result<Vec<Literal>> {
    match operand {
        Value::Array(values) if !values.is_empty() && values.len() <= CONDITIONS_MAX => {
            values.iter().map(|value| literal(name, value)).collect()
        }
        Value::Array(_) => Err(invalid(&format!(
            "{name}: {operator} takes 1 to {CONDITIONS_MAX} values"
        ))),
        _ => Err(invalid(&format!(
            "{name}: {operator} takes a list, not {operand}"
        ))),
    }
}

fn literal(name: &str, value: &Value) -> Result<Literal> {
    Ok(match value {
        Value::Bool(value) => Literal::Boolean(*value),
        Value::String(text) if name == field::LEVEL => Literal::String(level(text)),
        Value::String(text) => Literal::String(text.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Literal::Integer(integer),
            (None, Some(float)) if !number.is_u64() => Literal::Float(float),
            _ => Literal::String(number.to_string()),
        },
        Value::Null => {
            return Err(invalid(&format!(
                "{name}: null is no value: use {{\"exists\": false}}"
            )));
        }
        Value::Array(_) | Value::Object(_) => {
            return Err(invalid(&format!(
                "{name}: {value} is no value: use a text, a number, true or false"
            )));
        }
    })
}

/// The canonical name of a level under any of its names; what nobody knows as it is.
fn level(name: &str) -> String {
    logmill_model::Level::parse(name)
        .map_or_else(|| name.to_owned(), |level| level.as_str().to_owned())
}

fn invalid(message: &str) -> Error {
    Error::Invalid {
        code: "invalid_filter",
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_of_a_filter_is_read() {
        let parsed = Filter::parse_all(&json!({
            "a": 1, "b": ["x", true], "level": "WARNING",
            "c": {"gte": 1.5, "ne": "q"}, "d": {"contains": "Two words"}, "e": {"exists": false},
        }));
        use Condition::{Contains, Exists, GreaterOrEqual, In, NotIn};
        use Literal::{Boolean, Float, Integer, String as Text};
        let expected = [
            ("a", In(vec![Integer(1)])),
            ("b", In(vec![Text("x".into()), Boolean(true)])),
            ("level", In(vec![Text("warn".into())])),
            ("c", GreaterOrEqual(Float(1.5))),
            ("c", NotIn(vec![Text("q".into())])),
            ("d", Contains(vec!["Two".into(), "words".into()])),
            ("e", Exists(false)),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(name, c)| Filter::of(name, c))
            .collect();
        assert_eq!(parsed.unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            (json!([]), "object"),
            (json!({"a": {}}), "gte"),
            (json!({"a": {"above": 1}}), "above"),
            (json!({"a": null}), "exists"),
            (json!({"a": []}), "1 to"),
            (json!({"a": [[1]]}), "a: [1]"),
            (json!({"a": {"regex": "("}}), "regex"),
            (json!({"a": {"regex": "(a{1000}){1000}"}}), "regex"),
            (json!({"a": {"prefix": 5}}), "text"),
            (json!({"a": {"contains": "--"}}), "word"),
        ];
        for (filters, hint) in wrong {
            let error = Filter::parse_all(&filters).unwrap_err();
            assert_eq!(error.code(), "invalid_filter");
            assert!(error.to_string().contains(hint), "{filters}: {error}");
        }
    }
}

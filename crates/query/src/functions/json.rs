//! `json_get(text, path)` and its kin, `->` and `->>`: values within JSON text, such as an attribute that is a list, or the
//! overflow column.
//!
//! A path is names with points between them and positions from 0 in brackets: `items[0].name`. A name with other characters
//! stands in double quotes. Where the object has the whole path as a name (attributes keep their dotted names), that is
//! meant. What is not there, and what is no JSON, is null.

use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringViewArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use serde_json::Value;

/// What becomes of the value that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// JSON text.
    Json,
    /// Text without quotes.
    Text,
    Integer,
    Float,
    Boolean,
}

/// All of them.
pub(crate) fn json_functions() -> [Arc<ScalarUDF>; 5] {
    static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 5]> = LazyLock::new(|| {
        let kinds = [
            Kind::Json,
            Kind::Text,
            Kind::Integer,
            Kind::Float,
            Kind::Boolean,
        ];
        kinds.map(|kind| {
            let signature = Signature::string(2, Volatility::Immutable);
            Arc::new(JsonGet { kind, signature }.into())
        })
    });
    FUNCTIONS.clone()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonGet {
    kind: Kind,
    signature: Signature,
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Json => "json_get",
            Kind::Text => "json_get_text",
            Kind::Integer => "json_get_int",
            Kind::Float => "json_get_float",
            Kind::Boolean => "json_get_bool",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Json | Kind::Text => DataType::Utf8View,
            Kind::Integer => DataType::Int64,
            Kind::Float => DataType::Float64,
            Kind::Boolean => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [documents, ColumnarValue::Scalar(path)] = arguments.args.as_slice() else {
            return exec_err!("{} takes JSON text and a constant path", self.name());
        };
        let Some(Some(path)) = path.try_as_str() else {
            let null = ScalarValue::try_new_null(arguments.return_field.data_type())?;
            return Ok(ColumnarValue::Scalar(null));
        };
        let path = match Path::parse(path) {
            Ok(path) => path,
            Err(problem) => return exec_err!("{}: path {path:?}: {problem}", self.name()),
        };
        let documents = documents.to_array(arguments.number_rows)?;
        let documents = cast(&documents, &DataType::Utf8View)?;
        let found = documents
            .as_string_view()
            .iter()
            .map(|document| document.and_then(|document| path.get(document)));
        let found: ArrayRef = match self.kind {
            Kind::Json => {
                let texts = found.map(|value| value.map(|value| value.to_string()));
                Arc::new(texts.collect::<StringViewArray>())
            }
            Kind::Text => {
                let texts = found.map(|value| value.and_then(text));
                Arc::new(texts.collect::<StringViewArray>())
            }
            Kind::Integer => {
                let numbers = found.map(|value| value.as_ref().and_then(integer));
                Arc::new(numbers.collect::<Int64Array>())
            }
            Kind::Float => {
                let numbers = found.map(|value| value.as_ref().and_then(Value::as_f64));
                Arc::new(numbers.collect::<Float64Array>())
            }
            Kind::Boolean => {
                let values = found.map(|value| value.as_ref().and_then(Value::as_bool));
                Arc::new(values.collect::<BooleanArray>())
            }
        };
        Ok(ColumnarValue::Array(found))
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// `2.0` is an integer too.
#[allow(
    clippy::cast_possible_truncation,
    reason = "whole and within 2^53, so exact"
)]
fn integer(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_i64().or_else(|| {
        let float = value.as_f64()?;
        (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Position(usize),
}

/// A way into a JSON document.
#[derive(Debug, PartialEq, Eq)]
struct Path {
    /// All of it as one name.
    whole: String,
    steps: Vec<Step>,
}

impl Path {
    fn parse(text: &str) -> std::result::Result<Self, &'static str> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let (position, after) = after.split_once(']').ok_or("a bracket is not closed")?;
                let position = position.trim().parse();
                let position = position.map_err(|_none| "a position is a number from 0")?;
                steps.push(Step::Position(position));
                rest = after;
            } else if let Some(after) = rest.strip_prefix('"') {
                let (name, after) = quoted(after).ok_or("a quote is not closed")?;
                steps.push(Step::Name(name));
                rest = after;
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                if name.is_empty() {
                    return Err("a name is missing");
                }
                steps.push(Step::Name(name.to_owned()));
                rest = after;
            }
            if let Some(after) = rest.strip_prefix('.') {
                if after.is_empty() {
                    return Err("a name is missing");
                }
                rest = after;
            } else if !rest.is_empty() && !rest.starts_with('[') {
                return Err("a point is missing");
            }
        }
        Ok(Self {
            whole: text.to_owned(),
            steps,
        })
    }

    fn get(&self, document: &str) -> Option<Value> {
        // Most documents that lack the value do not even have its first name: they need no parsing.
        if let Some(Step::Name(name)) = self.steps.first()
            && !document.contains(name.as_str())
            && !document.contains('\\')
        {
            return None;
        }
        let mut value: Value = serde_json::from_str(document).ok()?;
        if let Some(whole) = value.get_mut(&self.whole) {
            return Some(whole.take());
        }
        let mut found = &mut value;
        for step in &self.steps {
            found = match step {
                Step::Name(name) => found.get_mut(name)?,
                Step::Position(position) => found.get_mut(position)?,
            };
        }
        Some(found.take())
    }
}

/// A name up to its closing quote, and what follows; a backslash keeps a quote or a backslash.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((name, &text[at + 1..])),
            '\\' => name.push(characters.next()?.1),
            other => name.push(other),
        }
    }
    None
}

/// `->` and `->>`, whose right side is one name or one position.
#[derive(Debug)]
pub(crate) struct JsonOperators;

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(
        &self,
        expression: RawBinaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let [json, text, ..] = json_functions();
        let function = match expression.op {
            BinaryOperator::Arrow => json,
            BinaryOperator::LongArrow => text,
            _ => return Ok(PlannerResult::Original(expression)),
        };
        let path = match &expression.right {
            Expr::Literal(ScalarValue::Int64(Some(position)), _) => format!("[{position}]"),
            Expr::Literal(value, _) => match value.try_as_str() {
                Some(Some(name)) => {
                    let name = name.replace('\\', "\\\\").replace('"', "\\\"");
                    format!("\"{name}\"")
                }
                _ => return plan_err!("-> and ->> take a name or a position"),
            },
            _ => return plan_err!("-> and ->> take a name or a position that is written down"),
        };
        let call = function.call(vec![expression.left, lit(path)]);
        Ok(PlannerResult::Planned(call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(document: &str, path: &str) -> Option<String> {
        Path::parse(path)
            .unwrap()
            .get(document)
            .map(|value| value.to_string())
    }

    #[test]
    fn a_path_leads_to_a_value() {
        let document = r#"{"a":{"b":[1,{"c":"x"}]},"d.e":true,"q\"":null,"n":{"x y":2}}"#;
        let cases = [
            ("a.b[0]", Some("1")),
            ("a.b[1].c", Some("\"x\"")),
            ("a.b", Some(r#"[1,{"c":"x"}]"#)),
            ("d.e", Some("true")),
            ("\"d.e\"", Some("true")),
            ("\"q\\\"\"", Some("null")),
            ("n.\"x y\"", Some("2")),
            ("a.b[2]", None),
            ("a[0]", None),
            ("z", None),
        ];
        for (path, expected) in cases {
            assert_eq!(found(document, path).as_deref(), expected, "{path}");
        }
        assert_eq!(found("[1,[2]]", "[1][0]").as_deref(), Some("2"));
        assert_eq!(found("no json with a", "a"), None);
        assert_eq!(found(r#"{"\u0061":1}"#, "a").as_deref(), Some("1"));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["a.", ".a", "a..b", "a[", "a[x]", "a[-1]", "\"a", "\"a\"b"] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn numbers_are_integers_where_they_are_whole() {
        assert_eq!(integer(&Value::from(2.0)), Some(2));
        assert_eq!(integer(&Value::from(2.5)), None);
        assert_eq!(integer(&Value::from(1e300)), None);
        assert_eq!(integer(&Value::from("2")), None);
    }
}

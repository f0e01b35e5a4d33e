//! `regexp_like(column, regex)` in scans: texts are looked through for a literal that every match has.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::{Array, BooleanArray};
use arrow_schema::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use regex::Regex;

use super::literal::{self, Literal};

/// A shorter literal is in too many texts.
const LITERAL_BYTES_MIN: usize = 2;

/// The condition with its searches for regular expressions that have a literal replaced.
pub(crate) fn with_literals(condition: Expr) -> Result<Expr> {
    let replaced = condition.transform(|expr| {
        let search = match &expr {
            Expr::ScalarFunction(call) => of_call(call),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if *op == Operator::RegexMatch => {
                RegexSearch::of(left, right)
            }
            _ => None,
        };
        Ok(match search {
            Some(search) => Transformed::yes(search),
            None => Transformed::no(expr),
        })
    });
    Ok(replaced?.data)
}

fn of_call(call: &ScalarFunction) -> Option<Expr> {
    match (call.name(), call.args.as_slice()) {
        ("regexp_like", [value, pattern]) => RegexSearch::of(value, pattern),
        _ => None,
    }
}

#[derive(Debug)]
struct RegexSearch {
    pattern: String,
    regex: Regex,
    literal: Vec<u8>,
    signature: Signature,
}

impl RegexSearch {
    /// The search of a column's texts; none where the general one is no slower, or says what is wrong.
    fn of(value: &Expr, pattern: &Expr) -> Option<Expr> {
        let (Expr::Column(_), Expr::Literal(pattern, _)) = (value, pattern) else {
            return None;
        };
        let pattern = pattern.try_as_str().flatten()?;
        let literal = literal::of_regex(pattern)?;
        if literal.len() < LITERAL_BYTES_MIN {
            return None;
        }
        let search = Self {
            regex: Regex::new(pattern).ok()?,
            pattern: pattern.to_owned(),
            literal,
            signature: Signature::any(1, Volatility::Immutable),
        };
        Some(ScalarUDF::from(search).call(vec![value.clone()]))
    }
}

// The pattern says all.
impl PartialEq for RegexSearch {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for RegexSearch {}

impl Hash for RegexSearch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pattern.hash(state);
    }
}

impl ScalarUDFImpl for RegexSearch {
    fn name(&self) -> &'static str {
        "regexp_like"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [texts] = arguments.args.as_slice() else {
            let problem = "a search takes one column".to_owned();
            return Err(DataFusionError::Internal(problem));
        };
        let texts = super::views(&texts.to_array(arguments.number_rows)?)?;
        let mut literal = Literal::new(&self.literal, false);
        let found = literal.test(&texts, &mut |text: &str| self.regex.is_match(text));
        let found = BooleanArray::new(found, texts.nulls().cloned());
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

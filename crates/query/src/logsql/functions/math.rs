//! Expressions of the `math` pipe, a column at a time.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array, ArrayRef, Float64Array};
use arrow_schema::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use logmill_lang::ast::{MathExpr, MathFunction, MathOperator};
use logmill_lang::value;

use super::texts::Texts;

/// The value of an expression, with the values of the fields that it names.
pub(crate) fn math(
    expression: &MathExpr,
    now_ns: i64,
    value: impl Fn(&str) -> Option<Expr>,
) -> Expr {
    let mut names = Vec::new();
    names_of(expression, &mut names);
    // A field that no record has is no number.
    let values: Vec<Expr> = names
        .iter()
        .map(|name| value(name).unwrap_or_else(|| lit(ScalarValue::Float64(None))))
        .collect();
    let volatility = if has_rand(expression) {
        Volatility::Volatile
    } else {
        Volatility::Immutable
    };
    let spec = expression.to_string();
    let function = Math {
        expression: expression.clone(),
        spec: spec.clone(),
        names,
        now_ns,
        signature: Signature::variadic_any(volatility),
    };
    let arguments = values.into_iter().chain([lit(spec)]).collect();
    ScalarUDF::from(function).call(arguments)
}

fn names_of(expression: &MathExpr, names: &mut Vec<String>) {
    match expression {
        MathExpr::Field(name) => {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        MathExpr::Number(_) => {}
        MathExpr::Negate(inner) => names_of(inner, names),
        MathExpr::Binary { left, right, .. } => {
            names_of(left, names);
            names_of(right, names);
        }
        MathExpr::Call { arguments, .. } => arguments.iter().for_each(|a| names_of(a, names)),
    }
}

fn has_rand(expression: &MathExpr) -> bool {
    match expression {
        MathExpr::Field(_) | MathExpr::Number(_) => false,
        MathExpr::Negate(inner) => has_rand(inner),
        MathExpr::Binary { left, right, .. } => has_rand(left) || has_rand(right),
        MathExpr::Call {
            function,
            arguments,
        } => *function == MathFunction::Rand || arguments.iter().any(has_rand),
    }
}

#[derive(Debug)]
struct Math {
    expression: MathExpr,
    spec: String,
    names: Vec<String>,
    now_ns: i64,
    signature: Signature,
}

impl PartialEq for Math {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

impl Eq for Math {}

impl Hash for Math {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.hash(state);
    }
}

impl ScalarUDFImpl for Math {
    fn name(&self) -> &'static str {
        "math"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let values = arguments.args.iter().take(self.names.len());
        let columns = values
            .map(|value| numbers(&value.to_array(rows)?))
            .collect::<Result<Vec<_>>>()?;
        let found = self.evaluate(&self.expression, &columns, rows);
        Ok(ColumnarValue::Array(Arc::new(Float64Array::from(found))))
    }
}

/// A column as numbers; NaN where a value is none.
#[allow(
    clippy::cast_precision_loss,
    reason = "every value of the math pipe is a 64-bit floating point number"
)]
fn numbers(column: &ArrayRef) -> Result<Vec<f64>> {
    let mut numbers: Vec<f64> = match column.data_type() {
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>().values();
            values.iter().map(|value| *value as f64).collect()
        }
        DataType::Float64 => column.as_primitive::<Float64Type>().values().to_vec(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = column.as_primitive::<TimestampNanosecondType>().values();
            values.iter().map(|value| *value as f64).collect()
        }
        _ => {
            let texts = Texts::new(column)?;
            let number = |row| value::number::parse_value(texts.get(row)).unwrap_or(f64::NAN);
            return Ok((0..column.len()).map(number).collect());
        }
    };
    for (row, number) in numbers.iter_mut().enumerate() {
        if column.is_null(row) {
            *number = f64::NAN;
        }
    }
    Ok(numbers)
}

impl Math {
    fn evaluate(&self, expression: &MathExpr, columns: &[Vec<f64>], rows: usize) -> Vec<f64> {
        match expression {
            MathExpr::Field(name) => {
                let index = self.names.iter().position(|own| own == name);
                let column = index.and_then(|index| columns.get(index));
                column.cloned().unwrap_or_else(|| vec![f64::NAN; rows])
            }
            MathExpr::Number(number) => vec![number.value; rows],
            MathExpr::Negate(inner) => {
                let mut values = self.evaluate(inner, columns, rows);
                values.iter_mut().for_each(|value| *value = -*value);
                values
            }
            MathExpr::Binary {
                operator,
                left,
                right,
            } => {
                let mut left = self.evaluate(left, columns, rows);
                let right = self.evaluate(right, columns, rows);
                for (left, right) in left.iter_mut().zip(right) {
                    *left = binary(*operator, *left, right);
                }
                left
            }
            MathExpr::Call {
                function,
                arguments,
            } => {
                let arguments: Vec<_> = arguments
                    .iter()
                    .map(|argument| self.evaluate(argument, columns, rows))
                    .collect();
                self.call(*function, &arguments, rows)
            }
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "every value of the math pipe is a 64-bit floating point number"
    )]
    fn call(&self, function: MathFunction, arguments: &[Vec<f64>], rows: usize) -> Vec<f64> {
        let map = |make: &dyn Fn(f64) -> f64| {
            let values = arguments.first().into_iter().flatten();
            values.map(|value| make(*value)).collect()
        };
        let fold = |best: &dyn Fn(Vec<f64>) -> f64| {
            let of_row = |row: usize| {
                let values = arguments.iter().filter_map(|values| values.get(row));
                best(values.copied().collect())
            };
            (0..rows).map(of_row).collect()
        };
        match function {
            MathFunction::Abs => map(&f64::abs),
            MathFunction::Ceil => map(&f64::ceil),
            MathFunction::Exp => map(&f64::exp),
            MathFunction::Floor => map(&f64::floor),
            MathFunction::Ln => map(&f64::ln),
            MathFunction::Max => fold(&value::math::max),
            MathFunction::Min => fold(&value::math::min),
            MathFunction::Now => vec![self.now_ns as f64; rows],
            MathFunction::Rand => (0..rows).map(|_| rand::random::<f64>()).collect(),
            MathFunction::Round => match arguments {
                [values, nearest] => {
                    let pairs = values.iter().zip(nearest);
                    pairs
                        .map(|(value, to)| value::math::round_to(*value, *to))
                        .collect()
                }
                _ => map(&f64::round),
            },
        }
    }
}

fn binary(operator: MathOperator, left: f64, right: f64) -> f64 {
    let bitwise = |operation| value::math::bitwise(left, right, operation);
    match operator {
        MathOperator::Power => left.powf(right),
        MathOperator::Multiply => left * right,
        MathOperator::Divide => left / right,
        MathOperator::Modulo => value::math::modulo(left, right),
        MathOperator::Add => left + right,
        MathOperator::Subtract => left - right,
        MathOperator::And => bitwise(|left, right| left & right),
        MathOperator::Xor => bitwise(|left, right| left ^ right),
        MathOperator::Or => bitwise(|left, right| left | right),
        MathOperator::Default if left.is_nan() => right,
        MathOperator::Default => left,
    }
}

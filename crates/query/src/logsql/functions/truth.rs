//! What is neither true nor false is false.
//!
//! The engine has `IS TRUE` for it, but its planner says of that in one place that it is never null and in another that
//! it may be, and then refuses plans that compute it once for several uses (DataFusion 55).

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray};
use arrow_schema::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Whether a condition holds.
pub(crate) fn is_true(condition: Expr) -> Expr {
    call(condition, false)
}

/// Whether a condition does not hold.
pub(crate) fn is_not_true(condition: Expr) -> Expr {
    call(condition, true)
}

fn call(condition: Expr, negated: bool) -> Expr {
    let signature = Signature::exact(vec![DataType::Boolean], Volatility::Immutable);
    ScalarUDF::from(Truth { signature, negated }).call(vec![condition])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Truth {
    signature: Signature,
    negated: bool,
}

impl ScalarUDFImpl for Truth {
    fn name(&self) -> &str {
        if self.negated {
            "is_not_true"
        } else {
            "is_true"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let Some(conditions) = arrays.first().map(|array| array.as_boolean()) else {
            return Ok(ColumnarValue::Array(Arc::new(BooleanArray::new_null(0))));
        };
        let holds = match conditions.nulls() {
            Some(there) => conditions.values() & there.inner(),
            None => conditions.values().clone(),
        };
        let truth = BooleanArray::new(if self.negated { !&holds } else { holds }, None);
        Ok(ColumnarValue::Array(Arc::new(truth)))
    }
}

//! `overflow_get(_overflow, name)`: an attribute past the bound on columns, as text.

use std::sync::{Arc, LazyLock};

use arrow_array::StringViewArray;
use arrow_array::cast::AsArray;
use arrow_cast::cast;
use arrow_schema::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The value of a name in the overflow column; null when the record has none.
pub(crate) fn overflow_get() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::string(2, Volatility::Immutable);
        Arc::new(OverflowGet { signature }.into())
    });
    FUNCTION.clone()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OverflowGet {
    signature: Signature,
}

impl ScalarUDFImpl for OverflowGet {
    fn name(&self) -> &'static str {
        "overflow_get"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let [objects, ColumnarValue::Scalar(name)] = arguments.args.as_slice() else {
            let problem = "overflow_get takes a column and a constant name";
            return Err(DataFusionError::Execution(problem.to_owned()));
        };
        let Some(Some(name)) = name.try_as_str() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(None)));
        };
        // Most objects do not even contain the name: they need no parsing.
        let mut quoted = Vec::new();
        logmill_model::json::write_string(name, &mut quoted);
        let quoted = String::from_utf8_lossy(&quoted).into_owned();
        let objects = cast(&objects.to_array(rows)?, &DataType::Utf8View)?;
        let values: StringViewArray = objects
            .as_string_view()
            .iter()
            .map(|object| {
                object
                    .filter(|object| object.contains(&quoted))
                    .and_then(|o| get(o, name))
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

fn get(object: &str, name: &str) -> Option<String> {
    let object: serde_json::Value = serde_json::from_str(object).ok()?;
    Some(match object.get(name)? {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

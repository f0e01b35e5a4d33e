//! `message_pattern(text)`: what a message has in common with those that differ from it in numbers, addresses and the like.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::StringViewBuilder;
use arrow_schema::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use logmill_model::pattern;

use super::views;

/// The pattern of a message.
pub(crate) fn message_pattern() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::string(1, Volatility::Immutable);
        Arc::new(MessagePattern { signature }.into())
    });
    FUNCTION.clone()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MessagePattern {
    signature: Signature,
}

impl ScalarUDFImpl for MessagePattern {
    fn name(&self) -> &'static str {
        "message_pattern"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [messages] = arguments.args.as_slice() else {
            let problem = "message_pattern takes one text".to_owned();
            return Err(DataFusionError::Execution(problem));
        };
        let messages = messages.to_array(arguments.number_rows)?;
        let messages = views(&messages)?;
        let mut patterns = StringViewBuilder::with_capacity(arguments.number_rows);
        let mut text = String::new();
        for message in &messages {
            match message {
                Some(message) => {
                    text.clear();
                    pattern::mask(message, &mut text);
                    patterns.append_value(&text);
                }
                None => patterns.append_null(),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(patterns.finish())))
    }
}

//! `has_token(text, word)` and `has_phrase(text, phrase)`: the words of `logmill_model::token`.

use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use logmill_model::token::{Phrase, folded_tokens};

use super::literal::{Literal, LiteralTest, Says};

/// Whether a text has a word.
pub(crate) fn has_token() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(TextFunction::new("has_token").into()));
    FUNCTION.clone()
}

/// Whether a text has words one after the other.
pub(crate) fn has_phrase() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(TextFunction::new("has_phrase").into()));
    FUNCTION.clone()
}

/// Both functions: a single word is a phrase of one token.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextFunction {
    name: &'static str,
    signature: Signature,
}

impl TextFunction {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            signature: Signature::string(2, Volatility::Immutable),
        }
    }

    /// The tokens to look for.
    fn tokens(&self, wanted: &str) -> Result<Vec<String>> {
        let tokens = folded_tokens(wanted);
        if tokens.is_empty() {
            let problem = format!(
                "{} takes a text with at least one letter or digit",
                self.name
            );
            return Err(DataFusionError::Execution(problem));
        }
        if self.name == "has_token" && tokens.len() > 1 {
            let problem =
                format!("has_token takes one word; {wanted:?} has several: use has_phrase");
            return Err(DataFusionError::Execution(problem));
        }
        Ok(tokens)
    }
}

impl ScalarUDFImpl for TextFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let [texts, wanted] = arguments.args.as_slice() else {
            return Err(DataFusionError::Internal(format!(
                "{} takes two arguments",
                self.name
            )));
        };
        let texts = cast(&texts.to_array(rows)?, &DataType::Utf8View)?;
        let texts = texts.as_string_view();
        let found: BooleanArray = match wanted {
            ColumnarValue::Scalar(wanted) => {
                let Some(Some(wanted)) = wanted.try_as_str() else {
                    return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
                };
                let mut phrase = Phrase::new(self.tokens(wanted)?);
                match phrase
                    .literal()
                    .map(|token| Literal::new(token.as_bytes(), true))
                {
                    Some(mut literal) => {
                        BooleanArray::new(literal.test(texts, &mut phrase), texts.nulls().cloned())
                    }
                    None => texts
                        .iter()
                        .map(|text| text.map(|text| phrase.is_in(text)))
                        .collect(),
                }
            }
            ColumnarValue::Array(wanted) => {
                let wanted = cast(wanted, &DataType::Utf8View)?;
                let pairs = texts.iter().zip(wanted.as_string_view());
                pairs
                    .map(|pair| match pair {
                        (Some(text), Some(wanted)) => {
                            let mut phrase = Phrase::new(self.tokens(wanted)?);
                            Ok(Some(phrase.is_in(text)))
                        }
                        _ => Ok(None),
                    })
                    .collect::<Result<_>>()?
            }
        };
        debug_assert_eq!(found.len(), rows);
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

impl LiteralTest for Phrase {
    fn of(&mut self, text: &str) -> bool {
        self.is_in(text)
    }

    fn at(&mut self, text: &[u8], place: usize) -> Says {
        match self.is_at(text, place) {
            true => Says::Yes,
            false => Says::Nothing,
        }
    }
}

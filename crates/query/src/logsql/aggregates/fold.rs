//! What aggregate functions have in common.

use std::any::Any;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use crate::logsql::functions::{Object, Texts};

/// The columns that a fold is given.
pub(super) struct Columns {
    arrays: Vec<ArrayRef>,
    texts: Vec<Texts>,
}

impl Columns {
    fn new(arrays: &[ArrayRef]) -> Result<Self> {
        Ok(Self {
            arrays: arrays.to_vec(),
            texts: arrays.iter().map(Texts::new).collect::<Result<_>>()?,
        })
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.arrays.first().map_or(0, |array| array.len())
    }

    /// All columns, as texts.
    pub(super) fn texts(&self) -> &[Texts] {
        &self.texts
    }

    /// All values that are not empty, as texts. With `open`, the last column is of objects, whose members are values.
    pub(super) fn present_texts(&self, open: bool, mut take: impl FnMut(&str)) {
        let (columns, objects) = match self.texts.split_last() {
            Some((objects, columns)) if open => (columns, Some(objects)),
            _ => (self.texts(), None),
        };
        for texts in columns {
            for row in 0..self.rows() {
                let text = texts.get(row);
                if !text.is_empty() {
                    take(text);
                }
            }
        }
        if let Some(objects) = objects {
            for row in 0..self.rows() {
                let members = Object::read(objects.get(row)).into_texts();
                members.for_each(|(_, text)| take(&text));
            }
        }
    }

    /// The texts of a row.
    pub(super) fn row<'a>(&'a self, row: usize, out: &mut Vec<&'a str>) {
        out.clear();
        out.extend(self.texts.iter().map(|texts| texts.get(row)));
    }

    /// The numbers in all columns of numbers, but NaN.
    #[allow(clippy::cast_precision_loss, reason = "as floats they are told")]
    pub(super) fn numbers(&self, mut take: impl FnMut(f64)) {
        for array in &self.arrays {
            match array.data_type() {
                DataType::Int64 => {
                    let values = array.as_primitive::<Int64Type>().iter().flatten();
                    values.for_each(|value| take(value as f64));
                }
                DataType::Float64 => {
                    let values = array.as_primitive::<Float64Type>().iter().flatten();
                    values.filter(|value| !value.is_nan()).for_each(&mut take);
                }
                _ => {}
            }
        }
    }
}

/// An aggregate under way.
pub(super) trait Fold: Any + Clone + Debug + Send + Sync {
    /// The type of its value.
    fn value_type() -> DataType;

    /// Takes rows.
    fn update(&mut self, columns: &Columns);

    /// All that it knows, for another of its kind.
    fn state(&self) -> Vec<u8>;

    /// Takes what another one knows.
    fn merge(&mut self, state: &mut State<'_>);

    /// Its value.
    fn value(&mut self) -> Result<ScalarValue>;

    /// Memory that it holds, bytes.
    fn size(&self) -> usize;
}

/// What a fold knows, read back in the order it was written.
pub(super) struct State<'a>(&'a [u8]);

impl State<'_> {
    /// Whether there is nothing more.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn number(&mut self) -> u64 {
        match self.0.split_first_chunk() {
            Some((bytes, rest)) => {
                self.0 = rest;
                u64::from_le_bytes(*bytes)
            }
            None => 0,
        }
    }

    pub(super) fn text(&mut self) -> String {
        let length = usize::try_from(self.number()).unwrap_or(usize::MAX);
        let (text, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Appends a number to a state.
pub(super) fn write_number(number: u64, state: &mut Vec<u8>) {
    state.extend_from_slice(&number.to_le_bytes());
}

/// Appends a text to a state.
pub(super) fn write_text(text: &str, state: &mut Vec<u8>) {
    write_number(text.len() as u64, state);
    state.extend_from_slice(text.as_bytes());
}

/// An aggregate function made for one place in one query.
#[derive(Debug)]
pub(super) struct Aggregate<F> {
    name: &'static str,
    spec: String,
    signature: Signature,
    fold: F,
}

impl<F: Fold> Aggregate<F> {
    pub(super) fn new(name: &'static str, spec: String, fold: F) -> Self {
        Self {
            name,
            spec,
            signature: Signature::variadic_any(Volatility::Immutable),
            fold,
        }
    }
}

// A name and what it was made of say all about a function.
impl<F> PartialEq for Aggregate<F> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.spec == other.spec
    }
}

impl<F> Eq for Aggregate<F> {}

impl<F> Hash for Aggregate<F> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.spec.hash(state);
    }
}

impl<F: Fold> AggregateUDFImpl for Aggregate<F> {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(F::value_type())
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Folding(self.fold.clone())))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format!("{}[state]", arguments.name);
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }
}

#[derive(Debug)]
struct Folding<F>(F);

impl<F: Fold> Accumulator for Folding<F> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update(&Columns::new(values)?);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.value()
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.0.state()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = states
            .first()
            .and_then(|states| states.as_binary_opt::<i32>())
            .ok_or_else(|| DataFusionError::Internal("a state is bytes".to_owned()))?;
        for state in states.iter().flatten() {
            self.0.merge(&mut State(state));
        }
        Ok(())
    }
}

/// A text as the value of an aggregate; none where it is empty.
pub(super) fn text_value(text: String) -> ScalarValue {
    ScalarValue::Utf8View((!text.is_empty()).then_some(text))
}

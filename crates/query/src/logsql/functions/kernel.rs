//! The loop over rows that all functions of texts share.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::builder::{
    BinaryViewBuilder, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, StringViewBuilder,
};
use arrow_array::{Array, ArrayRef, BooleanArray, StructArray};
use arrow_schema::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::texts::Texts;
use crate::functions::literal::Literal;

type Predicate = dyn Fn(&str) -> bool + Send + Sync;
type Relation = dyn Fn(&[&str]) -> bool + Send + Sync;
type Text = dyn Fn(&[&str], &mut String) + Send + Sync;
type Float = dyn Fn(&str) -> Option<f64> + Send + Sync;
type Integer = dyn Fn(&[&str]) -> Option<i64> + Send + Sync;
type Bytes = dyn Fn(&str, &mut Vec<u8>) + Send + Sync;
type Record = dyn Fn(&str, &mut Outputs) + Send + Sync;
type List = dyn Fn(&str, &mut dyn FnMut(&str)) -> bool + Send + Sync;

/// What a function does to a row's texts.
#[derive(Clone)]
pub(super) enum Kernel {
    Predicate(Arc<Predicate>),
    /// A predicate that is false of a text without a literal, which is not empty; looked for in any case, it is ASCII in
    /// lower case.
    Search {
        literal: Arc<str>,
        any_case: bool,
        is: Arc<Predicate>,
    },
    Relation(Arc<Relation>),
    Text(Arc<Text>),
    Float(Arc<Float>),
    Integer(Arc<Integer>),
    Bytes(Arc<Bytes>),
    Record(Arc<[String]>, Arc<Record>),
    List(Arc<List>),
}

/// The members of one record, filled by the function that makes it.
#[derive(Default)]
pub(crate) struct Outputs {
    texts: Vec<String>,
}

impl Outputs {
    /// Replaces a member's text.
    pub(crate) fn set(&mut self, member: usize, text: &str) {
        if let Some(own) = self.texts.get_mut(member) {
            own.clear();
            own.push_str(text);
        }
    }

    fn clear(&mut self) {
        self.texts.iter_mut().for_each(String::clear);
    }
}

impl Kernel {
    fn return_type(&self) -> DataType {
        match self {
            Self::Predicate(_) | Self::Search { .. } | Self::Relation(_) => DataType::Boolean,
            Self::Text(_) => DataType::Utf8View,
            Self::Float(_) => DataType::Float64,
            Self::Integer(_) => DataType::Int64,
            Self::Bytes(_) => DataType::BinaryView,
            Self::Record(members, _) => DataType::Struct(member_fields(members)),
            Self::List(_) => {
                DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true)))
            }
        }
    }

    fn run(&self, columns: &[Texts], rows: usize) -> Result<ArrayRef> {
        let first = || {
            columns.first().ok_or_else(|| {
                DataFusionError::Internal("a function of texts needs a column".to_owned())
            })
        };
        Ok(match self {
            Self::Predicate(is) => predicate(first()?, rows, is.as_ref()),
            Self::Search {
                literal,
                any_case,
                is,
            } => {
                let mut literal = Literal::new(literal.as_bytes(), *any_case);
                let found = literal.test(first()?.view(), &mut |text: &str| is(text));
                Arc::new(BooleanArray::new(found, None))
            }
            Self::Relation(is) => {
                let mut found = BooleanBuilder::with_capacity(rows);
                let mut values = Vec::with_capacity(columns.len());
                let mut last = false;
                for row in 0..rows {
                    if row == 0 || !columns.iter().all(|column| column.repeats(row)) {
                        values.clear();
                        values.extend(columns.iter().map(|column| column.get(row)));
                        last = is(&values);
                    }
                    found.append_value(last);
                }
                Arc::new(found.finish())
            }
            Self::Text(make) => texts(columns, rows, make.as_ref()),
            Self::Float(make) => {
                let texts = first()?;
                let mut found = Float64Builder::with_capacity(rows);
                let mut last = None;
                for row in 0..rows {
                    if !texts.repeats(row) {
                        last = make(texts.get(row));
                    }
                    found.append_option(last);
                }
                Arc::new(found.finish())
            }
            Self::Integer(make) => {
                let mut found = Int64Builder::with_capacity(rows);
                let mut values = Vec::with_capacity(columns.len());
                for row in 0..rows {
                    values.clear();
                    values.extend(columns.iter().map(|column| column.get(row)));
                    found.append_option(make(&values));
                }
                Arc::new(found.finish())
            }
            Self::Bytes(make) => {
                let texts = first()?;
                let mut found = BinaryViewBuilder::with_capacity(rows);
                let mut bytes = Vec::new();
                for row in 0..rows {
                    if !texts.repeats(row) {
                        bytes.clear();
                        make(texts.get(row), &mut bytes);
                    }
                    found.append_value(&bytes);
                }
                Arc::new(found.finish())
            }
            Self::Record(members, make) => records(first()?, rows, members, make.as_ref()),
            Self::List(make) => {
                let texts = first()?;
                let mut found = ListBuilder::new(StringViewBuilder::new());
                for row in 0..rows {
                    let mut append = |text: &str| append(found.values(), text);
                    let is_list = make(texts.get(row), &mut append);
                    found.append(is_list);
                }
                Arc::new(found.finish())
            }
        })
    }
}

fn predicate(texts: &Texts, rows: usize, is: &Predicate) -> ArrayRef {
    let mut found = BooleanBuilder::with_capacity(rows);
    let mut last = false;
    for row in 0..rows {
        if !texts.repeats(row) {
            last = is(texts.get(row));
        }
        found.append_value(last);
    }
    Arc::new(found.finish())
}

fn texts(columns: &[Texts], rows: usize, make: &Text) -> ArrayRef {
    let mut found = StringViewBuilder::with_capacity(rows);
    let mut values = Vec::with_capacity(columns.len());
    let mut text = String::new();
    for row in 0..rows {
        if row == 0 || !columns.iter().all(|column| column.repeats(row)) {
            values.clear();
            values.extend(columns.iter().map(|column| column.get(row)));
            text.clear();
            make(&values, &mut text);
        }
        append(&mut found, &text);
    }
    Arc::new(found.finish())
}

fn records(texts: &Texts, rows: usize, members: &[String], make: &Record) -> ArrayRef {
    let mut columns: Vec<StringViewBuilder> = members
        .iter()
        .map(|_| StringViewBuilder::with_capacity(rows))
        .collect();
    let mut outputs = Outputs::default();
    outputs.texts.resize(members.len(), String::new());
    for row in 0..rows {
        if !texts.repeats(row) {
            outputs.clear();
            make(texts.get(row), &mut outputs);
        }
        for (column, text) in columns.iter_mut().zip(&outputs.texts) {
            append(column, text);
        }
    }
    let columns = columns
        .iter_mut()
        .map(|column| Arc::new(column.finish()) as ArrayRef);
    let columns = columns.collect();
    Arc::new(StructArray::new(member_fields(members), columns, None))
}

fn append(column: &mut StringViewBuilder, text: &str) {
    if text.is_empty() {
        column.append_null();
    } else {
        column.append_value(text);
    }
}

fn member_fields(members: &[String]) -> Fields {
    let field = |name: &String| Field::new(name, DataType::Utf8View, true);
    members.iter().map(field).collect()
}

/// A function made for one place in one query.
#[derive(Clone)]
pub(super) struct TextFunction {
    name: &'static str,
    spec: String,
    signature: Signature,
    kernel: Kernel,
}

impl TextFunction {
    pub(super) fn new(
        name: &'static str,
        spec: &str,
        volatility: Volatility,
        kernel: Kernel,
    ) -> Self {
        Self {
            name,
            spec: spec.to_owned(),
            signature: Signature::variadic_any(volatility),
            kernel,
        }
    }
}

impl std::fmt::Debug for TextFunction {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TextFunction")
            .field("name", &self.name)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

// A name and what it was made of say all about a function.
impl PartialEq for TextFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.spec == other.spec
    }
}

impl Eq for TextFunction {}

impl Hash for TextFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.spec.hash(state);
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
        Ok(self.kernel.return_type())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = arguments
            .args
            .split_last()
            .map_or(&[][..], |(_spec, values)| values);
        let constant = values
            .iter()
            .all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { arguments.number_rows };
        let columns = values
            .iter()
            .map(|value| Texts::new(&value.to_array(rows)?))
            .collect::<Result<Vec<_>>>()?;
        let found = self.kernel.run(&columns, rows)?;
        if constant {
            let scalar = ScalarValue::try_from_array(&found, 0)?;
            return Ok(ColumnarValue::Scalar(scalar));
        }
        debug_assert_eq!(found.len(), rows);
        Ok(ColumnarValue::Array(found))
    }
}

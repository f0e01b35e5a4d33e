//! `GROUP BY text` by 128-bit hashes of the values.
//!
//! The engine looks every value up among the texts that it has seen, which for many of them waits for memory again and
//! again; for a number it has a faster way. How seldom two values have the same hash is said in `count_distinct`.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::{ArrayBuilder, StringViewBuilder};
use arrow_array::{Array, ArrayRef, BooleanArray, Decimal128Array, StringViewArray};
use arrow_schema::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, Expr,
    ExprSchemable, GroupsAccumulator, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use xxhash_rust::xxh3::xxh3_128;

use super::views;
use crate::errors::internal;

/// The engine's type of numbers that is as long as a hash.
pub(crate) const HASH: DataType = DataType::Decimal128(38, 0);

/// The functions of a grouping by hash.
pub(crate) const TEXT_HASH: &str = "text_hash";
pub(crate) const ANY_TEXT: &str = "any_text";

/// The columns of a grouping by hash, by names that no field has.
const HASH_NAME: &str = "__text_hash";
const TEXT_NAME: &str = "__text";

/// Has records that are grouped by one text column grouped by its hash.
#[derive(Debug)]
pub(crate) struct GroupByHash;

impl OptimizerRule for GroupByHash {
    fn name(&self) -> &'static str {
        "group_by_hash"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = plan else {
            return Ok(Transformed::no(plan));
        };
        let [text @ Expr::Column(_)] = aggregate.group_expr.as_slice() else {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        };
        if text.get_type(aggregate.input.schema())? != DataType::Utf8View {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        let hash = text_hash().call(vec![text.clone()]).alias(HASH_NAME);
        let mut calls = vec![any_text().call(vec![text.clone()]).alias(TEXT_NAME)];
        calls.extend(aggregate.aggr_expr.iter().cloned());
        let grouped = Aggregate::try_new(aggregate.input.clone(), vec![hash], calls)?;
        let mut columns = Vec::new();
        for (at, (qualifier, field)) in aggregate.schema.iter().enumerate() {
            let name = if at == 0 { TEXT_NAME } else { field.name() };
            let value = Expr::Column(Column::new_unqualified(name));
            columns.push(value.alias_qualified(qualifier.cloned(), field.name()));
        }
        let plan = LogicalPlanBuilder::new(LogicalPlan::Aggregate(grouped));
        Ok(Transformed::yes(plan.project(columns)?.build()?))
    }
}

/// The hash of a text.
fn text_hash() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::exact(vec![DataType::Utf8View], Volatility::Immutable);
        Arc::new(TextHash { signature }.into())
    });
    FUNCTION.clone()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextHash {
    signature: Signature,
}

impl ScalarUDFImpl for TextHash {
    fn name(&self) -> &'static str {
        TEXT_HASH
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(HASH)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [texts] = arguments.args.as_slice() else {
            return Err(internal("text_hash takes one text"));
        };
        let texts = texts.to_array(arguments.number_rows)?;
        let texts = views(&texts)?;
        let hash = |text: &str| xxh3_128(text.as_bytes()).cast_signed();
        let hashes: Decimal128Array = texts.iter().map(|text| text.map(hash)).collect();
        Ok(ColumnarValue::Array(Arc::new(hashes.with_data_type(HASH))))
    }
}

/// The text of a group all of whose texts are the same.
fn any_text() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let signature = Signature::exact(vec![DataType::Utf8View], Volatility::Immutable);
        Arc::new(AnyText { signature }.into())
    });
    FUNCTION.clone()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AnyText {
    signature: Signature,
}

impl AggregateUDFImpl for AnyText {
    fn name(&self) -> &'static str {
        ANY_TEXT
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::<OneText>::default())
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        _arguments: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::<Texts>::default())
    }
}

/// The texts of all groups: of each, the first that it had.
#[derive(Debug, Default)]
struct Texts {
    texts: StringViewBuilder,
    bytes: usize,
}

impl Texts {
    fn add(&mut self, values: &[ArrayRef], groups: &[usize], all_groups: usize) -> Result<()> {
        if self.texts.len() == all_groups {
            return Ok(());
        }
        let values = values
            .first()
            .ok_or_else(|| internal("any_text takes one text"))?;
        for (text, group) in views(values)?.iter().zip(groups) {
            // Groups are numbered as they appear.
            if *group == self.texts.len() {
                self.bytes += text.map_or(0, str::len);
                self.texts.append_option(text);
            }
        }
        if self.texts.len() != all_groups {
            return Err(internal("groups are not numbered as they appear"));
        }
        Ok(())
    }

    fn take(&mut self, emit_to: EmitTo) -> StringViewArray {
        let texts = self.texts.finish();
        self.bytes = 0;
        let EmitTo::First(first) = emit_to else {
            return texts;
        };
        for text in &texts.slice(first, texts.len() - first) {
            self.bytes += text.map_or(0, str::len);
            self.texts.append_option(text);
        }
        texts.slice(0, first)
    }
}

impl GroupsAccumulator for Texts {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        _filter: Option<&BooleanArray>,
        all_groups: usize,
    ) -> Result<()> {
        self.add(values, groups, all_groups)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        all_groups: usize,
    ) -> Result<()> {
        self.add(values, groups, all_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(self.take(emit_to)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        _filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        Ok(values.to_vec())
    }

    fn size(&self) -> usize {
        self.bytes + self.texts.len() * size_of::<u128>()
    }
}

/// The text of all rows.
#[derive(Debug, Default)]
struct OneText(Option<String>);

impl Accumulator for OneText {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if let (None, [values]) = (&self.0, values) {
            self.0 = views(values)?.iter().flatten().next().map(str::to_owned);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Utf8View(self.0.clone()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.as_ref().map_or(0, String::capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_their_first_text() {
        let texts = |texts: &[Option<&str>]| -> ArrayRef {
            Arc::new(StringViewArray::from_iter(texts.iter().copied()))
        };
        let long = "a text that does not fit into a view";
        let mut groups = Texts::default();
        let first = texts(&[Some(long), None, Some(long)]);
        groups.update_batch(&[first], &[0, 1, 0], None, 2).unwrap();
        let second = texts(&[None, Some("b"), Some("c")]);
        groups.merge_batch(&[second], &[1, 2, 3], 4).unwrap();
        let emitted = groups.evaluate(EmitTo::First(1)).unwrap();
        assert_eq!(&emitted, &texts(&[Some(long)]));
        groups
            .update_batch(&[texts(&[Some("d")])], &[3], None, 4)
            .unwrap();
        let rest = groups.state(EmitTo::All).unwrap();
        assert_eq!(&rest[0], &texts(&[None, Some("b"), Some("c"), Some("d")]));
        assert_eq!(groups.size(), 0);
    }

    #[test]
    fn one_group_has_its_text() {
        let mut text = OneText::default();
        let values: ArrayRef = Arc::new(StringViewArray::from(vec![None, Some("a"), Some("a")]));
        text.update_batch(std::slice::from_ref(&values)).unwrap();
        text.merge_batch(&[values]).unwrap();
        assert_eq!(
            text.evaluate().unwrap(),
            ScalarValue::from("a").cast_to(&DataType::Utf8View).unwrap()
        );
    }
}

//! `count(DISTINCT text)` by 128-bit hashes of the values.
//!
//! The engine keeps the values themselves: for two million ids of 32 characters that is more than a query may hold. Two
//! different values among a thousand million have the same hash with a probability of 10⁻²¹.

use std::sync::{Arc, LazyLock};

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, Expr, ExprSchemable, LogicalPlan,
    Signature, Volatility,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use xxhash_rust::xxh3::xxh3_128;

use super::hash_set::Hashes;
use super::views;

/// The number of different texts.
pub(crate) fn count_distinct() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let texts = vec![DataType::Utf8View, DataType::Utf8, DataType::LargeUtf8];
        let signature = Signature::uniform(1, texts, Volatility::Immutable);
        Arc::new(CountDistinct { signature }.into())
    });
    FUNCTION.clone()
}

/// Has `count(DISTINCT text)` computed by [`count_distinct`].
#[derive(Debug)]
pub(crate) struct DistinctByHash;

impl OptimizerRule for DistinctByHash {
    fn name(&self) -> &'static str {
        "distinct_by_hash"
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
        let schema = aggregate.input.schema().clone();
        let is_text = |value: &Expr| {
            let kind = value.get_type(schema.as_ref());
            kind.is_ok_and(|kind| kind.is_string())
        };
        let mut changed = false;
        let mut calls = Vec::with_capacity(aggregate.aggr_expr.len());
        for call in &aggregate.aggr_expr {
            let name = call.schema_name().to_string();
            let rewritten = call.clone().transform(|node| match node {
                Expr::AggregateFunction(AggregateFunction { func, mut params })
                    if func.name() == "count"
                        && params.distinct
                        && matches!(params.args.as_slice(), [value] if is_text(value)) =>
                {
                    params.distinct = false;
                    let func = count_distinct();
                    let call = Expr::AggregateFunction(AggregateFunction { func, params });
                    Ok(Transformed::yes(call))
                }
                node => Ok(Transformed::no(node)),
            })?;
            changed |= rewritten.transformed;
            let is_named = matches!(rewritten.data, Expr::Alias(_));
            calls.push(match rewritten.transformed && !is_named {
                true => rewritten.data.alias(name),
                false => rewritten.data,
            });
        }
        if !changed {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        let Aggregate {
            input, group_expr, ..
        } = aggregate;
        let counted = Aggregate::try_new(input, group_expr, calls)?;
        Ok(Transformed::yes(LogicalPlan::Aggregate(counted)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CountDistinct {
    signature: Signature,
}

impl AggregateUDFImpl for CountDistinct {
    fn name(&self) -> &'static str {
        "count_distinct"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _kind: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::<DistinctTexts>::default())
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(arguments.name, "hashes");
        Ok(vec![Arc::new(Field::new(
            name,
            DataType::LargeBinary,
            false,
        ))])
    }
}

/// The hashes of the values that were seen.
#[derive(Debug, Default)]
struct DistinctTexts {
    seen: Hashes,
}

impl Accumulator for DistinctTexts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else {
            return Err(internal("takes one argument"));
        };
        let values = views(values)?;
        let mut last = None;
        for value in values.iter().flatten() {
            // Like stands by like.
            if last != Some(value) {
                self.seen.insert(xxh3_128(value.as_bytes()));
                last = Some(value);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = states
            .first()
            .and_then(|states| states.as_binary_opt::<i64>());
        let Some(states) = states else {
            return Err(internal("has another state"));
        };
        for state in states.iter().flatten() {
            self.seen.add_bytes(state);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let hashes = std::mem::take(&mut self.seen).bytes();
        Ok(vec![ScalarValue::LargeBinary(Some(hashes))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let count = i64::try_from(self.seen.len()).unwrap_or(i64::MAX);
        Ok(ScalarValue::Int64(Some(count)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.seen.memory()
    }
}

fn internal(problem: &str) -> DataFusionError {
    DataFusionError::Internal(format!("count_distinct {problem}"))
}

//! The values of one field.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use datafusion::common::Result;
use datafusion::functions::string::expr_fn::starts_with;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col, lit};
use futures::StreamExt;
use logmill_query_api::{FieldValues, FieldValuesQuery, ValueCount};

use super::text::Texts;
use super::{View, count_of, unknown_field};
use crate::predicate;

/// The names of the plan's columns.
const VALUE: &str = "value";
const COUNT: &str = "count";

impl View<'_> {
    pub(super) async fn field_values(&self, query: &FieldValuesQuery) -> Result<FieldValues> {
        let Some((value, kind)) = predicate::named(&self.table, &query.field) else {
            return Ok(FieldValues {
                values: Vec::new(),
                more: false,
                warnings: vec![unknown_field(&query.field)],
                stats: self.stats(0),
            });
        };
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let mut there = value.clone().is_not_null();
        if let Some(prefix) = query.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            let text = predicate::text_of(value.clone(), kind);
            there = there.and(starts_with(text, lit(prefix)));
        }
        let aggregated = self
            .records()?
            .filter(there)?
            .aggregate([value], [count(lit(1_i64))])?
            .build()?;
        let columns = aggregated.schema().columns().into_iter();
        let named = columns
            .zip([VALUE, COUNT])
            .map(|(column, name)| Expr::Column(column).alias(name));
        let named: Vec<_> = named.collect();
        let order = [col(COUNT).sort(false, false), col(VALUE).sort(true, false)];
        let plan = LogicalPlanBuilder::from(aggregated)
            .project(named)?
            .sort_with_limit(order, limit.checked_add(1))?
            .build()?;
        let mut batches = self.execute(&plan).await?;
        let mut values = Vec::new();
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let texts = Texts::of(batch.column(0))?;
            let numbers = batch.column(1).as_primitive::<Int64Type>();
            values.extend((0..batch.num_rows()).map(|row| ValueCount {
                value: texts.text(row).into_owned(),
                count: count_of(numbers.value(row)),
            }));
        }
        let more = values.len() > limit;
        values.truncate(limit);
        Ok(FieldValues {
            stats: self.stats(values.len() as u64),
            values,
            more,
            warnings: Vec::new(),
        })
    }
}

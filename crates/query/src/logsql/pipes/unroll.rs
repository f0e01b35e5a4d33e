//! `unroll`: a record for every item of a JSON array.

use arrow_schema::{DataType, Field};
use datafusion::common::{Column, Result};
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::{Expr, cast, lit, when};
use logmill_lang::ast::Unroll;
use logmill_lang::value;

use super::Context;
use crate::logsql::functions;
use crate::logsql::rows::Rows;
use crate::logsql::scope::{Value, column};

impl<'a> Context<'a> {
    pub(super) fn unroll(&self, rows: &mut Rows<'a>, unroll: &Unroll) -> Result<()> {
        let condition = self.condition_of_if(rows, unroll.condition.as_ref())?;
        let mut lists = Vec::new();
        for name in &unroll.by {
            let old = rows.scope.get(name);
            let old = old.map_or_else(|| lit(""), Value::shown);
            let items = functions::list("json_array", old.clone(), |text, append| {
                // What is no array is one item without a value.
                let items = value::json::array_items(text).unwrap_or_default();
                if items.is_empty() {
                    append("");
                }
                items.iter().for_each(|item| append(item));
                true
            });
            lists.push(match &condition {
                Some(condition) => {
                    let text = DataType::Utf8View;
                    let list = DataType::List(Field::new_list_field(text.clone(), true).into());
                    let kept = cast(make_array(vec![cast(old, text)]), list);
                    when(condition.clone(), items).otherwise(kept)?
                }
                None => items,
            });
        }
        let mut lists: Vec<Expr> = lists;
        rows.compute(&mut lists.iter_mut().collect::<Vec<_>>())?;
        let columns: Vec<Column> = lists
            .iter()
            .filter_map(|list| list.try_as_col().cloned())
            .collect();
        rows.change(|plan| plan.unnest_columns_with_options(columns.clone(), Default::default()))?;
        for (name, column_of) in unroll.by.iter().zip(&columns) {
            rows.scope.set(name, Value::text(column(&column_of.name)));
        }
        Ok(())
    }
}

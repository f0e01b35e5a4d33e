//! Comparisons of `timestamp` with a literal, for files that have it in microseconds.
//!
//! The engine brings such a comparison to the file's unit by cutting the literal's last digits off, which makes
//! `1.000 µs < 1.500 µs` into `1 < 1`. Here the literal is first replaced by a whole number of microseconds, and the
//! operator by one that holds for the same whole microseconds.

use std::sync::Arc;

use arrow_schema::{DataType, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal, lit};
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use logmill_model::field;

/// Adapts expressions to a file's columns.
#[derive(Debug)]
pub(crate) struct TimeLiterals;

impl PhysicalExprAdapterFactory for TimeLiterals {
    fn create(
        &self,
        logical_file_schema: SchemaRef,
        physical_file_schema: SchemaRef,
    ) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let time = physical_file_schema.field_with_name(field::TIMESTAMP);
        let in_micros = time.is_ok_and(|time| {
            matches!(
                time.data_type(),
                DataType::Timestamp(TimeUnit::Microsecond, _)
            )
        });
        let inner =
            DefaultPhysicalExprAdapterFactory.create(logical_file_schema, physical_file_schema)?;
        if in_micros {
            Ok(Arc::new(Adapter { inner }))
        } else {
            Ok(inner)
        }
    }
}

#[derive(Debug)]
struct Adapter {
    inner: Arc<dyn PhysicalExprAdapter>,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expression: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let whole = expression.transform(|expression| {
            Ok(match in_whole_micros(&expression) {
                Some(replaced) => Transformed::yes(replaced),
                None => Transformed::no(expression),
            })
        })?;
        self.inner.rewrite(whole.data)
    }
}

fn in_whole_micros(expression: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let comparison = expression.downcast_ref::<BinaryExpr>()?;
    let (column, operator, literal) = if is_time(comparison.left()) {
        (comparison.left(), *comparison.op(), comparison.right())
    } else {
        (
            comparison.right(),
            comparison.op().swap()?,
            comparison.left(),
        )
    };
    let literal = literal.downcast_ref::<Literal>()?;
    let ScalarValue::TimestampNanosecond(Some(t_ns), zone) = literal.value() else {
        return None;
    };
    let rest = t_ns.rem_euclid(1_000);
    if !is_time(column) || rest == 0 {
        return None;
    }
    let operator = match operator {
        Operator::Lt | Operator::LtEq => Operator::LtEq,
        Operator::Gt | Operator::GtEq => Operator::Gt,
        // A time is never null, and never between two microseconds.
        Operator::Eq => return Some(lit(false)),
        Operator::NotEq => return Some(lit(true)),
        _ => return None,
    };
    let whole = ScalarValue::TimestampNanosecond(Some(t_ns.checked_sub(rest)?), zone.clone());
    Some(Arc::new(BinaryExpr::new(
        column.clone(),
        operator,
        Arc::new(Literal::new(whole)),
    )))
}

fn is_time(expression: &Arc<dyn PhysicalExpr>) -> bool {
    expression
        .downcast_ref::<Column>()
        .is_some_and(|column| column.name() == field::TIMESTAMP)
}

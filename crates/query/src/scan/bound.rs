//! Which times a sort above a scan still wants: it learns that while it runs.

use std::fmt;
use std::sync::Arc;

use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, DynamicFilterPhysicalExpr, Literal,
};
use logmill_model::field;

/// A condition on `timestamp` that becomes narrower.
#[derive(Clone, Debug)]
pub(super) struct TimeBound(Arc<dyn PhysicalExpr>);

impl fmt::Display for TimeBound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl TimeBound {
    /// Of a filter that was pushed down, if it is one that changes.
    pub(super) fn of(filter: &Arc<dyn PhysicalExpr>) -> Option<Self> {
        let dynamic = filter.downcast_ref::<DynamicFilterPhysicalExpr>()?;
        let of_time = dynamic.children().iter().all(|child| is_time(child));
        of_time.then(|| Self(filter.clone()))
    }

    /// The condition.
    pub(super) fn expression(&self) -> &Arc<dyn PhysicalExpr> {
        &self.0
    }

    /// Whether a row of these times, oldest and newest, may still be wanted.
    pub(super) fn allows(&self, times: (i64, i64)) -> Result<bool> {
        match self.0.downcast_ref::<DynamicFilterPhysicalExpr>() {
            Some(dynamic) => Ok(may_hold(&dynamic.current()?, times)),
            None => Ok(true),
        }
    }
}

fn is_time(expression: &Arc<dyn PhysicalExpr>) -> bool {
    let column = expression.downcast_ref::<Column>();
    column.is_some_and(|column| column.name() == field::TIMESTAMP)
}

/// Whether a condition may hold of a row of these times. What is not understood may.
fn may_hold(condition: &Arc<dyn PhysicalExpr>, (min, max): (i64, i64)) -> bool {
    let Some(binary) = condition.downcast_ref::<BinaryExpr>() else {
        return true;
    };
    if *binary.op() == Operator::And {
        return may_hold(binary.left(), (min, max)) && may_hold(binary.right(), (min, max));
    }
    let bound = binary.right().downcast_ref::<Literal>();
    let Some(ScalarValue::TimestampNanosecond(Some(bound), _)) = bound.map(Literal::value) else {
        return true;
    };
    if !is_time(binary.left()) {
        return true;
    }
    match binary.op() {
        Operator::Gt => max > *bound,
        Operator::GtEq => max >= *bound,
        Operator::Lt => min < *bound,
        Operator::LtEq => min <= *bound,
        _ => true,
    }
}

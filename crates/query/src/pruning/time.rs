//! The range of time that filters leave.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use logmill_model::{TimeRange, field};

/// The range of time outside of which no record satisfies all of `filters`.
pub(crate) fn time_range(filters: &[Expr]) -> TimeRange {
    let mut range = TimeRange::ALL;
    for filter in filters {
        narrow(&mut range, filter);
    }
    range
}

/// Whether a filter says nothing but what [`time_range`] makes of it.
pub(crate) fn is_of_time_alone(filter: &Expr) -> bool {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => is_of_time_alone(left) && is_of_time_alone(right),
            Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq | Operator::Eq => {
                let of_both = |column, bound| is_timestamp(column) && time(bound).is_some();
                of_both(left, right) || of_both(right, left)
            }
            _ => false,
        },
        _ => false,
    }
}

fn narrow(range: &mut TimeRange, filter: &Expr) {
    match filter {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::And,
            right,
        }) => {
            narrow(range, left);
            narrow(range, right);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let (true, Some(t_ns)) = (is_timestamp(left), time(right)) {
                bound(range, *op, t_ns);
            } else if let (Some(t_ns), true, Some(op)) =
                (time(left), is_timestamp(right), op.swap())
            {
                bound(range, op, t_ns);
            }
        }
        Expr::Between(between) if !between.negated && is_timestamp(&between.expr) => {
            if let Some(low) = time(&between.low) {
                bound(range, Operator::GtEq, low);
            }
            if let Some(high) = time(&between.high) {
                bound(range, Operator::LtEq, high);
            }
        }
        _ => {}
    }
}

fn bound(range: &mut TimeRange, operator: Operator, t_ns: i64) {
    let after = t_ns.saturating_add(1);
    match operator {
        Operator::Gt => range.start_ns = range.start_ns.max(after),
        Operator::GtEq => range.start_ns = range.start_ns.max(t_ns),
        Operator::Lt => range.end_ns = range.end_ns.min(t_ns),
        Operator::LtEq => range.end_ns = range.end_ns.min(after),
        Operator::Eq => {
            range.start_ns = range.start_ns.max(t_ns);
            range.end_ns = range.end_ns.min(after);
        }
        _ => {}
    }
}

fn is_timestamp(expression: &Expr) -> bool {
    matches!(expression, Expr::Column(column) if column.name == field::TIMESTAMP)
}

fn time(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Literal(ScalarValue::TimestampNanosecond(Some(t_ns), _), _) => Some(*t_ns),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;
    use crate::predicate::{time_literal, timestamp};

    #[test]
    fn bounds_of_all_conjuncts_narrow_the_range() {
        let range = |start_ns, end_ns| TimeRange { start_ns, end_ns };
        let filters = [
            timestamp()
                .gt(time_literal(5))
                .and(time_literal(100).gt_eq(timestamp())),
            col("service").eq(lit("a")),
        ];
        assert_eq!(time_range(&filters), range(6, 101));
        assert_eq!(time_range(&[timestamp().eq(time_literal(7))]), range(7, 8));
        let between = timestamp().between(time_literal(1), time_literal(2));
        assert_eq!(time_range(&[between]), range(1, 3));
        let either = timestamp()
            .gt(time_literal(5))
            .or(col("service").eq(lit("a")));
        assert_eq!(time_range(&[either]), TimeRange::ALL);
        assert_eq!(time_range(&[]), TimeRange::ALL);
    }
}

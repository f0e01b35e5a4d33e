//! `sort`, `first`, `last`.

use arrow_schema::DataType;
use datafusion::common::Result;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt, SortExpr, cast, lit};
use logmill_lang::ast::{First, Sort};
use logmill_lang::value;
use logmill_model::field;
use logmill_query_api::Order;

use super::Context;
use crate::logsql::functions;
use crate::logsql::rows::Rows;
use crate::logsql::scope::{Kind, Scope, TIME, Value, column};
use crate::records;

/// What a value is sorted by: numbers and times as such, texts in their natural order. What is not there comes first.
pub(super) fn sort_key(value: Value) -> Expr {
    match value.kind {
        Kind::Text => functions::bytes("sort_key", value.expr, value::order::write_sort_key),
        _ => value.expr,
    }
}

pub(super) fn ascending(value: Value) -> SortExpr {
    sort_key(value).sort(true, true)
}

/// Whether a field is the time of stored records.
fn is_time(scope: &Scope, name: &str) -> bool {
    scope.own_name(name) == TIME
        && scope
            .get(TIME)
            .is_some_and(|value| value.expr == column(field::TIMESTAMP))
}

/// A column with the number of each row, from 1, in its partition in this order.
pub(super) fn number(
    rows: &mut Rows<'_>,
    partitions: Vec<Expr>,
    order: Vec<SortExpr>,
) -> Result<Expr> {
    // An empty order is none, and the builder refuses it.
    let number = match (partitions.is_empty(), order.is_empty()) {
        (true, true) => row_number(),
        (true, false) => row_number().order_by(order).build()?,
        (false, true) => row_number().partition_by(partitions).build()?,
        (false, false) => row_number()
            .partition_by(partitions)
            .order_by(order)
            .build()?,
    };
    let mut number = cast(rows.window(number)?, DataType::Int64);
    // Two equal windows one right after the other would be made one, in a place where none can be.
    rows.compute(&mut [&mut number])?;
    Ok(number)
}

impl<'a> Context<'a> {
    pub(super) fn first(&self, rows: &mut Rows<'a>, first: &First, last: bool) -> Result<()> {
        let sort = Sort {
            by: first.by.clone(),
            descending: last,
            offset: None,
            limit: Some(first.limit),
            partition_by: first.partition_by.clone(),
            rank_field: first.rank_field.clone(),
        };
        self.sort(rows, &sort)
    }

    pub(super) fn sort(&self, rows: &mut Rows<'a>, sort: &Sort) -> Result<()> {
        let offset = sort.offset.unwrap_or(0);
        let end = sort.limit.map(|limit| limit.saturating_add(offset));
        if let ([by], Some(end)) = (sort.by.as_slice(), end)
            && sort.partition_by.is_empty()
            && sort.rank_field.is_none()
            && is_time(&rows.scope, &by.field)
        {
            let order = if by.descending != sort.descending {
                Order::Desc
            } else {
                Order::Asc
            };
            let end = usize::try_from(end).unwrap_or(usize::MAX);
            if rows.first(records::First { order, rows: end }) {
                return if offset > 0 {
                    rows.limit(offset, None)
                } else {
                    Ok(())
                };
            }
        }
        let order = order_of(&rows.scope, sort);
        if sort.partition_by.is_empty() {
            let fetch = end.map(|end| usize::try_from(end).unwrap_or(usize::MAX));
            rows.sort(&order, fetch)?;
            if let Some(name) = &sort.rank_field {
                let rank = number(rows, Vec::new(), order.clone())?;
                rows.scope.set(name, Value::new(rank, Kind::Integer));
                rows.sort(&order, None)?;
            }
            return match (offset, sort.limit) {
                (0, None) => Ok(()),
                (offset, limit) => rows.limit(offset, limit),
            };
        }
        let partitions = sort.partition_by.iter();
        let partitions: Vec<Value> = partitions.filter_map(|name| rows.scope.get(name)).collect();
        let keys = partitions.iter().map(|value| value.clone().key()).collect();
        let rank = number(rows, keys, order.clone())?;
        let mut within = rank
            .clone()
            .gt(lit(i64::try_from(offset).unwrap_or(i64::MAX)));
        if let Some(end) = end {
            within = within.and(
                rank.clone()
                    .lt_eq(lit(i64::try_from(end).unwrap_or(i64::MAX))),
            );
        }
        rows.filter(within)?;
        let partitions = partitions.into_iter().map(ascending);
        let whole: Vec<SortExpr> = partitions.chain(order).collect();
        rows.sort(&whole, None)?;
        if let Some(name) = &sort.rank_field {
            rows.scope.set(name, Value::new(rank, Kind::Integer));
        }
        Ok(())
    }
}

fn order_of(scope: &Scope, sort: &Sort) -> Vec<SortExpr> {
    let key = |value: Value, descending: bool| {
        // What is not there is less than everything.
        sort_key(value).sort(!descending, !descending)
    };
    if sort.by.is_empty() {
        let columns = scope.columns();
        let values = columns.map(|(_, value)| key(value.clone(), sort.descending));
        return values.collect();
    }
    let fields = sort.by.iter().filter_map(|by| {
        let value = scope.get(&by.field)?;
        Some(key(value, by.descending != sort.descending))
    });
    fields.collect()
}

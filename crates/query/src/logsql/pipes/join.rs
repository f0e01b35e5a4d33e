//! `join` and `union`: the records of another query.

use arrow_schema::DataType;
use datafusion::common::{Column, JoinType, Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, lit};
use logmill_lang::ast::{FieldPattern, Join, Query};

use super::Context;
use crate::logsql::functions;
use crate::logsql::rows::Rows;
use crate::logsql::scope::{Kind, Value, column};

impl<'a> Context<'a> {
    pub(super) fn join(&self, rows: &mut Rows<'a>, join: &Join) -> Result<()> {
        let mut other = self.rows(&join.query)?;
        // What is joined by twice is joined by once.
        let mut by: Vec<&String> = Vec::new();
        for name in &join.by {
            if !by.contains(&name) {
                by.push(name);
            }
        }
        // A field that one side does not have is empty in all of its records.
        let keys = |rows: &mut Rows<'a>| -> Result<Vec<String>> {
            let keys = by.iter().map(|name| {
                let value = rows.scope.get(name);
                value.map_or_else(
                    || lit("="),
                    |value| {
                        // Nothing is equal to null.
                        functions::text("key", "", vec![value.expr], |values, out| {
                            out.push('=');
                            out.extend(values.iter().copied());
                        })
                    },
                )
            });
            let mut keys: Vec<Expr> = keys.collect();
            rows.normalize_with(&mut keys)?;
            let names = keys.iter().filter_map(|key| key.try_as_col());
            Ok(names.map(|column| column.name.clone()).collect())
        };
        let left = keys(rows)?;
        let right = keys(&mut other)?;
        // The left side has them already.
        for name in &join.by {
            other.scope.remove(name);
        }
        if let Some(prefix) = &join.prefix {
            let to = FieldPattern::Prefix(prefix.clone());
            other.scope.rename(&FieldPattern::all(), &to, false);
        }
        let kind = if join.inner {
            JoinType::Inner
        } else {
            JoinType::Left
        };
        let right_plan = other.plan()?;
        let columns = |names: Vec<String>| -> Vec<Column> {
            names.into_iter().map(Column::new_unqualified).collect()
        };
        rows.change(|plan| plan.join(right_plan, kind, (columns(left), columns(right)), None))?;
        // What is there stays.
        for (name, value) in other.scope.columns() {
            let value = match rows.scope.get(name) {
                Some(own) => own.or(Some(value.clone())),
                None => value.clone(),
            };
            rows.scope.set(name, value);
        }
        if let Some(object) = other.scope.open() {
            rows.scope.add_object(&object, false);
        }
        Ok(())
    }

    pub(super) fn union(&self, rows: &mut Rows<'a>, query: &Query) -> Result<()> {
        let other = self.rows(query)?;
        let mut names: Vec<String> = Vec::new();
        for (name, _) in rows.scope.columns().chain(other.scope.columns()) {
            if !names.iter().any(|own| own == name) {
                names.push(name.to_owned());
            }
        }
        let kinds: Vec<Kind> = names
            .iter()
            .map(|name| {
                let kinds = [&rows.scope, &other.scope]
                    .map(|scope| scope.shown(name).map(|value| value.kind));
                match kinds {
                    [Some(left), Some(right)] if left == right => left,
                    [Some(only), None] | [None, Some(only)] => only,
                    _ => Kind::Text,
                }
            })
            .collect();
        let columns: Vec<String> = names.iter().map(|_| rows.new_name()).collect();
        let open =
            (rows.scope.open().is_some() || other.scope.open().is_some()).then(|| rows.new_name());
        let projected = |side: &Rows<'_>| -> Result<LogicalPlanBuilder> {
            let values = names.iter().zip(&kinds).zip(&columns);
            let values = values.map(|((name, kind), column)| {
                let value = side.scope.shown(name);
                of_kind(value, *kind).alias(column)
            });
            let object = open.as_ref().map(|open| {
                let object = side.scope.open();
                let object = object.unwrap_or_else(|| lit(ScalarValue::Utf8View(None)));
                cast(object, DataType::Utf8View).alias(open)
            });
            let all: Vec<Expr> = values.chain(object).collect();
            LogicalPlanBuilder::new(side.plan()?).project(all)
        };
        let left = projected(rows)?;
        let right = projected(&other)?.build()?;
        let whole = left.union(right)?.build()?;
        rows.change(|_| Ok(LogicalPlanBuilder::new(whole)))?;
        let values = names.into_iter().zip(kinds).zip(&columns);
        let values = values.map(|((name, kind), own)| (name, Value::new(column(own), kind)));
        rows.scope
            .replace(values.collect(), open.as_deref().map(column));
        Ok(())
    }
}

/// A value as one of another kind.
fn of_kind(value: Option<Value>, kind: Kind) -> Expr {
    match value {
        Some(value) if value.kind == kind => value.expr,
        Some(value) => value.shown(),
        None => lit(match kind {
            Kind::Text => ScalarValue::Utf8View(None),
            Kind::Integer => ScalarValue::Int64(None),
            Kind::Float => ScalarValue::Float64(None),
            Kind::Boolean => ScalarValue::Boolean(None),
            Kind::Time => ScalarValue::TimestampNanosecond(None, Some("UTC".into())),
        }),
    }
}

//! Pipes that count: `uniq`, `top`, `field_values`, `field_names`, `facets`.

use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit};
use logmill_lang::ast::{Facets, FieldValues, Top, Uniq};

use super::order::{ascending, number};
use crate::logsql::aggregates;
use crate::logsql::rows::Rows;
use crate::logsql::scope::{Kind, Scope, Value, column, member};

/// Groups the records by fields, and counts those of each group; gives the count.
fn count_by(rows: &mut Rows<'_>, by: &[String]) -> Result<Expr> {
    let mut groups = Vec::new();
    let mut columns = Vec::new();
    for name in by {
        let own = rows.new_name();
        let (key, kind) = group_key(&rows.scope, name);
        groups.push(key.alias(&own));
        columns.push((name.clone(), Value::new(column(&own), kind)));
    }
    let hits = rows.new_name();
    let aggregates = vec![count(lit(1_i64)).alias(&hits)];
    rows.aggregate(groups, aggregates, columns)?;
    Ok(column(&hits))
}

/// What groups records by a field.
pub(in crate::logsql) fn group_key(scope: &Scope, name: &str) -> (Expr, Kind) {
    match scope.get(name) {
        Some(value) => (value.clone().key(), value.kind),
        None => (lit(ScalarValue::Utf8View(None)), Kind::Text),
    }
}

pub(in crate::logsql) fn uniq(rows: &mut Rows<'_>, uniq: &Uniq) -> Result<()> {
    let hits = count_by(rows, &uniq.by)?;
    if let Some(name) = &uniq.hits_field {
        rows.scope.set(name, Value::new(hits, Kind::Integer));
    }
    match uniq.limit {
        Some(limit) if limit > 0 => rows.limit(0, Some(limit)),
        _ => Ok(()),
    }
}

pub(super) fn field_values(rows: &mut Rows<'_>, values: &FieldValues) -> Result<()> {
    let mut hits = "hits".to_owned();
    while hits == values.field {
        hits.push('s');
    }
    let values = Uniq {
        by: vec![values.field.clone()],
        hits_field: Some(hits),
        limit: values.limit,
    };
    uniq(rows, &values)
}

pub(super) fn top(rows: &mut Rows<'_>, top: &Top) -> Result<()> {
    let hits = count_by(rows, &top.by)?;
    let keys = rows.scope.columns();
    let keys = keys.map(|(_, value)| ascending(value.clone()));
    let order: Vec<_> = [hits.clone().sort(false, false)]
        .into_iter()
        .chain(keys)
        .collect();
    let fetch = usize::try_from(top.limit).unwrap_or(usize::MAX);
    rows.sort(&order, Some(fetch))?;
    rows.scope
        .set(&top.hits_field, Value::new(hits, Kind::Integer));
    if let Some(name) = &top.rank_field {
        let rank = number(rows, Vec::new(), order.clone())?;
        rows.scope.set(name, Value::new(rank, Kind::Integer));
        rows.sort(&order, None)?;
    }
    Ok(())
}

pub(super) fn field_names(rows: &mut Rows<'_>) -> Result<()> {
    let aggregate = aggregates::field_names(&rows.scope);
    spread(
        rows,
        aggregate,
        &[("name", Kind::Text), ("hits", Kind::Integer)],
    )
}

pub(super) fn facets(rows: &mut Rows<'_>, facets: &Facets) -> Result<()> {
    let aggregate = aggregates::facets(&rows.scope, facets);
    let members = [
        ("field_name", Kind::Text),
        ("field_value", Kind::Text),
        ("hits", Kind::Integer),
    ];
    spread(rows, aggregate, &members)
}

/// A record for each item of the list of structs that an aggregate makes of all records.
fn spread(rows: &mut Rows<'_>, aggregate: Expr, members: &[(&str, Kind)]) -> Result<()> {
    let list = rows.new_name();
    rows.change(|plan| {
        plan.aggregate(Vec::<Expr>::new(), [aggregate.alias(&list)])?
            .unnest_column(list.as_str())?
            .filter(column(&list).is_not_null())
    })?;
    let columns = members.iter().map(|(name, kind)| {
        let value = member(column(&list), name);
        ((*name).to_owned(), Value::new(value, *kind))
    });
    rows.scope = Scope::computed(columns.collect());
    Ok(())
}

//! Pipes that count records: `uniq`, `top`, `facets`, `field_names`, `field_values`.

use std::collections::BTreeMap;

use logmill_lang::ast::{Facets, FieldValues, Top, Uniq};
use logmill_lang::value::order::compare;

use super::index;
use crate::{Row, Rows, set};

/// How many records have which values of the fields.
fn count_by(rows: &Rows, fields: &[String]) -> BTreeMap<Vec<String>, u64> {
    let mut counts = BTreeMap::new();
    for row in &rows.rows {
        let key = fields.iter().map(|field| rows.get(row, field)).collect();
        *counts.entry(key).or_insert(0) += 1;
    }
    counts
}

fn to_row(fields: &[String], values: &[String], hits: Option<(&str, u64)>) -> Row {
    let mut row = Row::new();
    for (field, value) in fields.iter().zip(values) {
        set(&mut row, field, value.as_str());
    }
    if let Some((name, hits)) = hits {
        set(&mut row, name, hits.to_string());
    }
    row
}

pub(super) fn uniq(rows: &mut Rows, uniq: &Uniq) {
    let counts = count_by(rows, &uniq.by);
    let limit = match uniq.limit {
        None | Some(0) => usize::MAX,
        Some(limit) => index(limit),
    };
    let hits_field = uniq.hits_field.as_deref();
    let unique = counts
        .iter()
        .take(limit)
        .map(|(values, hits)| to_row(&uniq.by, values, hits_field.map(|field| (field, *hits))));
    *rows = Rows::computed(unique.collect());
}

pub(super) fn field_values(rows: &mut Rows, values: &FieldValues) {
    let by = Uniq {
        by: vec![values.field.clone()],
        hits_field: Some(match values.field.as_str() {
            "hits" => "hitss".to_owned(),
            _ => "hits".to_owned(),
        }),
        limit: values.limit,
    };
    uniq(rows, &by);
}

pub(super) fn top(rows: &mut Rows, top: &Top) {
    let mut counts: Vec<_> = count_by(rows, &top.by).into_iter().collect();
    counts.sort_by(|(left, left_hits), (right, right_hits)| {
        let values = left.iter().zip(right);
        let by_value = values
            .map(|(left, right)| compare(left, right))
            .find(|order| order.is_ne());
        right_hits
            .cmp(left_hits)
            .then(by_value.unwrap_or(std::cmp::Ordering::Equal))
    });
    counts.truncate(index(top.limit));
    let ranked = (1_u64..).zip(counts).map(|(rank, (values, hits))| {
        let mut row = to_row(&top.by, &values, Some((&top.hits_field, hits)));
        if let Some(field) = &top.rank_field {
            set(&mut row, field, rank.to_string());
        }
        row
    });
    *rows = Rows::computed(ranked.collect());
}

/// The values of every field, and how many records have them.
fn values_by_field(rows: &Rows) -> BTreeMap<&str, BTreeMap<&str, u64>> {
    let mut fields: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for (name, value) in rows.rows.iter().flatten() {
        *fields.entry(name).or_default().entry(value).or_insert(0) += 1;
    }
    fields
}

pub(super) fn field_names(rows: &mut Rows) {
    let fields = values_by_field(rows);
    let names = fields.iter().map(|(name, values)| {
        let hits: u64 = values.values().sum();
        Row::from([
            ("name".to_owned(), (*name).to_owned()),
            ("hits".to_owned(), hits.to_string()),
        ])
    });
    *rows = Rows::computed(names.collect());
}

pub(super) fn facets(rows: &mut Rows, facets: &Facets) {
    let total = rows.rows.len() as u64;
    let mut found = Vec::new();
    for (name, values) in values_by_field(rows) {
        let is_constant = values.len() == 1 && values.values().all(|hits| *hits == total);
        let is_long = |value: &&str| value.len() as u64 > facets.max_value_len;
        if values.len() as u64 > facets.max_values_per_field
            || values.keys().any(is_long)
            || (is_constant && !facets.keep_const_fields)
        {
            continue;
        }
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(|(left, left_hits), (right, right_hits)| {
            right_hits.cmp(left_hits).then(left.cmp(right))
        });
        for (value, hits) in values.into_iter().take(index(facets.limit)) {
            found.push(Row::from([
                ("field_name".to_owned(), name.to_owned()),
                ("field_value".to_owned(), value.to_owned()),
                ("hits".to_owned(), hits.to_string()),
            ]));
        }
    }
    *rows = Rows::computed(found);
}

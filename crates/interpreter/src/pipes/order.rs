//! `sort`, `first`, `last`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use logmill_lang::ast::{First, Sort};
use logmill_lang::value::order::compare;

use super::index;
use crate::{Row, Rows, set};

pub(super) fn first(rows: &mut Rows, first: &First, last: bool) {
    let sort = Sort {
        by: first.by.clone(),
        descending: last,
        offset: None,
        limit: Some(first.limit),
        partition_by: first.partition_by.clone(),
        rank_field: first.rank_field.clone(),
    };
    self::sort(rows, &sort);
}

pub(super) fn sort(rows: &mut Rows, sort: &Sort) {
    let mut partitions: BTreeMap<Vec<String>, Vec<Row>> = BTreeMap::new();
    for row in &rows.rows {
        let names = sort.partition_by.iter();
        let key = names.map(|name| rows.get(row, name)).collect();
        partitions.entry(key).or_default().push(row.clone());
    }
    let mut sorted = Vec::new();
    for mut partition in partitions.into_values() {
        partition.sort_by(|left, right| order(rows, left, right, sort));
        for (rank, row) in (1_u64..).zip(&mut partition) {
            if let Some(name) = &sort.rank_field {
                set(row, name, rank.to_string());
            }
        }
        let skipped = partition.into_iter().skip(index(sort.offset.unwrap_or(0)));
        sorted.extend(skipped.take(index(sort.limit.unwrap_or(u64::MAX))));
    }
    rows.rows = sorted;
}

/// Which of two records comes first.
fn order(rows: &Rows, left: &Row, right: &Row, sort: &Sort) -> Ordering {
    let turned = |order: Ordering, descending: bool| {
        if descending { order.reverse() } else { order }
    };
    if sort.by.is_empty() {
        let names = left.keys().chain(right.keys());
        let order = names
            .map(|name| compare(&rows.get(left, name), &rows.get(right, name)))
            .find(|order| order.is_ne());
        return turned(order.unwrap_or(Ordering::Equal), sort.descending);
    }
    sort.by
        .iter()
        .map(|by| {
            let order = compare(&rows.get(left, &by.field), &rows.get(right, &by.field));
            turned(order, by.descending != sort.descending)
        })
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

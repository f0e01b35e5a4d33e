//! The granules of a segment that may hold a match.

use std::collections::BTreeMap;
use std::ops::Range;

use datafusion::common::Result;
use logmill_model::TimeRange;
use logmill_schema::ColumnType;
use logmill_segment::{ColumnSeed, GRANULE_ROWS, GranuleSet, TokenIndex, token_hash};

use super::Condition;
use crate::segments::{OpenSegment, Source};

/// The granules of which a row may be in `range` and satisfy `condition`; and the bytes that were read to know.
pub(crate) async fn granules(
    segment: &OpenSegment,
    source: &Source,
    condition: &Condition,
    range: TimeRange,
) -> Result<(GranuleSet, u64)> {
    let mut found = in_time(segment, range);
    let mut hashes = BTreeMap::new();
    if segment.index().is_some() {
        tokens(segment, condition, &mut hashes);
    }
    let mut bytes = 0;
    if let (Some(index), false) = (segment.index(), hashes.is_empty() || found.is_empty()) {
        bytes = look_up(index, source, &mut hashes).await?;
    }
    if let Some(set) = evaluate(segment, condition, &hashes) {
        found.intersect(&set);
    }
    Ok((found, bytes))
}

/// Finds all hashes that are to be looked up.
fn tokens(segment: &OpenSegment, condition: &Condition, hashes: &mut BTreeMap<u32, GranuleSet>) {
    match condition {
        Condition::Token(column, token) if segment.column(column) == Some(ColumnType::String) => {
            hashes.insert(hash(column, token), GranuleSet::none(0));
        }
        Condition::And(parts) | Condition::Or(parts) => {
            parts.iter().for_each(|part| tokens(segment, part, hashes));
        }
        Condition::Unknown | Condition::Present(_) | Condition::Token(..) => {}
    }
}

/// What the index has of a token.
fn hash(column: &str, token: &str) -> u32 {
    token_hash(ColumnSeed::of(column), token)
}

async fn look_up(
    index: &TokenIndex,
    source: &Source,
    hashes: &mut BTreeMap<u32, GranuleSet>,
) -> Result<u64> {
    let ranges: Vec<Range<u64>> = hashes.keys().map(|hash| index.block_range(*hash)).collect();
    let blocks = source.read(&ranges).await?;
    for ((hash, set), block) in hashes.iter_mut().zip(&blocks) {
        *set = index.look_up(*hash, block).unwrap_or_else(|_damaged| {
            // An answer that takes longer is better than none, or than a wrong one.
            metrics::counter!("logmill_token_index_failures_total").increment(1);
            GranuleSet::all(index.location().granules)
        });
    }
    Ok(blocks.iter().map(|block| block.len() as u64).sum())
}

/// The granules that satisfy a condition; `None` is all of them.
fn evaluate(
    segment: &OpenSegment,
    condition: &Condition,
    hashes: &BTreeMap<u32, GranuleSet>,
) -> Option<GranuleSet> {
    let none = || Some(GranuleSet::none(segment.granules()));
    match condition {
        Condition::Unknown => None,
        Condition::Present(column) => match segment.column(column) {
            Some(_) => None,
            None => none(),
        },
        Condition::Token(column, token) => match segment.column(column) {
            // Numbers that the table has as text are not in the index.
            Some(ColumnType::String) => hashes.get(&hash(column, token)).cloned(),
            Some(_) => None,
            None => none(),
        },
        Condition::And(parts) => parts
            .iter()
            .filter_map(|part| evaluate(segment, part, hashes))
            .reduce(|mut all, part| {
                all.intersect(&part);
                all
            }),
        Condition::Or(parts) => {
            let mut any = GranuleSet::none(segment.granules());
            for part in parts {
                any.unite(&evaluate(segment, part, hashes)?);
            }
            Some(any)
        }
    }
}

/// The granules that have a row in `range`, by the statistics of row groups and pages.
fn in_time(segment: &OpenSegment, range: TimeRange) -> GranuleSet {
    let file = segment.file();
    let mut found = GranuleSet::none(segment.granules());
    for row_group in 0..file.row_groups() {
        let granules = segment.granules_of(row_group);
        let (min, max) = file.times(row_group);
        if !range.overlaps_inclusive(min, max) {
            continue;
        }
        let whole = range.start_ns <= min && max < range.end_ns;
        let pages = if whole {
            None
        } else {
            segment.page_times(row_group)
        };
        let Some(pages) = pages else {
            granules.for_each(|granule| found.insert(granule));
            continue;
        };
        for page in pages.filter(|page| range.overlaps_inclusive(page.min_ns, page.max_ns)) {
            let within = |row: usize| granules.start.saturating_add((row / GRANULE_ROWS) as u32);
            let last = within(page.rows.end.saturating_sub(1));
            (within(page.rows.start)..=last)
                .filter(|granule| granules.contains(granule))
                .for_each(|granule| found.insert(granule));
        }
    }
    found
}

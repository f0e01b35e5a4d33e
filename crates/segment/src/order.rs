//! The order of a row group's rows: service, message shape, host, time. Like stands by like, which is what compresses and
//! what lets pages of other services be skipped. Hosts cost nothing where they stand together, and times lose no more
//! by it than hosts save.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampNanosecondType};
use arrow_array::{Array, RecordBatch, StringArray};
use logmill_model::field;
use rustc_hash::FxHashMap;

use crate::index::Tokeniser;
use crate::{Error, Result};

/// A row of a list of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which batch.
    pub batch: u32,
    /// Which of its rows.
    pub row: u32,
}

/// Tokens of a message that make its shape.
const SHAPE_TOKENS: usize = 8;

/// Rows of one service and shape that stand together; of rarer shapes, all of a service do.
const GROUP_ROWS_MIN: usize = 16;

/// The rows of all batches, in the order they came.
pub fn positions(batches: &[RecordBatch]) -> Vec<Position> {
    let rows = |(batch, rows): (usize, &RecordBatch)| {
        (0..rows.num_rows() as u32).map(move |row| Position {
            batch: batch as u32,
            row,
        })
    };
    batches.iter().enumerate().flat_map(rows).collect()
}

/// The times of a batch's rows.
pub fn timestamps(batch: &RecordBatch) -> Result<&[i64]> {
    let column = batch.column_by_name(field::TIMESTAMP);
    let column = column.and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    match column {
        Some(column) if column.null_count() == 0 => Ok(column.values()),
        _ => Err(Error::NotASegment("a batch has no timestamps".to_owned())),
    }
}

/// Puts rows in the order of a row group.
pub(crate) fn sort(
    batches: &[RecordBatch],
    rows: &mut Vec<Position>,
    tokeniser: &mut Tokeniser,
) -> Result<()> {
    let times: Vec<&[i64]> = batches.iter().map(timestamps).collect::<Result<_>>()?;
    let hosts = ranks(batches, field::HOST);
    let keys = keys(batches, rows, tokeniser);
    let mut groups: FxHashMap<(u32, u32), u32> = FxHashMap::default();
    for key in &keys {
        *groups.entry(*key).or_default() += 1;
    }
    // Rare shapes of a service go together, in shape 0.
    let group_of = |(service, shape): (u32, u32)| {
        let rare = groups
            .get(&(service, shape))
            .is_none_or(|count| (*count as usize) < GROUP_ROWS_MIN);
        (service, if rare { 0 } else { shape })
    };
    let mut sizes: FxHashMap<(u32, u32), usize> = FxHashMap::default();
    for (key, count) in &groups {
        *sizes.entry(group_of(*key)).or_default() += *count as usize;
    }
    let mut ordered: Vec<_> = sizes.into_iter().collect();
    ordered.sort_unstable();
    let mut starts = FxHashMap::default();
    let mut bounds = Vec::with_capacity(ordered.len());
    let mut start = 0;
    for (key, size) in ordered {
        starts.insert(key, start);
        bounds.push(start..start + size);
        start += size;
    }
    let mut sorted = vec![Row::default(); rows.len()];
    let mut last = None;
    for (position, key) in rows.iter().zip(&keys) {
        let group = match last {
            Some((before, group)) if before == *key => group,
            _ => group_of(*key),
        };
        last = Some((*key, group));
        if let Some(next) = starts.get_mut(&group) {
            sorted[*next] = Row {
                host: rank_of(&hosts, position),
                time: times[position.batch as usize][position.row as usize],
                position: *position,
            };
            *next += 1;
        }
    }
    for group in bounds {
        // By position last: records of one instant keep the order of their arrival.
        sorted[group].sort_unstable();
    }
    rows.clear();
    rows.extend(sorted.into_iter().map(|row| row.position));
    Ok(())
}

/// A row of a group, with what it is sorted by.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    host: u32,
    time: i64,
    position: Position,
}

/// Service and shape of each row.
fn keys(batches: &[RecordBatch], rows: &[Position], tokeniser: &mut Tokeniser) -> Vec<(u32, u32)> {
    let services = ranks(batches, field::SERVICE);
    let messages: Vec<Option<&StringArray>> = batches
        .iter()
        .map(|batch| {
            batch
                .column_by_name(field::MESSAGE)
                .and_then(|column| column.as_string_opt::<i32>())
        })
        .collect();
    let key = |at: &Position| {
        let service = rank_of(&services, at);
        let shape = match messages[at.batch as usize] {
            Some(messages) if !messages.is_null(at.row as usize) => {
                let shape = tokeniser.shape(messages.value(at.row as usize), SHAPE_TOKENS);
                ((shape >> 32) as u32).max(1)
            }
            _ => 0,
        };
        (service, shape)
    };
    rows.iter().map(key).collect()
}

type Ranks<'a> = Option<(&'a arrow_array::Int32Array, Vec<u32>)>;

/// The rank of a row's value; 0 when it has none.
fn rank_of(ranks: &[Ranks<'_>], at: &Position) -> u32 {
    match &ranks[at.batch as usize] {
        Some((keys, ranks)) if !keys.is_null(at.row as usize) => {
            let key = keys.value(at.row as usize);
            ranks.get(key as usize).copied().unwrap_or(0)
        }
        _ => 0,
    }
}

/// Each batch's dictionary of a column, as ranks among the values of all batches, from 1.
fn ranks<'a>(batches: &'a [RecordBatch], column: &str) -> Vec<Ranks<'a>> {
    let dictionaries: Vec<_> = batches
        .iter()
        .map(|batch| {
            let column = batch.column_by_name(column)?;
            let column = column.as_dictionary_opt::<Int32Type>()?;
            Some((column.keys(), column.values().as_string_opt::<i32>()?))
        })
        .collect();
    let mut names: Vec<&str> = dictionaries
        .iter()
        .flatten()
        .flat_map(|(_, values)| values.iter().flatten())
        .collect();
    names.sort_unstable();
    names.dedup();
    let rank = |name: Option<&str>| {
        name.and_then(|name| names.binary_search(&name).ok())
            .map_or(0, |rank| rank as u32 + 1)
    };
    dictionaries
        .into_iter()
        .map(|dictionary| {
            let (keys, values) = dictionary?;
            Some((keys, values.iter().map(rank).collect()))
        })
        .collect()
}

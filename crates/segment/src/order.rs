//! The order of a row group's rows: service, message shape, host, time. Like stands by like, which is what compresses and
//! what lets pages of other services be skipped. Hosts cost nothing where they stand together, and times lose no more
//! by it than hosts save.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array, RecordBatch};
use logmill_model::field;
use rustc_hash::FxHashMap;

use crate::gather::{Columns, Dictionary};
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
pub(crate) fn sort(columns: &Columns<'_>, rows: &mut [Position], tokeniser: &mut Tokeniser) {
    let hosts = columns.dictionary(field::HOST);
    let keys = keys(columns, rows, tokeniser);
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
                host: rank(hosts, position),
                time: columns.time(position),
                position: *position,
            };
            *next += 1;
        }
    }
    for group in bounds {
        // By position last: records of one instant keep the order of their arrival.
        sorted[group].sort_unstable();
    }
    for (place, row) in rows.iter_mut().zip(sorted) {
        *place = row.position;
    }
}

/// A row of a group, with what it is sorted by.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    host: u32,
    time: i64,
    position: Position,
}

/// Service and shape of each row.
fn keys(columns: &Columns<'_>, rows: &[Position], tokeniser: &mut Tokeniser) -> Vec<(u32, u32)> {
    let services = columns.dictionary(field::SERVICE);
    let messages = columns.texts(field::MESSAGE);
    let key = |at: &Position| {
        let message = messages.and_then(|messages| messages.get(at));
        let shape = message.map_or(0, |message| {
            let shape = tokeniser.shape(message, SHAPE_TOKENS);
            ((shape >> u32::BITS) as u32).max(1)
        });
        (rank(services, at), shape)
    };
    rows.iter().map(key).collect()
}

/// The place of a row's value among all, from 1; 0 when it has none.
fn rank(dictionary: Option<&Dictionary>, at: &Position) -> u32 {
    dictionary
        .and_then(|dictionary| dictionary.key(at))
        .map_or(0, |key| key + 1)
}

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
use crate::write::table_of;
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

/// The rows of all batches in the order in which [`encode`](crate::encode) writes them as one row group.
pub fn ordered(batches: &[RecordBatch]) -> Result<Vec<Position>> {
    let columns = Columns::of(batches, &table_of(batches).to_arrow())?;
    let mut rows = positions(batches);
    sort(&columns, &mut rows, &mut Tokeniser::default());
    Ok(rows)
}

/// Puts rows in the order of a row group.
pub(crate) fn sort(columns: &Columns<'_>, rows: &mut [Position], tokeniser: &mut Tokeniser) {
    let shapes = group(shapes(columns, rows, tokeniser));
    // Rare shapes of a service go together, as shape 0.
    let merged: Vec<(u32, u32)> = shapes
        .keys
        .iter()
        .zip(&shapes.sizes)
        .map(|((service, shape), size)| {
            let rare = *size < GROUP_ROWS_MIN;
            (*service, if rare { 0 } else { *shape })
        })
        .collect();
    let mut order = merged.clone();
    order.sort_unstable();
    order.dedup();
    let rank_of = |shape: &(u32, u32)| order.partition_point(|other| other < shape) as u32;
    let ranks: Vec<u32> = merged.iter().map(rank_of).collect();
    let hosts = columns.dictionary(field::HOST);
    let key = |(at, shape): (&Position, &u32)| (ranks[*shape as usize], rank(hosts, at));
    let groups = group(rows.iter().zip(&shapes.of_rows).map(key));

    let mut order: Vec<u32> = (0..groups.keys.len() as u32).collect();
    order.sort_unstable_by_key(|group| groups.keys[*group as usize]);
    let mut next = vec![0; order.len()];
    let mut start = 0;
    for group in &order {
        next[*group as usize] = start;
        start += groups.sizes[*group as usize];
    }
    let mut sorted = vec![Row::default(); rows.len()];
    for (at, group) in rows.iter().zip(&groups.of_rows) {
        let place = &mut next[*group as usize];
        sorted[*place] = Row {
            time: columns.time(at),
            position: *at,
        };
        *place += 1;
    }
    let mut rest = sorted.as_mut_slice();
    for group in order {
        let (rows, after) = rest.split_at_mut(groups.sizes[group as usize]);
        // Records of one instant keep the order of their arrival.
        rows.sort_by_key(|row| row.time);
        rest = after;
    }
    for (place, row) in rows.iter_mut().zip(sorted) {
        *place = row.position;
    }
}

/// A row, with what it is sorted by among those of its group.
#[derive(Clone, Copy, Default)]
struct Row {
    time: i64,
    position: Position,
}

/// Rows of one key are a group; groups are numbered as they appear.
struct Groups {
    of_rows: Vec<u32>,
    keys: Vec<(u32, u32)>,
    sizes: Vec<usize>,
}

fn group(keys_of_rows: impl ExactSizeIterator<Item = (u32, u32)>) -> Groups {
    let mut numbers: FxHashMap<(u32, u32), u32> = FxHashMap::default();
    let mut groups = Groups {
        of_rows: Vec::with_capacity(keys_of_rows.len()),
        keys: Vec::new(),
        sizes: Vec::new(),
    };
    for key in keys_of_rows {
        let number = *numbers.entry(key).or_insert_with(|| {
            groups.keys.push(key);
            groups.sizes.push(0);
            groups.keys.len() as u32 - 1
        });
        groups.sizes[number as usize] += 1;
        groups.of_rows.push(number);
    }
    groups
}

/// Service and shape of each row.
fn shapes(
    columns: &Columns<'_>,
    rows: &[Position],
    tokeniser: &mut Tokeniser,
) -> impl ExactSizeIterator<Item = (u32, u32)> {
    let services = columns.dictionary(field::SERVICE);
    let messages = columns.texts(field::MESSAGE);
    rows.iter().map(move |at| {
        let message = messages.and_then(|messages| messages.get(at));
        let shape = message.map_or(0, |message| {
            let shape = tokeniser.shape(message, SHAPE_TOKENS);
            ((shape >> u32::BITS) as u32).max(1)
        });
        (rank(services, at), shape)
    })
}

/// The place of a row's value among all, from 1; 0 when it has none.
fn rank(dictionary: Option<&Dictionary>, at: &Position) -> u32 {
    dictionary
        .and_then(|dictionary| dictionary.key(at))
        .map_or(0, |key| key + 1)
}

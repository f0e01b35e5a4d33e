//! Live records.

use std::pin::Pin;

use arrow_array::RecordBatch;
use futures::Stream;

use crate::{Result, Selection};

/// Records as they become visible, after the latest ones that are there.
#[derive(Clone, Debug, PartialEq)]
pub struct TailQuery {
    /// Which records; its range is that of the latest ones alone, for what arrives may have any time.
    pub selection: Selection,
    /// Columns of the records; all that have a value when `None`.
    pub fields: Option<Vec<String>>,
    /// So many of the latest records come first, the oldest of them first.
    pub backfill: u64,
    /// The last id that another tail of the tenant gave: what became visible since then comes first, and no latest records.
    pub after: Option<String>,
}

/// What happens on a tail.
#[derive(Clone, Debug)]
pub enum TailEvent {
    /// Records that match.
    Records {
        /// The records.
        batch: RecordBatch,
        /// Of each, the id after which a tail goes on behind it; none for the latest records.
        ids: Vec<String>,
    },
    /// Records that were not told, because the reader is slow.
    Missed {
        /// How many; `None`: nobody knows how many came since the id that was given, for they are not in memory any more.
        records: Option<u64>,
        /// Whether all of them match; otherwise nobody has looked, and this is the most there can be.
        exact: bool,
    },
    /// Nothing, for as long as [`TailLimits::keep_alive_ms`](crate::TailLimits::keep_alive_ms).
    Idle {
        /// After which a tail goes on from here.
        id: String,
    },
}

/// What happens, as it happens. The stream ends when the process cannot go on telling every record; a reader then asks
/// again. Dropping it ends the tail.
pub type TailEvents = Pin<Box<dyn Stream<Item = Result<TailEvent>> + Send>>;

/// A tail.
pub struct Tail {
    /// What happens.
    pub events: TailEvents,
    /// After which a tail goes on behind the latest records.
    pub id: String,
    /// For people: fields that no record has yet.
    pub warnings: Vec<String>,
}

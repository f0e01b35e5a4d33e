//! What waits for the reader of a tail: bounded in bytes, and what does not fit is counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow_array::{RecordBatch, UInt64Array};
use datafusion::common::Result;
use futures::Stream;
use logmill_query_api::{Error, TailEvent};
use logmill_store::Position;
use tokio::sync::Notify;

use super::ids::Ids;
use crate::stream::AbortOnDrop;

/// Rows of a batch that match, and about how long one is.
#[derive(Debug)]
pub(super) struct Found {
    /// In their order.
    pub(super) rows: Vec<u64>,
    /// How many rows the batch has.
    pub(super) of: u64,
    pub(super) row_bytes: u64,
}

/// What both ends share.
#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Notify,
    max_bytes: u64,
}

#[derive(Debug)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: u64,
    /// How far records were looked at.
    seen: Position,
    /// Nothing more comes; the failure is told after what waits.
    ended: Option<Option<Error>>,
}

#[derive(Debug)]
enum Item {
    Records {
        batch: RecordBatch,
        /// Behind each record.
        ends: Vec<Position>,
        bytes: u64,
    },
    Missed {
        records: Option<u64>,
        exact: bool,
    },
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue of so many bytes, for what comes after a position.
pub(super) fn queue(max_bytes: u64, seen: Position) -> (Writer, Reader) {
    let waiting = Waiting {
        items: VecDeque::new(),
        bytes: 0,
        seen,
        ended: None,
    };
    let shared = Arc::new(Shared {
        waiting: Mutex::new(waiting),
        changed: Notify::new(),
        max_bytes,
    });
    (Writer(shared.clone()), Reader(shared))
}

/// The end that records are put into. Dropped, it ends the queue.
#[derive(Debug)]
pub(super) struct Writer(Arc<Shared>);

impl Writer {
    /// Puts as many of the rows in as there is room for; `take` copies them. The others are missed. `first` is where the
    /// batch begins.
    pub(super) fn push(
        &self,
        first: Position,
        found: Found,
        take: impl FnOnce(&UInt64Array) -> Result<RecordBatch>,
    ) -> Result<()> {
        let mut rows = found.rows;
        let all = first.rows + found.of;
        let row_bytes = found.row_bytes.max(1);
        let room = {
            let waiting = self.0.waiting();
            let room = self.0.max_bytes.saturating_sub(waiting.bytes) / row_bytes;
            // A record that is longer than the whole queue gets through as well.
            room.max(u64::from(waiting.items.is_empty()))
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let missed = rows.len().saturating_sub(room) as u64;
        rows.truncate(room);
        if !rows.is_empty() {
            let bytes = row_bytes.saturating_mul(rows.len() as u64);
            let ends = rows.iter();
            let ends = ends.map(|row| Position::behind(first.sequence, first.rows + row + 1, all));
            let ends = ends.collect();
            let batch = take(&UInt64Array::from(rows))?;
            let mut waiting = self.0.waiting();
            waiting.bytes += bytes;
            waiting
                .items
                .push_back(Item::Records { batch, ends, bytes });
        }
        if missed > 0 {
            self.miss(Some(missed), true);
        }
        self.0.changed.notify_one();
        Ok(())
    }

    /// All records before this were looked at.
    pub(super) fn seen(&self, position: Position) {
        self.0.waiting().seen = position;
    }

    /// Records are not told, nobody knows how many if `None`; `all_match` says whether somebody has looked at them.
    pub(super) fn miss(&self, missed: Option<u64>, all_match: bool) {
        let mut waiting = self.0.waiting();
        if let Some(Item::Missed { records, exact }) = waiting.items.back_mut() {
            *records = records.zip(missed).map(|(one, other)| one + other);
            *exact &= all_match;
        } else {
            waiting.items.push_back(Item::Missed {
                records: missed,
                exact: all_match,
            });
        }
        drop(waiting);
        self.0.changed.notify_one();
    }

    /// Ends the queue with an error.
    pub(super) fn fail(self, error: Error) {
        self.0.waiting().ended = Some(Some(error));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.waiting().ended.get_or_insert(None);
        self.0.changed.notify_one();
    }
}

/// The end that is read.
#[derive(Debug)]
pub(super) struct Reader(Arc<Shared>);

impl Reader {
    /// What comes, until the queue ends; dropping the stream ends the task.
    pub(super) fn events(
        self,
        keep_alive: Duration,
        ids: Ids,
        task: AbortOnDrop<()>,
    ) -> impl Stream<Item = Result<TailEvent, Error>> + Send {
        futures::stream::unfold((self, ids, task), move |(reader, ids, task)| async move {
            let event = match tokio::time::timeout(keep_alive, reader.next(&ids)).await {
                Ok(event) => event?,
                Err(_elapsed) => match reader.idle(&ids) {
                    Some(event) => Ok(event),
                    None => reader.next(&ids).await?,
                },
            };
            Some((event, (reader, ids, task)))
        })
    }

    /// That nothing waits, if nothing does.
    fn idle(&self, ids: &Ids) -> Option<TailEvent> {
        let waiting = self.0.waiting();
        let id = waiting.items.is_empty().then(|| ids.id(waiting.seen))?;
        Some(TailEvent::Idle { id })
    }

    async fn next(&self, ids: &Ids) -> Option<Result<TailEvent, Error>> {
        loop {
            {
                let mut waiting = self.0.waiting();
                match waiting.items.pop_front() {
                    Some(Item::Records { batch, ends, bytes }) => {
                        waiting.bytes -= bytes;
                        let ids = ends.into_iter().map(|end| ids.id(end)).collect();
                        return Some(Ok(TailEvent::Records { batch, ids }));
                    }
                    Some(Item::Missed { records, exact }) => {
                        return Some(Ok(TailEvent::Missed { records, exact }));
                    }
                    None => {}
                }
                if let Some(failure) = &mut waiting.ended {
                    // Told once.
                    return failure.take().map(Err);
                }
            }
            self.0.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, ArrayRef};
    use futures::StreamExt;

    use super::*;

    fn push(writer: &Writer, rows: std::ops::Range<u64>, row_bytes: u64) {
        let found = Found {
            rows: rows.collect(),
            of: 100,
            row_bytes,
        };
        let take = |rows: &UInt64Array| {
            let column: ArrayRef = Arc::new(rows.clone());
            Ok(RecordBatch::try_from_iter([("n", column)])?)
        };
        writer.push(BEGIN, found, take).unwrap();
    }

    const BEGIN: Position = Position {
        sequence: 7,
        rows: 100,
    };

    fn told(event: Option<Result<TailEvent, Error>>) -> (usize, u64) {
        match event.unwrap().unwrap() {
            TailEvent::Records { batch, ids } => {
                assert_eq!(ids.len(), batch.num_rows());
                (batch.column(0).len(), 0)
            }
            TailEvent::Missed { records, exact } => {
                assert!(exact);
                (0, records.unwrap())
            }
            TailEvent::Idle { .. } => (0, 0),
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_where_it_would_stand() {
        let (writer, reader) = queue(100, BEGIN);
        let ids = Ids::of(&"a".parse().unwrap(), &[0; 32]);
        push(&writer, 0..6, 10);
        push(&writer, 6..20, 10);
        push(&writer, 20..25, 10);
        let keep_alive = Duration::from_millis(10);
        let task = AbortOnDrop(tokio::spawn(std::future::pending()));
        let mut events = Box::pin(reader.events(keep_alive, ids.clone(), task));
        assert_eq!(told(events.next().await), (6, 0));
        assert_eq!(told(events.next().await), (4, 0));
        assert_eq!(told(events.next().await), (0, 15));
        let position = Position {
            sequence: 8,
            rows: 0,
        };
        writer.seen(position);
        let Some(Ok(TailEvent::Idle { id })) = events.next().await else {
            panic!("nothing waits");
        };
        assert_eq!(ids.position(&id), Some(position));
        // One record that is longer than the queue.
        push(&writer, 0..2, 1_000);
        assert_eq!(told(events.next().await), (1, 0));
        assert_eq!(told(events.next().await), (0, 1));
        push(&writer, 0..1, 1);
        let error = Error::TooManyTails { open: 0 };
        writer.fail(error);
        assert_eq!(told(events.next().await), (1, 0));
        assert!(events.next().await.unwrap().is_err());
        assert!(events.next().await.is_none());
    }
}

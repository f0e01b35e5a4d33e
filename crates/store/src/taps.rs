//! Batches as they become visible, for those who follow a tenant.
//!
//! Nothing is done for a tenant that nobody follows, and one send for all who follow it. A follower that does not keep up
//! is told how many records it missed, and holds nobody up. One that comes back says how far it was, and is told what came
//! meanwhile as long as that is in memory.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use logmill_model::TenantId;
use rustc_hash::FxHashMap;
use tokio::sync::broadcast;

/// Batches that may wait for the slowest follower.
const WAITING_BATCHES: usize = 32;

/// How far somebody was told of a tenant's records: all before it in its partition of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// An entry of the queue.
    pub sequence: u64,
    /// So many of its first records.
    pub rows: u64,
}

impl Position {
    /// Behind so many records of an entry that has `all`.
    pub fn behind(sequence: u64, rows: u64, all: u64) -> Self {
        if rows < all {
            return Self { sequence, rows };
        }
        Self {
            sequence: sequence + 1,
            rows: 0,
        }
    }
}

/// A batch that became visible.
#[derive(Clone, Debug)]
struct Arrival {
    /// Records that arrived before it, since the first of those who follow the tenant now came.
    rows_before: u64,
    sequence: u64,
    batch: RecordBatch,
}

/// What became of a tenant.
#[derive(Clone, Debug)]
pub enum Followed {
    /// Records became visible; the first of them is here.
    Batch(Position, RecordBatch),
    /// So many records became visible while the follower was not looking; they are not told.
    Missed(u64),
}

/// What becomes visible of a tenant.
#[derive(Debug)]
pub struct Follower {
    receive: broadcast::Receiver<Arrival>,
    /// Records that arrived since the tap is there and were told, or missed.
    rows: u64,
    /// What came behind missed records.
    next: Option<Arrival>,
    /// How far it was told.
    told: Position,
    /// What became visible before it came back.
    meanwhile: VecDeque<(u64, RecordBatch)>,
}

impl Follower {
    /// What came next; `None` when nothing more will be told: this process has lost its place in the queue, and a reader
    /// has to begin anew.
    pub async fn next(&mut self) -> Option<Followed> {
        while let Some((sequence, batch)) = self.meanwhile.pop_front() {
            if let Some(told) = self.tell(sequence, &batch) {
                return Some(told);
            }
        }
        loop {
            let arrival = match self.next.take() {
                Some(arrival) => arrival,
                None => match self.receive.recv().await {
                    Ok(arrival) => arrival,
                    // The next batch says how many records these had.
                    Err(broadcast::error::RecvError::Lagged(_batches)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            };
            if arrival.rows_before > self.rows {
                let missed = arrival.rows_before - self.rows;
                self.rows = arrival.rows_before;
                self.next = Some(arrival);
                return Some(Followed::Missed(missed));
            }
            self.rows += arrival.batch.num_rows() as u64;
            if let Some(told) = self.tell(arrival.sequence, &arrival.batch) {
                return Some(told);
            }
        }
    }

    /// What of a batch was not told before, elsewhere.
    fn tell(&mut self, sequence: u64, batch: &RecordBatch) -> Option<Followed> {
        let rows = batch.num_rows();
        let from = match self.told.sequence.cmp(&sequence) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => usize::try_from(self.told.rows).unwrap_or(usize::MAX),
            std::cmp::Ordering::Greater => rows,
        };
        if from >= rows {
            return None;
        }
        let first = Position {
            sequence,
            rows: from as u64,
        };
        self.told = Position::behind(sequence, rows as u64, rows as u64);
        Some(Followed::Batch(first, batch.slice(from, rows - from)))
    }

    /// How far it was told.
    pub fn told(&self) -> Position {
        self.told
    }
}

/// Those who follow tenants.
#[derive(Debug, Default)]
pub(crate) struct Taps(FxHashMap<TenantId, Tap>);

#[derive(Debug)]
struct Tap {
    /// The partition that the tenant's records come by.
    partition: u32,
    rows: u64,
    send: broadcast::Sender<Arrival>,
}

impl Taps {
    /// Begins to follow a tenant, or goes on after what was told. `meanwhile` is what became visible since then.
    pub(crate) fn follow(
        &mut self,
        tenant: &TenantId,
        partition: u32,
        told: Position,
        meanwhile: VecDeque<(u64, RecordBatch)>,
    ) -> Follower {
        self.0.retain(|_, tap| tap.send.receiver_count() > 0);
        let tap = self.0.entry(tenant.clone()).or_insert_with(|| Tap {
            partition,
            rows: 0,
            send: broadcast::Sender::new(WAITING_BATCHES),
        });
        Follower {
            receive: tap.send.subscribe(),
            rows: tap.rows,
            next: None,
            told,
            meanwhile,
        }
    }

    /// A batch of the tenant became visible.
    pub(crate) fn tell(&mut self, tenant: &TenantId, sequence: u64, batch: &RecordBatch) {
        if self.0.is_empty() {
            return;
        }
        let Some(tap) = self.0.get_mut(tenant) else {
            return;
        };
        let arrival = Arrival {
            rows_before: tap.rows,
            sequence,
            batch: batch.clone(),
        };
        tap.rows += batch.num_rows() as u64;
        if tap.send.send(arrival).is_err() {
            self.0.remove(tenant);
        }
    }

    /// Records of the partition became visible, or will, in another way than batch by batch: who follows it has to begin
    /// anew.
    pub(crate) fn interrupt(&mut self, partition: u32) {
        self.0.retain(|_, tap| tap.partition != partition);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array};

    use super::*;

    const BEGIN: Position = Position {
        sequence: 0,
        rows: 0,
    };

    fn batch(rows: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("n", numbers)]).unwrap()
    }

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    fn follow(taps: &mut Taps, name: &str, partition: u32) -> Follower {
        taps.follow(&tenant(name), partition, BEGIN, VecDeque::new())
    }

    async fn rows(follower: &mut Follower) -> Result<usize, u64> {
        match follower.next().await.unwrap() {
            Followed::Batch(_, batch) => Ok(batch.num_rows()),
            Followed::Missed(rows) => Err(rows),
        }
    }

    #[tokio::test]
    async fn followers_are_told_of_their_tenant_from_then_on() {
        let mut taps = Taps::default();
        let mut first = follow(&mut taps, "a", 0);
        taps.tell(&tenant("a"), 0, &batch(2));
        let mut second = follow(&mut taps, "a", 0);
        taps.tell(&tenant("b"), 1, &batch(9));
        taps.tell(&tenant("a"), 2, &batch(3));
        assert_eq!(rows(&mut first).await, Ok(2));
        assert_eq!(rows(&mut first).await, Ok(3));
        assert_eq!(rows(&mut second).await, Ok(3));
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_how_many_records_it_missed() {
        let mut taps = Taps::default();
        let mut follower = follow(&mut taps, "a", 0);
        let more = 5;
        for rows in 0..(WAITING_BATCHES as i64 + more) {
            taps.tell(&tenant("a"), rows.cast_unsigned(), &batch(rows + 1));
        }
        let missed = (0..more).map(|rows| rows + 1).sum::<i64>();
        assert_eq!(rows(&mut follower).await, Err(missed.cast_unsigned()));
        for wanted in more..(WAITING_BATCHES as i64 + more) {
            assert_eq!(
                rows(&mut follower).await,
                Ok(usize::try_from(wanted + 1).unwrap())
            );
        }
    }

    #[tokio::test]
    async fn who_comes_back_is_told_what_came_meanwhile_and_nothing_twice() {
        let mut taps = Taps::default();
        let told = Position {
            sequence: 5,
            rows: 2,
        };
        let meanwhile = [(5, batch(3)), (6, batch(4))].into();
        let mut follower = taps.follow(&tenant("a"), 0, told, meanwhile);
        taps.tell(&tenant("a"), 7, &batch(1));
        let Some(Followed::Batch(first, rest)) = follower.next().await else {
            panic!("the rest of a batch comes first");
        };
        assert_eq!((first, rest.num_rows()), (told, 1));
        assert_eq!(rows(&mut follower).await, Ok(4));
        assert_eq!(rows(&mut follower).await, Ok(1));

        // Another process told more than this one has seen yet.
        let told = Position {
            sequence: 9,
            rows: 1,
        };
        let mut ahead = taps.follow(&tenant("a"), 0, told, VecDeque::new());
        for sequence in 8..11 {
            taps.tell(&tenant("a"), sequence, &batch(2));
        }
        assert_eq!(rows(&mut ahead).await, Ok(1));
        assert_eq!(rows(&mut ahead).await, Ok(2));
        let end = Position {
            sequence: 11,
            rows: 0,
        };
        assert_eq!(ahead.told(), end);
    }

    #[tokio::test]
    async fn who_goes_away_is_forgotten_and_an_interruption_ends_all() {
        let mut taps = Taps::default();
        drop(follow(&mut taps, "a", 0));
        taps.tell(&tenant("a"), 0, &batch(1));
        assert!(taps.0.is_empty());
        let mut of_partition = follow(&mut taps, "a", 1);
        let mut of_another = follow(&mut taps, "b", 2);
        taps.interrupt(1);
        assert!(of_partition.next().await.is_none());
        taps.tell(&tenant("b"), 0, &batch(1));
        assert_eq!(rows(&mut of_another).await, Ok(1));
    }
}

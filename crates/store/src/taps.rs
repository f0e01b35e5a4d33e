//! Batches as they become visible, for those who follow a tenant.
//!
//! Nothing is done for a tenant that nobody follows, and one send for all who follow it. A follower that does not keep up
//! is told how many records it missed, and holds nobody up.

use arrow_array::RecordBatch;
use logmill_model::TenantId;
use rustc_hash::FxHashMap;
use tokio::sync::broadcast;

/// Batches that may wait for the slowest follower.
const WAITING_BATCHES: usize = 32;

/// A batch that became visible.
#[derive(Clone, Debug)]
struct Arrival {
    /// Records that arrived before it, since the first of those who follow the tenant now came.
    rows_before: u64,
    batch: RecordBatch,
}

/// What became of a tenant.
#[derive(Clone, Debug)]
pub enum Followed {
    /// A batch became visible.
    Batch(RecordBatch),
    /// So many records became visible while the follower was not looking; they are not told.
    Missed(u64),
}

/// What becomes visible of a tenant.
#[derive(Debug)]
pub struct Follower {
    receive: broadcast::Receiver<Arrival>,
    /// Records that were told, or missed.
    rows: u64,
    /// What came behind missed records.
    next: Option<RecordBatch>,
}

impl Follower {
    /// What came next; `None` when nothing more will be told: this process has lost its place in the queue, and a reader
    /// has to begin anew.
    pub async fn next(&mut self) -> Option<Followed> {
        if let Some(batch) = self.next.take() {
            return Some(self.tell(batch));
        }
        loop {
            match self.receive.recv().await {
                Ok(Arrival { rows_before, batch }) if rows_before > self.rows => {
                    let missed = rows_before - self.rows;
                    self.rows = rows_before;
                    self.next = Some(batch);
                    return Some(Followed::Missed(missed));
                }
                Ok(Arrival { batch, .. }) => return Some(self.tell(batch)),
                // The next batch says how many records these had.
                Err(broadcast::error::RecvError::Lagged(_batches)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn tell(&mut self, batch: RecordBatch) -> Followed {
        self.rows += batch.num_rows() as u64;
        Followed::Batch(batch)
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
    /// Begins to follow a tenant.
    pub(crate) fn follow(&mut self, tenant: &TenantId, partition: u32) -> Follower {
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
        }
    }

    /// A batch of the tenant became visible.
    pub(crate) fn tell(&mut self, tenant: &TenantId, batch: &RecordBatch) {
        if self.0.is_empty() {
            return;
        }
        let Some(tap) = self.0.get_mut(tenant) else {
            return;
        };
        let arrival = Arrival {
            rows_before: tap.rows,
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

    fn batch(rows: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("n", numbers)]).unwrap()
    }

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    async fn rows(follower: &mut Follower) -> Result<usize, u64> {
        match follower.next().await.unwrap() {
            Followed::Batch(batch) => Ok(batch.num_rows()),
            Followed::Missed(rows) => Err(rows),
        }
    }

    #[tokio::test]
    async fn followers_are_told_of_their_tenant_from_then_on() {
        let mut taps = Taps::default();
        let mut first = taps.follow(&tenant("a"), 0);
        taps.tell(&tenant("a"), &batch(2));
        let mut second = taps.follow(&tenant("a"), 0);
        taps.tell(&tenant("b"), &batch(9));
        taps.tell(&tenant("a"), &batch(3));
        assert_eq!(rows(&mut first).await, Ok(2));
        assert_eq!(rows(&mut first).await, Ok(3));
        assert_eq!(rows(&mut second).await, Ok(3));
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_how_many_records_it_missed() {
        let mut taps = Taps::default();
        let mut follower = taps.follow(&tenant("a"), 0);
        let more = 5;
        for rows in 0..(WAITING_BATCHES as i64 + more) {
            taps.tell(&tenant("a"), &batch(rows));
        }
        let missed = (0..more).sum::<i64>();
        assert_eq!(rows(&mut follower).await, Err(missed.cast_unsigned()));
        for wanted in more..(WAITING_BATCHES as i64 + more) {
            assert_eq!(
                rows(&mut follower).await,
                Ok(usize::try_from(wanted).unwrap())
            );
        }
    }

    #[tokio::test]
    async fn who_goes_away_is_forgotten_and_an_interruption_ends_all() {
        let mut taps = Taps::default();
        drop(taps.follow(&tenant("a"), 0));
        taps.tell(&tenant("a"), &batch(1));
        assert!(taps.0.is_empty());
        let mut of_partition = taps.follow(&tenant("a"), 1);
        let mut of_another = taps.follow(&tenant("b"), 2);
        taps.interrupt(1);
        assert!(of_partition.next().await.is_none());
        taps.tell(&tenant("b"), &batch(1));
        assert_eq!(rows(&mut of_another).await, Ok(1));
    }
}

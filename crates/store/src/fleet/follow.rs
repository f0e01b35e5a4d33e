//! Memory follows the queue.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use logmill_queue::{ReadEntry, ReadLimits, RedisReader, Sequence};
use logmill_telemetry::TraceContext;
use tracing::{Instrument, Span};

use super::{Fleet, age};
use crate::memtable::{MemoryBatch, State, memory_size};
use crate::{Error, MemtableBatch, Result, Store, payload};

/// How long a read waits for the first entry.
const READ_WAIT: Duration = Duration::from_millis(500);
/// How long to wait for memory that a flush gives back.
const FULL_WAIT: Duration = Duration::from_millis(20);
/// Pauses between reads that fail: doubled from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Payload bytes of one read; decoded, they are some times as much.
const READ_BYTES: usize = 8 << 20;

/// Brings the queue's entries into memory until the store is gone.
pub(super) async fn run_follower(store: Weak<Store>, fleet: Arc<Fleet>) {
    let mut reader = fleet.queue.reader();
    let mut pause = RETRY.0;
    loop {
        let Some(store) = store.upgrade() else { return };
        if store.closed.load(Ordering::Acquire) {
            return;
        }
        let outcome = store.follow(&fleet, &mut reader).await;
        let failure = outcome.as_ref().err().map(ToString::to_string);
        fleet.failures.lock().following = failure;
        match outcome {
            Ok(()) => pause = RETRY.0,
            Err(error) => {
                tracing::warn!(%error, retry_in = ?pause, "following the queue failed; it is tried again");
                drop(store);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY.1);
            }
        }
    }
}

impl Store {
    /// Reads once, from every partition that is followed.
    async fn follow(self: &Arc<Self>, fleet: &Arc<Fleet>, reader: &mut RedisReader) -> Result<()> {
        if self.budget.is_full() {
            // A worker flushes what it leads; whoever only answers waits for those who do.
            self.press();
            tokio::time::sleep(FULL_WAIT).await;
            return Ok(());
        }
        // What the queue has let go of meanwhile must be known to be in segments, or it would be missed for a moment.
        let longest = Duration::from_millis(fleet.options.trim_delay_ms / 2);
        if fleet.synced_at.lock().elapsed() > longest {
            self.sync(fleet).await?;
        }
        let from: Vec<(u32, Sequence)> = {
            let state = self.state.read();
            let followed = (0..fleet.queue.partitions()).filter(|p| fleet.follows(*p));
            followed.map(|p| (p, Sequence(state.applied(p)))).collect()
        };
        let limits = ReadLimits {
            bytes: READ_BYTES,
            ..ReadLimits::default()
        };
        let read = tokio::select! {
            read = reader.read_many(&from, limits, READ_WAIT) => read?,
            () = fleet.followed_changed.notified() => return Ok(()),
        };
        let mut expected: BTreeMap<u32, Sequence> = from.into_iter().collect();
        for entry in read {
            let (partition, next) = (entry.partition, entry.sequence.next());
            let from = expected.get(&partition).copied().unwrap_or_default();
            self.take_in(fleet, entry, from).await?;
            expected.insert(partition, next);
        }
        fleet.caught_up(&self.state.read());
        Ok(())
    }

    /// Takes an entry in that was read as the next one from `from` on. Its trace goes on with the worker that leads its
    /// partition; that every query process takes it in as well says nothing new.
    async fn take_in(
        self: &Arc<Self>,
        fleet: &Arc<Fleet>,
        entry: ReadEntry,
        from: Sequence,
    ) -> Result<()> {
        let (partition, sequence) = (entry.partition, entry.sequence.0);
        let trace = entry.trace.as_deref().and_then(TraceContext::parse);
        let span = match &trace {
            Some(context) if fleet.leads(partition) => {
                let kind = "consumer";
                let span = tracing::debug_span!("apply", otel.kind = kind, partition, sequence);
                logmill_telemetry::continue_from(&span, context);
                span
            }
            _ => Span::none(),
        };
        self.apply(fleet, entry, trace, from).instrument(span).await
    }

    /// Makes an entry visible that was read as the next one from `from` on. One that is no batch is set aside by who leads
    /// the partition, and passed by everybody.
    async fn apply(
        self: &Arc<Self>,
        fleet: &Arc<Fleet>,
        entry: ReadEntry,
        trace: Option<TraceContext>,
        from: Sequence,
    ) -> Result<()> {
        let ReadEntry {
            partition,
            sequence,
            payload,
            ..
        } = entry;
        let is_wanted = |state: &State| fleet.is_next(state, partition, sequence, from);
        if !is_wanted(&self.state.read()) {
            return Ok(());
        }
        let bytes = payload.clone();
        let decoded = if payload[..] == *payload::FLUSH_REQUEST {
            None
        } else {
            let decoding = tokio::task::spawn_blocking(move || payload::decode(&bytes));
            let panicked = |error| Error::Payload(format!("decoding it panicked: {error}"));
            Some(decoding.await.map_err(panicked).flatten())
        };
        match decoded {
            Some(Ok(decoded)) => {
                let reservation = self.budget.take(memory_size(&decoded.batch));
                let batch = MemoryBatch {
                    sequence: sequence.0,
                    batch: MemtableBatch::new(decoded.batch),
                    idempotency: None,
                    trace,
                    _reservation: reservation,
                };
                let mut state = self.state.write();
                if is_wanted(&state) {
                    state.apply(partition, &decoded.tenant, batch);
                }
            }
            Some(Err(error)) => {
                if fleet.leads(partition) {
                    let (tenant, reason) = (payload::tenant_of(&payload), error.to_string());
                    let tenant = tenant.unwrap_or_default();
                    let set_aside = fleet
                        .queue
                        .dead_letter(partition, sequence, &payload, &tenant, &reason);
                    set_aside.await?;
                    tracing::error!(%error, partition, sequence = sequence.0, "an entry is no batch: it is a dead letter now");
                }
                self.pass(fleet, partition, sequence, from);
            }
            None => {
                self.pass(fleet, partition, sequence, from);
                if fleet.leads(partition) {
                    fleet.flush_requests.lock().insert(partition);
                    self.flush_wanted.notify_one();
                }
            }
        }
        let lag = age(sequence, self.clock.now_ns());
        metrics::histogram!("logmill_follow_seconds").record(lag.as_secs_f64());
        self.flush_if_large(partition);
        Ok(())
    }

    /// An entry that has no records is done.
    fn pass(&self, fleet: &Fleet, partition: u32, sequence: Sequence, from: Sequence) {
        let mut state = self.state.write();
        if fleet.is_next(&state, partition, sequence, from) {
            state.start_at(partition, sequence.next().0);
        }
    }
}

impl Fleet {
    /// Whether an entry that was read from `from` on is the next one that memory lacks. A partition that was lost and taken
    /// over again meanwhile begins anew, before `from`.
    fn is_next(&self, state: &State, partition: u32, sequence: Sequence, from: Sequence) -> bool {
        let applied = state.applied(partition);
        self.follows(partition) && applied >= from.0 && sequence.0 >= applied
    }

    /// Whether the entries of a partition are wanted in memory.
    pub(crate) fn follows(&self, partition: u32) -> bool {
        self.role.answers() || self.leads(partition)
    }

    fn caught_up(&self, state: &State) {
        let mut wanted = self.catching_up.lock();
        wanted.retain(|partition, last| state.applied(*partition) <= *last);
    }
}

//! The store's components and their lives.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use logmill_catalog::{Access, Catalog, IdempotencyRow};
use logmill_model::{Clock, TenantId};
use logmill_queue::LocalLog;
use object_store::ObjectStore;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::background::Worker;
use crate::compaction::run_compactor;
use crate::flush::FlushState;
use crate::idempotency::Registry;
use crate::in_use::{Held, InUse};
use crate::memtable::{Budget, MemoryBatch, State, memory_size};
use crate::objects::Objects;
use crate::sweep::run_sweeper;
use crate::{
    AppendRequest, Appended, ColumnAdmission, DeleteMatcher, Error, IdempotencyKey,
    IdempotencyOutcome, Prepared, Result, Snapshot, StoreOptions, payload, recovery,
};

/// How often the flusher looks whether a flush is due by age.
const FLUSH_TICK: Duration = Duration::from_millis(100);
/// Pauses between tries of a flush that fails: doubled from the first to the last.
const FLUSH_RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Tries of the last flush before the process ends; what fails stays in the log.
const SHUTDOWN_FLUSH_TRIES: u32 = 3;

/// State of one component, for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentHealth {
    /// `wal`, `memtable`, `catalog`, `object_store`.
    pub name: &'static str,
    /// Why it does not work, if it does not.
    pub failure: Option<String>,
}

/// Counts of what the store holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Bytes of records not yet in segments.
    pub memtable_bytes: u64,
    /// Records not yet in segments.
    pub memtable_rows: u64,
    /// Segments.
    pub segments: u64,
    /// Records in segments.
    pub segment_rows: u64,
    /// Bytes of segments.
    pub segment_bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Segments more than there would be if compaction had caught up.
    pub compaction_debt: u64,
    /// Segments that are being merged or are due to be, the debt included; 0 when nothing is running or due.
    pub compaction_pending: u64,
}

/// The embedded storage engine of one process.
#[derive(Debug)]
pub struct Store {
    pub(crate) options: StoreOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) objects: Objects,
    local_root: Option<PathBuf>,
    pub(crate) queue: Arc<LocalLog>,
    pub(crate) state: Arc<RwLock<State>>,
    budget: Arc<Budget>,
    pub(crate) registry: Arc<Registry>,
    /// Has the tenants' own retention.
    pub(crate) access: OnceLock<Arc<dyn Access>>,
    admissions: Mutex<FxHashMap<TenantId, ColumnAdmission>>,
    pub(crate) in_use: InUse,
    pub(crate) flush_state: tokio::sync::Mutex<FlushState>,
    pub(crate) flusher: Worker,
    pub(crate) compactor: Worker,
    pub(crate) flush_failure: Mutex<Option<String>>,
    flush_wanted: Arc<Notify>,
    pub(crate) compaction_wanted: Arc<Notify>,
    /// Lets one merge run at a time.
    pub(crate) compaction_lock: tokio::sync::Mutex<()>,
    pub(crate) compaction_failure: Mutex<Option<String>>,
    /// A transaction failed and may have happened all the same: memory is to follow the catalog.
    pub(crate) reconcile_wanted: AtomicBool,
    /// Segments that wait for compaction.
    pub(crate) compaction_debt: AtomicU64,
    /// Segments that a merge is due for or running over.
    pub(crate) compaction_pending: AtomicU64,
    pub(crate) delete_matcher: OnceLock<Arc<dyn DeleteMatcher>>,
    /// A writer was refused for want of memory since the last flush.
    pressed: AtomicBool,
    pub(crate) closed: AtomicBool,
}

impl Store {
    /// Opens the store: reads the catalog, replays the log of `wal_directory` into the memtable, removes orphaned
    /// objects, starts the flush and retention tasks on the current tokio runtime.
    ///
    /// What is put into `objects` must be on stable storage when the put is done
    /// ([`LocalObjects`](crate::object_storage::LocalObjects) sees to it). `local_root` is its folder when it is a local one.
    pub async fn open(
        options: StoreOptions,
        wal_directory: &Path,
        catalog: Arc<dyn Catalog>,
        objects: Arc<dyn ObjectStore>,
        local_root: Option<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>> {
        let objects = Objects { store: objects };
        let registry = Registry::new(options.idempotency_max_keys);
        let (in_use, deletions) = InUse::new();
        let ttl_ns = i64::try_from(options.idempotency_ttl_ms).unwrap_or(i64::MAX);
        let since = clock
            .now_ns()
            .saturating_sub(ttl_ns.saturating_mul(1_000_000));
        let recovered = recovery::read_catalog(catalog.as_ref(), &registry, &in_use, since).await?;
        recovery::remove_orphans(&objects, &recovered.state).await?;
        let watermark = recovered.watermark;
        let state = Arc::new(RwLock::new(recovered.state));
        let budget = Budget::new(options.memtable_max_bytes);
        let queue = {
            let (directory, options) = (wal_directory.to_owned(), options.clone());
            let (state, budget, registry) = (state.clone(), budget.clone(), registry.clone());
            let open = move || {
                recovery::open_log(&directory, &options, watermark, &state, &budget, &registry)
            };
            let opened = tokio::task::spawn_blocking(open).await;
            opened
                .map_err(|panicked| Error::Internal(format!("replaying the log: {panicked}")))??
        };
        let store = Arc::new(Self {
            options,
            clock,
            catalog,
            objects,
            local_root,
            queue: Arc::new(queue),
            state,
            budget,
            registry,
            access: OnceLock::new(),
            admissions: Mutex::default(),
            in_use,
            flush_state: tokio::sync::Mutex::new(FlushState {
                watermark,
                unfinished: None,
            }),
            flusher: Worker::start("logmill-flush")?,
            compactor: Worker::start("logmill-compact")?,
            flush_failure: Mutex::default(),
            flush_wanted: Arc::new(Notify::new()),
            compaction_wanted: Arc::new(Notify::new()),
            compaction_lock: tokio::sync::Mutex::new(()),
            compaction_failure: Mutex::default(),
            reconcile_wanted: AtomicBool::new(false),
            compaction_debt: AtomicU64::new(0),
            compaction_pending: AtomicU64::new(0),
            delete_matcher: OnceLock::new(),
            pressed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        store.report();
        tokio::spawn(run_flusher(
            Arc::downgrade(&store),
            store.flush_wanted.clone(),
        ));
        tokio::spawn(run_compactor(
            Arc::downgrade(&store),
            store.compaction_wanted.clone(),
        ));
        tokio::spawn(run_janitor(Arc::downgrade(&store)));
        if store.options.orphan_check_interval_ms > 0 {
            let interval = Duration::from_millis(store.options.orphan_check_interval_ms);
            tokio::spawn(run_sweeper(Arc::downgrade(&store), interval));
        }
        tokio::spawn(run_deleter(store.objects.clone(), deletions));
        Ok(store)
    }

    /// The columns of a tenant, for the decoder.
    pub fn columns(&self, tenant: &TenantId) -> Result<ColumnAdmission> {
        let mut admissions = self.admissions.lock();
        if let Some(admission) = admissions.get(tenant) {
            return Ok(admission.clone());
        }
        let limit = self.options.tenants_max;
        if admissions.len() as u64 >= limit {
            return Err(Error::LimitReached {
                what: "tenants",
                limit,
            });
        }
        let admission = ColumnAdmission::new(self.options.columns_max);
        for (name, _) in self.snapshot(tenant).schema.columns() {
            admission.insert(name);
        }
        admissions.insert(tenant.clone(), admission.clone());
        Ok(admission)
    }

    /// What is known of an idempotency key; waits while another request with the key is under way.
    pub async fn begin_idempotent(
        &self,
        tenant: &TenantId,
        key: IdempotencyKey,
    ) -> Result<IdempotencyOutcome> {
        self.registry.begin(tenant, key).await
    }

    /// Takes a place in the memtable for a batch and encodes it for the log; takes the processor for some
    /// milliseconds a megabyte. Nothing is stored yet.
    pub fn prepare(&self, request: AppendRequest) -> Result<Prepared> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let bytes = memory_size(&request.batch);
        let limit = self.options.memtable_max_bytes;
        if bytes > limit {
            return Err(Error::BatchTooLarge { bytes, limit });
        }
        let debt = self.compaction_debt.load(Ordering::Relaxed);
        let limit = self.options.compaction.debt_max_segments;
        if debt > limit {
            self.compaction_wanted.notify_one();
            return Err(Error::CompactionBehind { debt, limit });
        }
        let reservation = self.budget.reserve(bytes).inspect_err(|_full| {
            self.pressed.store(true, Ordering::Release);
            self.flush_wanted.notify_one();
        })?;
        let received_at_ns = request.received_at_ns;
        let idempotency = request.idempotency.map(|(permit, answer)| {
            let row = permit.row(answer, received_at_ns);
            (permit, row)
        });
        let row: Option<&IdempotencyRow> = idempotency.as_ref().map(|(_, row)| row);
        let payload = payload::encode(&request.tenant, &request.batch, row)?;
        let AppendRequest { tenant, batch, .. } = request;
        Ok(Prepared {
            tenant,
            batch,
            payload,
            reservation,
            idempotency,
        })
    }

    /// Makes a prepared batch durable and visible. On error nothing was stored, or (only when the log itself
    /// failed) it is unknown whether it was.
    pub async fn commit(&self, prepared: Prepared) -> Result<Appended> {
        let Prepared {
            tenant,
            batch,
            payload,
            reservation,
            idempotency,
        } = prepared;
        let (permit, row) = idempotency.unzip();
        let state = self.state.clone();
        let on_durable = Box::new(move |sequence: logmill_queue::Sequence| {
            if let (Some(permit), Some(row)) = (permit, &row) {
                permit.complete(row.answer.clone(), row.received_at_ns);
            }
            let batch = MemoryBatch {
                batch,
                idempotency: row,
                _reservation: reservation,
            };
            state.write().apply(sequence.0, &tenant, batch);
        });
        let sequence = self.queue.append(payload, on_durable).await?;
        let (active_bytes, _) = self.state.read().active();
        if active_bytes >= self.options.flush_bytes {
            self.flush_wanted.notify_one();
        }
        Ok(Appended {
            sequence: sequence.0,
        })
    }

    /// [`Store::prepare`], then [`Store::commit`].
    pub async fn append(&self, request: AppendRequest) -> Result<Appended> {
        let prepared = self.prepare(request)?;
        self.commit(prepared).await
    }

    /// What a reader of the tenant sees now; empty for an unknown tenant.
    pub fn snapshot(&self, tenant: &TenantId) -> Snapshot {
        self.state.read().snapshot(tenant)
    }

    /// The object store that the segments' paths are in.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects.store
    }

    /// The folder of the object store, when it is a local one: paths of segments are relative to it.
    pub fn local_root(&self) -> Option<&Path> {
        self.local_root.as_deref()
    }

    /// Each component's state.
    pub async fn health(&self) -> Vec<ComponentHealth> {
        let catalog = self
            .catalog
            .ping()
            .await
            .err()
            .map(|error| error.to_string());
        let full = self.budget.is_full().then(|| {
            format!(
                "{} of {} bytes used",
                self.budget.used(),
                self.options.memtable_max_bytes
            )
        });
        vec![
            ComponentHealth {
                name: "wal",
                failure: self.queue.status().failure,
            },
            ComponentHealth {
                name: "memtable",
                failure: full,
            },
            ComponentHealth {
                name: "catalog",
                failure: catalog,
            },
            ComponentHealth {
                name: "compaction",
                failure: self.compaction_failure.lock().clone(),
            },
            ComponentHealth {
                name: "object_store",
                failure: self.flush_failure.lock().clone(),
            },
        ]
    }

    /// Counts.
    pub fn status(&self) -> StoreStatus {
        StoreStatus {
            memtable_bytes: self.budget.used(),
            wal_bytes: self.queue.status().bytes,
            compaction_debt: self.compaction_debt.load(Ordering::Relaxed),
            compaction_pending: self.compaction_pending.load(Ordering::Relaxed),
            ..self.state.read().status()
        }
    }

    /// Publishes the counts as metrics.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a gauge is a float; below 2^53 it is exact"
    )]
    pub fn report(&self) {
        let status = self.status();
        metrics::gauge!("logmill_memtable_bytes").set(status.memtable_bytes as f64);
        metrics::gauge!("logmill_memtable_rows").set(status.memtable_rows as f64);
        metrics::gauge!("logmill_segments").set(status.segments as f64);
        metrics::gauge!("logmill_segment_rows").set(status.segment_rows as f64);
        metrics::gauge!("logmill_compaction_debt_segments").set(status.compaction_debt as f64);
        metrics::gauge!("logmill_compaction_pending_segments")
            .set(status.compaction_pending as f64);
        metrics::gauge!("logmill_segment_bytes").set(status.segment_bytes as f64);
    }

    /// Refuses appends, flushes, closes the log. What a failing flush leaves is still in the log.
    pub async fn shutdown(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        self.flush_wanted.notify_one();
        let mut outcome = Ok(());
        for attempt in 0..SHUTDOWN_FLUSH_TRIES {
            if attempt > 0 {
                tokio::time::sleep(FLUSH_RETRY.0).await;
            }
            outcome = self.flush().await;
            if outcome.is_ok() {
                break;
            }
        }
        let queue = self.queue.clone();
        let closed = tokio::task::spawn_blocking(move || queue.close()).await;
        closed.map_err(|panicked| Error::Internal(format!("closing the log: {panicked}")))?;
        if let Err(error) = &outcome {
            tracing::error!(%error, "the last flush failed; the records stay in the write-ahead log");
        }
        outcome
    }

    /// Whether a flush is due: by size, by pressure, by age.
    fn flush_is_due(&self) -> bool {
        let (bytes, since) = self.state.read().active();
        let interval = Duration::from_millis(self.options.flush_interval_ms);
        let old = since.is_some_and(|since| since.elapsed() >= interval);
        bytes >= self.options.flush_bytes || old || self.pressed.swap(false, Ordering::AcqRel)
    }
}

/// Flushes when it is due, until the store is gone.
async fn run_flusher(store: Weak<Store>, wanted: Arc<Notify>) {
    let mut retry: Option<Duration> = None;
    loop {
        match retry {
            Some(pause) => tokio::time::sleep(pause).await,
            None => {
                let _ = tokio::time::timeout(FLUSH_TICK, wanted.notified()).await;
            }
        }
        let Some(store) = store.upgrade() else { return };
        if store.closed.load(Ordering::Acquire) {
            return;
        }
        store.report();
        if retry.is_none() && !store.flush_is_due() {
            continue;
        }
        retry = match store.flush().await {
            Ok(()) => None,
            Err(error) => {
                let pause = retry.map_or(FLUSH_RETRY.0, |pause| (pause * 2).min(FLUSH_RETRY.1));
                tracing::error!(%error, retry_in = ?pause, "a flush failed; its records stay in memory and in the log");
                Some(pause)
            }
        };
    }
}

/// Applies retention from time to time, until the store is gone.
async fn run_janitor(store: Weak<Store>) {
    loop {
        let interval = match store.upgrade() {
            Some(store) => store.options.retention.check_interval_ms.max(10),
            None => return,
        };
        tokio::time::sleep(Duration::from_millis(interval)).await;
        let Some(store) = store.upgrade() else { return };
        if store.closed.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = store.apply_retention().await {
            tracing::warn!(%error, "retention failed; it is tried again");
        }
        if let Err(error) = store.expire_answers().await {
            tracing::warn!(%error, "forgetting idempotency keys failed; it is tried again");
        }
        if let Err(error) = store.expire_deletes().await {
            tracing::warn!(%error, "forgetting finished deletes failed; it is tried again");
        }
    }
}

/// Deletes the objects that nobody reads any more.
async fn run_deleter(objects: Objects, mut deletions: UnboundedReceiver<Held>) {
    while let Some(held) = deletions.recv().await {
        if let Err(error) = objects.delete(held.path()).await {
            tracing::warn!(%error, "an object stays until a sweep finds it to be an orphan");
        }
    }
}

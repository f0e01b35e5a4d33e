//! The store's components and their lives.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use logmill_catalog::{Access, Catalog, LogTable};
use logmill_model::{Clock, TenantId};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use crate::background::Worker;
use crate::flush::{FlushState, FlushedPartition};
use crate::idempotency::Registry;
use crate::in_use::InUse;
use crate::log::Log;
use crate::memtable::{Budget, State};
use crate::objects::Objects;
use crate::tasks::{FLUSH_RETRY, run_deleter};
use crate::{
    ColumnAdmission, DeleteMatcher, Error, Following, LOCAL, Position, Result, Snapshot,
    StoreOptions, recovery,
};

/// Tries of the last flush before the process ends; what fails stays in the log.
const SHUTDOWN_FLUSH_TRIES: u32 = 3;

/// State of one component, for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentHealth {
    /// `wal`, `memtable`, `catalog`, `object_store`.
    pub name: &'static str,
    /// Requests fail while it does not work; otherwise something else waits for it.
    pub needed: bool,
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

/// The storage engine of one process, which has the data to itself or shares them with others.
#[derive(Debug)]
pub struct Store {
    pub(crate) options: StoreOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) objects: Objects,
    local_root: Option<PathBuf>,
    /// Has the logs, where it is not segments.
    pub(crate) table: Option<Arc<dyn LogTable>>,
    pub(crate) log: Log,
    pub(crate) state: Arc<RwLock<State>>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) registry: Arc<Registry>,
    /// Has the tenants' own retention.
    pub(crate) access: OnceLock<Arc<dyn Access>>,
    pub(crate) admissions: Mutex<FxHashMap<TenantId, ColumnAdmission>>,
    pub(crate) in_use: InUse,
    pub(crate) flush_state: tokio::sync::Mutex<FlushState>,
    pub(crate) flusher: Worker,
    pub(crate) compactor: Worker,
    pub(crate) flush_failure: Mutex<Option<String>>,
    pub(crate) flush_wanted: Arc<Notify>,
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
    pub(crate) pressed: AtomicBool,
    pub(crate) closed: AtomicBool,
}

/// What a store is made of.
pub(crate) struct Parts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) objects: Objects,
    pub(crate) local_root: Option<PathBuf>,
    pub(crate) table: Option<Arc<dyn LogTable>>,
    pub(crate) log: Log,
    pub(crate) state: Arc<RwLock<State>>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) in_use: InUse,
}

impl Store {
    /// Opens the store of one process: reads the catalog, replays the log of `wal_directory` into the memtable, removes
    /// orphaned objects, starts the flush and retention tasks on the current tokio runtime.
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
        Self::open_with(
            options,
            wal_directory,
            catalog,
            objects,
            local_root,
            None,
            clock,
        )
        .await
    }

    /// Opens the store of one process whose logs go into a table beside the catalog, and not into segments.
    pub async fn open_table(
        options: StoreOptions,
        wal_directory: &Path,
        catalog: Arc<dyn Catalog>,
        table: Arc<dyn LogTable>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>> {
        let objects = Objects {
            store: Arc::new(InMemory::new()),
        };
        let table = Some(table);
        Self::open_with(options, wal_directory, catalog, objects, None, table, clock).await
    }

    async fn open_with(
        options: StoreOptions,
        wal_directory: &Path,
        catalog: Arc<dyn Catalog>,
        objects: Objects,
        local_root: Option<PathBuf>,
        table: Option<Arc<dyn LogTable>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>> {
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
        let store = Self::assemble(
            options,
            Parts {
                clock,
                catalog,
                objects: objects.clone(),
                local_root,
                table,
                log: Log::Local(Arc::new(queue)),
                state,
                budget,
                registry,
                in_use,
            },
        )?;
        let flushed = FlushedPartition::at(watermark);
        store
            .flush_state
            .lock()
            .await
            .partitions
            .insert(LOCAL, flushed);
        store.start_flusher();
        store.start_compactor();
        store.start_janitor();
        tokio::spawn(run_deleter(objects, deletions));
        Ok(store)
    }

    pub(crate) fn assemble(options: StoreOptions, parts: Parts) -> Result<Arc<Self>> {
        let store = Arc::new(Self {
            options,
            clock: parts.clock,
            catalog: parts.catalog,
            objects: parts.objects,
            local_root: parts.local_root,
            table: parts.table,
            log: parts.log,
            state: parts.state,
            budget: parts.budget,
            registry: parts.registry,
            access: OnceLock::new(),
            admissions: Mutex::default(),
            in_use: parts.in_use,
            flush_state: tokio::sync::Mutex::default(),
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
        Ok(store)
    }

    /// What a reader of the tenant sees now; empty for an unknown tenant.
    pub fn snapshot(&self, tenant: &TenantId) -> Snapshot {
        let partition = self.log.partition_of(tenant);
        self.state.read().snapshot(tenant, partition)
    }

    /// What a reader of the tenant sees now, and all that becomes visible after it; and, for one who was `told` of others
    /// before, what became visible since then.
    pub fn follow_tenant(&self, tenant: &TenantId, told: Option<Position>) -> Following {
        let partition = self.log.partition_of(tenant);
        self.state.write().follow(tenant, partition, told)
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
        let log = match &self.log {
            Log::Local(log) => vec![ComponentHealth {
                name: "wal",
                needed: true,
                failure: log.status().failure,
            }],
            Log::Fleet(fleet) => fleet.health(),
        };
        let others = [
            ("memtable", full),
            ("catalog", catalog),
            ("compaction", self.compaction_failure.lock().clone()),
            ("object_store", self.flush_failure.lock().clone()),
        ];
        // Among many, whoever takes records in or answers goes on without these for a while.
        let needed = self.role().flushes();
        let others = others.map(|(name, failure)| ComponentHealth {
            name,
            needed: needed || name == "memtable",
            failure,
        });
        log.into_iter().chain(others).collect()
    }

    /// Counts.
    pub fn status(&self) -> StoreStatus {
        StoreStatus {
            memtable_bytes: self.budget.used(),
            wal_bytes: self.log.queue().status().bytes,
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
            outcome = self.flush_here().await;
            if outcome.is_ok() {
                break;
            }
        }
        match &self.log {
            Log::Local(_) => self.log.queue().close().await,
            Log::Fleet(fleet) => self.leave(fleet).await,
        }
        if let Err(error) = &outcome {
            tracing::error!(%error, "the last flush failed; the records stay in the write-ahead log");
        }
        outcome
    }
}

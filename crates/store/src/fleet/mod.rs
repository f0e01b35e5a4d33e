//! One process of many: the queue is Redis's, the catalog a database that all share, and memory follows both.
//!
//! Invariants:
//! - How far a partition is in segments is written in one place, the catalog, in the transaction that makes its segments
//!   visible; only the holder of the partition's lease may write it ([`leases`]).
//! - A record is in memory or in a segment for every reader, never in both: [`Store::sync`] changes both under one lock.
//! - Nobody deletes an object that a process elsewhere may read: it becomes obsolete, and is deleted later ([`jobs`]).

mod follow;
mod jobs;
mod leases;
mod options;
mod status;
mod sync;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logmill_catalog::{Catalog, Fence, LogTable};
use logmill_model::{Clock, TenantId};
use logmill_queue::{Appended, Entry, Queue, RedisQueue, Request, Sequence};
use logmill_telemetry::TraceContext;
use object_store::ObjectStore;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use xxhash_rust::xxh3::xxh3_64;

use crate::idempotency::Registry;
use crate::in_use::InUse;
use crate::log::Log;
use crate::memtable::Budget;
use crate::objects::Objects;
use crate::store::Parts;
use crate::{
    ComponentHealth, Error, IdempotencyOutcome, IdempotencyPermit, Result, Store, StoreOptions,
    payload,
};

pub use options::{FleetOptions, Role};
pub use status::FleetStatus;

/// How often to look whether a requested flush is done.
const FLUSH_POLL: Duration = Duration::from_millis(50);

/// What one of many processes is made of.
#[derive(Debug)]
pub struct FleetParts {
    /// What this process does.
    pub role: Role,
    /// Settings of the fleet.
    pub options: FleetOptions,
    /// The queue that all share.
    pub queue: Arc<RedisQueue>,
    /// The catalog that all share.
    pub catalog: Arc<dyn Catalog>,
    /// The object store that all share.
    pub objects: Arc<dyn ObjectStore>,
    /// The folder of the object store, when it is a local one.
    pub local_root: Option<PathBuf>,
    /// The table that all share, where the logs are in one and not in segments.
    pub table: Option<Arc<dyn LogTable>>,
    /// Name of this process, unique among all that live.
    pub member: String,
    /// What others may want to know of this process, as JSON.
    pub description: String,
}

/// A partition that this process has the lease of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Led {
    /// The lease's fencing token.
    pub(crate) epoch: u64,
    /// The partition's watermark when it was taken over.
    pub(crate) watermark: u64,
}

/// Entries that may leave the queue once every follower knows of their segments.
#[derive(Debug)]
struct Trim {
    after: Instant,
    partition: u32,
    watermark: u64,
}

/// What a process of many knows besides.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) queue: Arc<RedisQueue>,
    pub(crate) role: Role,
    pub(crate) options: FleetOptions,
    member: String,
    description: String,
    /// The catalog's version that memory shows; its lock lets one sync run at a time.
    version: tokio::sync::Mutex<u64>,
    synced_at: Mutex<Instant>,
    led: RwLock<BTreeMap<u32, Led>>,
    /// Partitions that are flushed before they are given away.
    leaving: Mutex<BTreeSet<u32>>,
    /// The partitions to follow are others than before.
    followed_changed: Notify,
    flush_requests: Mutex<BTreeSet<u32>>,
    trims: Mutex<VecDeque<Trim>>,
    /// Where a process that begins has to come to before its answers are whole.
    catching_up: Mutex<BTreeMap<u32, u64>>,
    failures: Mutex<Failures>,
}

/// Why parts of a process do not work, where they do not.
#[derive(Clone, Debug, Default)]
struct Failures {
    following: Option<String>,
    syncing: Option<String>,
    leases: Option<String>,
}

/// The name of a partition in the catalog.
pub(crate) fn partition_name(partition: u32) -> String {
    partition.to_string()
}

impl Fleet {
    /// The partition that a tenant's records go by.
    pub(crate) fn partition_of(&self, tenant: &TenantId) -> u32 {
        let hash = xxh3_64(tenant.as_str().as_bytes());
        // The remainder is below a u32.
        (hash % u64::from(self.queue.partitions())) as u32
    }

    pub(crate) fn led(&self) -> BTreeMap<u32, Led> {
        self.led.read().clone()
    }

    pub(crate) fn leads(&self, partition: u32) -> bool {
        self.led.read().contains_key(&partition)
    }

    /// What proves that this process works on a tenant's partition; `None` when it does not.
    pub(crate) fn fence(&self, tenant: &TenantId) -> Option<Fence> {
        let partition = self.partition_of(tenant);
        let led = *self.led.read().get(&partition)?;
        Some(Fence {
            partition: partition_name(partition),
            epoch: led.epoch,
        })
    }

    /// Entries before the watermark are in segments: they leave the queue when followers had the time to see those.
    pub(crate) fn trim_later(&self, partition: u32, watermark: u64) {
        let delay = Duration::from_millis(self.options.trim_delay_ms);
        self.trims.lock().push_back(Trim {
            after: Instant::now() + delay,
            partition,
            watermark,
        });
    }

    pub(crate) fn take_flush_requests(&self) -> BTreeSet<u32> {
        std::mem::take(&mut *self.flush_requests.lock())
    }

    /// Makes a payload durable in the tenant's partition. With a permit it is appended once, however often and to whichever
    /// process the request is sent.
    pub(crate) async fn append(
        &self,
        tenant: &TenantId,
        payload: Vec<u8>,
        request: Option<Request>,
    ) -> Result<Appended> {
        let mut entry = Entry::new(self.partition_of(tenant), payload);
        entry.request = request;
        entry.trace = TraceContext::current().map(|context| context.to_text());
        Ok(self.queue.append(entry, Box::new(|_| {})).await?)
    }

    /// Whether a request with the key was answered by any process.
    pub(crate) async fn known(
        &self,
        tenant: &TenantId,
        permit: IdempotencyPermit,
    ) -> Result<IdempotencyOutcome> {
        if self.queue.waits_for_replicas() {
            // Only appending it again waits for the replicas that may not have had it.
            return Ok(IdempotencyOutcome::New(permit));
        }
        let partition = self.partition_of(tenant);
        let known = self
            .queue
            .find_request(partition, tenant.as_str(), permit.key());
        Ok(match known.await? {
            None => IdempotencyOutcome::New(permit),
            Some(known) if known.fingerprint == permit.fingerprint() => {
                IdempotencyOutcome::Replay(known.answer)
            }
            Some(_) => IdempotencyOutcome::Mismatch,
        })
    }

    /// The components of a process of many.
    pub(crate) fn health(&self) -> Vec<ComponentHealth> {
        let failures = self.failures.lock().clone();
        let behind = self.catching_up.lock().len();
        let catching_up = (behind > 0 && self.role.answers())
            .then(|| format!("{behind} partitions are being caught up with"));
        let mut components = vec![ComponentHealth {
            name: "queue",
            needed: self.role.ingests(),
            failure: self.queue.status().failure,
        }];
        if self.role.answers() || self.role.flushes() {
            components.push(ComponentHealth {
                name: "follower",
                needed: true,
                failure: catching_up.or(failures.following),
            });
        }
        components.push(ComponentHealth {
            name: "catalog_follower",
            needed: self.role.flushes(),
            failure: failures.syncing,
        });
        components.push(ComponentHealth {
            name: "leases",
            needed: self.role.flushes(),
            failure: failures.leases,
        });
        components
    }
}

impl Store {
    /// Joins the other processes: reads the catalog, begins to follow it and the queue, and does what its role says, on
    /// the current tokio runtime.
    pub async fn join(
        options: StoreOptions,
        parts: FleetParts,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>> {
        let fleet = Arc::new(Fleet {
            queue: parts.queue,
            role: parts.role,
            options: parts.options,
            member: parts.member,
            description: parts.description,
            version: tokio::sync::Mutex::new(0),
            synced_at: Mutex::new(Instant::now()),
            led: RwLock::default(),
            leaving: Mutex::default(),
            followed_changed: Notify::new(),
            flush_requests: Mutex::default(),
            trims: Mutex::default(),
            catching_up: Mutex::default(),
            failures: Mutex::default(),
        });
        let (in_use, _nothing_is_deleted_by_its_readers) = InUse::new();
        let store = Self::assemble(
            options.clone(),
            Parts {
                clock,
                catalog: parts.catalog,
                objects: Objects {
                    store: parts.objects,
                },
                local_root: parts.local_root,
                table: parts.table,
                log: Log::Fleet(fleet.clone()),
                state: Arc::default(),
                budget: Budget::new(options.memtable_max_bytes),
                registry: Registry::new(options.idempotency_max_keys),
                in_use,
            },
        )?;
        store.sync(&fleet).await?;
        if fleet.role.answers() {
            let mut wanted = BTreeMap::new();
            for partition in 0..fleet.queue.partitions() {
                if let Some(last) = fleet.queue.last_sequence(partition).await? {
                    wanted.insert(partition, last.0);
                }
            }
            *fleet.catching_up.lock() = wanted;
        }
        store.start_fleet(&fleet);
        Ok(store)
    }

    fn start_fleet(self: &Arc<Self>, fleet: &Arc<Fleet>) {
        tokio::spawn(sync::run_catalog_follower(
            Arc::downgrade(self),
            fleet.clone(),
        ));
        tokio::spawn(leases::run_leases(Arc::downgrade(self), fleet.clone()));
        if fleet.role.answers() || fleet.role.flushes() {
            tokio::spawn(follow::run_follower(Arc::downgrade(self), fleet.clone()));
        }
        if fleet.role.flushes() {
            self.start_flusher();
            self.start_compactor();
            tokio::spawn(jobs::run_jobs(Arc::downgrade(self), fleet.clone()));
        }
        tokio::spawn(jobs::run_forgetting(Arc::downgrade(self)));
    }

    /// Asks the workers to bring what is in the queue now into segments, and waits until they have.
    pub(crate) async fn flush_elsewhere(&self, fleet: &Fleet, partitions: &[u32]) -> Result<()> {
        let limit = Duration::from_millis(fleet.options.flush_wait_ms);
        let begun = Instant::now();
        let mut waiting = BTreeMap::new();
        for partition in partitions {
            let Some(last) = fleet.queue.last_sequence(*partition).await? else {
                continue;
            };
            if self.catalog.watermark(&partition_name(*partition)).await? <= last.0 {
                let request = Entry::new(*partition, payload::FLUSH_REQUEST.to_vec());
                fleet.queue.append(request, Box::new(|_| {})).await?;
                waiting.insert(partition_name(*partition), last);
            }
        }
        while !waiting.is_empty() {
            if begun.elapsed() > limit {
                let partitions = waiting.into_keys().collect::<Vec<_>>().join(", ");
                return Err(Error::NotFlushed {
                    partitions,
                    after: limit,
                });
            }
            tokio::time::sleep(FLUSH_POLL).await;
            for (name, watermark) in self.catalog.watermarks().await? {
                if waiting.get(&name).is_some_and(|last| watermark > last.0) {
                    waiting.remove(&name);
                }
            }
        }
        self.sync(fleet).await
    }

    /// Lets others have what this process had; what the catalog does not take in time expires by itself.
    pub(crate) async fn leave(&self, fleet: &Fleet) {
        let giving_back = async {
            for (partition, led) in fleet.led() {
                let name = leases::lease_name(partition);
                self.catalog
                    .release(&name, &fleet.member, led.epoch)
                    .await?;
            }
            jobs::release(self.catalog.as_ref(), &fleet.member).await?;
            self.catalog.leave(&fleet.member).await
        };
        let limit = Duration::from_millis(fleet.options.lease_ttl_ms);
        match tokio::time::timeout(limit, giving_back).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "leases stay until they expire"),
            Err(_elapsed) => {
                tracing::warn!("leases stay until they expire: the catalog does not answer");
            }
        }
        fleet.led.write().clear();
        fleet.queue.close().await;
    }
}

/// How long ago an entry was appended, by the queue's clock and this process's.
fn age(sequence: Sequence, now_ns: i64) -> Duration {
    let now_ms = u64::try_from(now_ns / 1_000_000).unwrap_or(0);
    Duration::from_millis(now_ms.saturating_sub(sequence.0 >> 20))
}

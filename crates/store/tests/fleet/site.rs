//! What several stores share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use logmill_catalog::{PostgresCatalog, PostgresOptions};
use logmill_model::SystemClock;
use logmill_queue::{RedisOptions, RedisQueue};
use logmill_store::object_storage::LocalObjects;
use logmill_store::{CompactionOptions, FleetOptions, FleetParts, Role, Store, StoreOptions};
use logmill_test_services::{PostgresServer, RedisServer, RedisServerOptions};

use crate::harness::{Below, found};

/// Far beyond what is normal: a loaded machine must not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    pub(crate) redis: RedisServer,
    database: String,
    folder: tempfile::TempDir,
    pub(crate) options: StoreOptions,
    pub(crate) fleet: FleetOptions,
    pub(crate) queue: RedisOptions,
    members: AtomicU32,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            redis: RedisServer::start(RedisServerOptions::default()),
            database: PostgresServer::shared().database(),
            folder: tempfile::tempdir().unwrap(),
            // Flushes and merges happen when a test says so.
            options: StoreOptions {
                flush_interval_ms: 3_600_000,
                compaction: CompactionOptions {
                    enabled: false,
                    fan_in: 4,
                    ..CompactionOptions::default()
                },
                ..StoreOptions::default()
            },
            fleet: FleetOptions {
                partitions: 4,
                lease_ttl_ms: 1_000,
                sync_interval_ms: 20,
                ..FleetOptions::default()
            },
            queue: RedisOptions::default(),
            members: AtomicU32::new(0),
        }
    }

    pub(crate) fn objects(&self) -> PathBuf {
        let root = self.folder.path().join("objects");
        std::fs::create_dir_all(&root).unwrap();
        root
    }

    pub(crate) async fn catalog(&self) -> PostgresCatalog {
        PostgresCatalog::connect(&self.database, &PostgresOptions::default())
            .await
            .unwrap()
    }

    pub(crate) async fn queue(&self) -> RedisQueue {
        let options = self.queue.clone();
        RedisQueue::open(&self.redis.url(), options, self.fleet.partitions)
            .await
            .unwrap()
    }

    pub(crate) async fn join(&self, role: Role) -> Arc<Store> {
        let root = self.objects();
        let number = self.members.fetch_add(1, Ordering::Relaxed);
        let parts = FleetParts {
            role,
            options: self.fleet.clone(),
            queue: Arc::new(self.queue().await),
            catalog: Arc::new(self.catalog().await),
            objects: Arc::new(LocalObjects::open(&root).unwrap()),
            local_root: Some(root),
            table: None,
            member: format!("{}-{number}", role.as_str()),
            description: "{}".to_owned(),
        };
        let store = Store::join(self.options.clone(), parts, Arc::new(SystemClock));
        let store = store.await.unwrap();
        store.set_delete_matcher(Arc::new(Below));
        store
    }
}

/// Waits until something is true.
pub(crate) async fn until(what: &str, mut is_true: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_true().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

/// Waits until a reader finds exactly these numbers.
pub(crate) async fn finds(store: &Store, owner: &str, numbers: &[i64]) -> Duration {
    let what = format!("{owner}: {numbers:?}");
    until(&what, async || found(store, owner).await == numbers).await
}

//! A store's local folder, with its segments on S3.

use std::path::PathBuf;
use std::sync::Arc;

use futures::TryStreamExt;
use logmill_catalog::SqliteCatalog;
use logmill_model::ManualClock;
use logmill_store::object_storage::{ObjectStorageOptions, Opened, open_with};
use logmill_store::{Result, Store, StoreOptions};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;

use crate::harness::DAY;

pub(crate) const BUCKET: &str = "logs";
pub(crate) const SECRET: &str = "not-to-be-seen";

pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: StoreOptions,
    pub(crate) objects: ObjectStorageOptions,
    pub(crate) clock: Arc<ManualClock>,
}

pub(crate) fn credentials() -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_access_key_id("somebody")
        .with_secret_access_key(SECRET)
}

impl Site {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            // Flushes happen when a test says so.
            store: StoreOptions {
                flush_interval_ms: 3_600_000,
                ..StoreOptions::default()
            },
            objects: ObjectStorageOptions {
                url: format!("s3://{BUCKET}/some/prefix"),
                endpoint: format!("http://{address}"),
                region: "eu-west-1".to_owned(),
                path_style: true,
                allow_http: true,
                ..ObjectStorageOptions::default()
            },
            clock: Arc::new(ManualClock::new(DAY)),
        }
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub(crate) fn open_objects(&self) -> Arc<dyn ObjectStore> {
        self.try_open_objects().unwrap().store
    }

    /// The same objects, without the cache.
    pub(crate) fn open_bare(&self) -> Arc<dyn ObjectStore> {
        let bare = ObjectStorageOptions {
            cache_bytes: 0,
            ..self.objects.clone()
        };
        open_with(credentials(), &bare, self.folder.path(), &self.cache())
            .unwrap()
            .store
    }

    pub(crate) fn try_open_objects(&self) -> Result<Opened> {
        let cache = self.cache();
        open_with(credentials(), &self.objects, self.folder.path(), &cache)
    }

    pub(crate) async fn open(&self) -> Arc<Store> {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Arc<Store>> {
        let opened = self.try_open_objects()?;
        self.open_on(opened).await
    }

    pub(crate) async fn open_on(&self, opened: Opened) -> Result<Arc<Store>> {
        let catalog = SqliteCatalog::open(&self.folder.path().join("catalog.db")).await;
        Store::open(
            self.store.clone(),
            &self.folder.path().join("wal"),
            Arc::new(catalog.unwrap()),
            opened.store,
            opened.local_root,
            self.clock.clone(),
        )
        .await
    }
}

/// Paths of all objects, as the store gives them.
pub(crate) async fn paths(store: &dyn ObjectStore) -> Vec<String> {
    let listed = store
        .list(None)
        .map_ok(|object| object.location.to_string());
    let mut paths: Vec<String> = listed.try_collect().await.unwrap();
    paths.sort();
    paths
}

//! A store in a temporary folder, with a catalog and an object store that can be told to fail.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{BooleanArray, Int64Array, RecordBatch, TimestampNanosecondArray};
use arrow_schema::Schema;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use logmill_catalog::{
    Catalog, Changes, DeleteId, DeleteRow, Error as CatalogError, FlushCommit, IdempotencyRow,
    JobRun, Lease, LeaseRow, Member, Replacement, SegmentId, SegmentRow, SqliteCatalog,
};
use logmill_model::{ManualClock, TenantId, TimeRange};
use logmill_schema::ColumnType;
use logmill_store::object_storage::LocalObjects;
use logmill_store::{
    AppendRequest, CompactionOptions, DeleteFilter, DeleteMatcher, Result, SegmentHandle, Store,
    StoreOptions,
};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

/// 2026-11-20T00:00:00Z
pub(crate) const DAY: i64 = 1_795_132_800_000_000_000;

/// Fails the operation whose turn it is; 0 never.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failpoint(Arc<AtomicUsize>);

impl Failpoint {
    pub(crate) fn at(&self, operation: usize) {
        self.0.store(operation, Ordering::SeqCst);
    }

    fn hit(&self) -> bool {
        let before = self.0.load(Ordering::SeqCst);
        before > 0 && self.0.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

pub(crate) struct Folder {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) options: StoreOptions,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) puts: Failpoint,
    pub(crate) gets: Failpoint,
    pub(crate) commits_before: Failpoint,
    pub(crate) commits_after: Failpoint,
}

impl Folder {
    pub(crate) fn new() -> Self {
        // Flushes and merges happen when a test says so.
        let options = StoreOptions {
            flush_interval_ms: 3_600_000,
            compaction: CompactionOptions {
                enabled: false,
                fan_in: 4,
                ..CompactionOptions::default()
            },
            ..StoreOptions::default()
        };
        Self {
            folder: tempfile::tempdir().unwrap(),
            options,
            clock: Arc::new(ManualClock::new(DAY)),
            puts: Failpoint::default(),
            gets: Failpoint::default(),
            commits_before: Failpoint::default(),
            commits_after: Failpoint::default(),
        }
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.path().join("objects")
    }

    pub(crate) async fn catalog(&self) -> SqliteCatalog {
        SqliteCatalog::open(&self.folder.path().join("catalog.db"))
            .await
            .unwrap()
    }

    pub(crate) async fn open(&self) -> Arc<Store> {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Arc<Store>> {
        let root = self.objects();
        std::fs::create_dir_all(&root).unwrap();
        let catalog = FailingCatalog {
            inner: self.catalog().await,
            before: self.commits_before.clone(),
            after: self.commits_after.clone(),
        };
        let inner = LocalObjects::open(&root).unwrap();
        let objects = FailingObjects {
            inner,
            puts: self.puts.clone(),
            gets: self.gets.clone(),
        };
        let wal = self.folder.path().join("wal");
        let (catalog, objects) = (Arc::new(catalog), Arc::new(objects));
        let store = Store::open(
            self.options.clone(),
            &wal,
            catalog,
            objects,
            Some(root),
            self.clock.clone(),
        )
        .await?;
        store.set_delete_matcher(Arc::new(Below));
        Ok(store)
    }

    /// Paths of the objects on disk.
    pub(crate) fn files(&self) -> Vec<String> {
        fn walk(at: &std::path::Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push(path.display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.objects(), &mut found);
        found.sort();
        found
    }
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

/// Records with these numbers, at these nanoseconds after [`DAY`].
pub(crate) fn batch(numbers: &[i64], after_ns: impl Fn(i64) -> i64) -> RecordBatch {
    let times = numbers.iter().map(|number| DAY + after_ns(*number));
    let times = TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC");
    let fields = vec![
        ColumnType::Timestamp.field("timestamp"),
        ColumnType::Integer.field("n"),
    ];
    let numbers = Int64Array::from(numbers.to_vec());
    let schema = Arc::new(Schema::new(fields));
    RecordBatch::try_new(schema, vec![Arc::new(times), Arc::new(numbers)]).unwrap()
}

pub(crate) fn request(owner: &str, numbers: &[i64]) -> AppendRequest {
    AppendRequest {
        tenant: tenant(owner),
        batch: batch(numbers, |number| number),
        received_at_ns: DAY,
        idempotency: None,
    }
}

/// The deletes of these tests: `{"filters":{"below":5}}` is about the numbers below 5.
#[derive(Debug)]
pub(crate) struct Below;

impl DeleteMatcher for Below {
    fn prepare(
        &self,
        predicate: &str,
        _columns: &[(String, ColumnType)],
    ) -> Result<DeleteFilter, String> {
        let predicate: serde_json::Value =
            serde_json::from_str(predicate).map_err(|error| error.to_string())?;
        let below = predicate["filters"]["below"].as_i64().ok_or("no number")?;
        Ok(Box::new(move |batch| {
            let numbers = batch
                .column_by_name("n")
                .unwrap()
                .as_primitive::<Int64Type>();
            Ok(numbers
                .iter()
                .map(|number| number.map(|number| number < below))
                .collect())
        }))
    }
}

/// Asks for the deletion of a tenant's numbers below this.
pub(crate) async fn delete_below(store: &Store, owner: &str, below: i64) -> Result<DeleteRow> {
    let predicate = serde_json::json!({ "filters": { "below": below } }).to_string();
    store
        .begin_delete(&tenant(owner), predicate, TimeRange::ALL)
        .await
}

/// A segment's object.
pub(crate) async fn object(store: &Store, segment: &SegmentHandle) -> Bytes {
    let path = Path::from(segment.row().path.as_str());
    let found = store.objects().get(&path).await.unwrap();
    found.bytes().await.unwrap()
}

/// The numbers that a reader of the tenant finds, sorted, in memory and in segments.
pub(crate) async fn found(store: &Store, owner: &str) -> Vec<i64> {
    let snapshot = store.snapshot(&tenant(owner));
    let memtable = snapshot.memtable.iter();
    let mut batches: Vec<_> = memtable.map(|batch| batch.rows().clone()).collect();
    for segment in &snapshot.segments {
        let bytes = object(store, segment).await;
        for mut batch in logmill_segment::decode(&bytes).unwrap() {
            for delete in segment.deletes() {
                let filter = Below.prepare(&delete.predicate, &[]).unwrap();
                let gone = filter(&batch).unwrap();
                let keep: BooleanArray = gone.iter().map(|gone| Some(gone != Some(true))).collect();
                batch = arrow_select::filter::filter_record_batch(&batch, &keep).unwrap();
            }
            batches.push(batch);
        }
    }
    let mut numbers: Vec<i64> = batches
        .iter()
        .flat_map(|b| {
            b.column_by_name("n")
                .unwrap()
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

#[derive(Debug)]
struct FailingCatalog {
    inner: SqliteCatalog,
    before: Failpoint,
    after: Failpoint,
}

fn failed() -> CatalogError {
    CatalogError::Migrate("injected failure".to_owned())
}

#[async_trait]
impl Catalog for FailingCatalog {
    async fn watermark(&self, partition: &str) -> Result<u64, CatalogError> {
        self.inner.watermark(partition).await
    }
    async fn segments(&self) -> Result<Vec<SegmentRow>, CatalogError> {
        self.inner.segments().await
    }
    async fn commit_flush(&self, commit: FlushCommit) -> Result<(), CatalogError> {
        if self.before.hit() {
            return Err(failed());
        }
        self.inner.commit_flush(commit).await?;
        if self.after.hit() {
            Err(failed())
        } else {
            Ok(())
        }
    }
    async fn remove_segments(
        &self,
        ids: &[SegmentId],
        now_ns: i64,
        keep_objects: bool,
    ) -> Result<u64, CatalogError> {
        if self.before.hit() {
            return Err(failed());
        }
        let removed = self
            .inner
            .remove_segments(ids, now_ns, keep_objects)
            .await?;
        if self.after.hit() {
            Err(failed())
        } else {
            Ok(removed)
        }
    }
    async fn replace_segments(&self, replacement: Replacement) -> Result<(), CatalogError> {
        if self.before.hit() {
            return Err(failed());
        }
        self.inner.replace_segments(replacement).await?;
        if self.after.hit() {
            Err(failed())
        } else {
            Ok(())
        }
    }
    async fn begin_delete(
        &self,
        delete: DeleteRow,
        segments: &[SegmentId],
    ) -> Result<(), CatalogError> {
        if self.before.hit() {
            return Err(failed());
        }
        self.inner.begin_delete(delete, segments).await?;
        if self.after.hit() {
            Err(failed())
        } else {
            Ok(())
        }
    }
    async fn deletes(&self, tenant: Option<&TenantId>) -> Result<Vec<DeleteRow>, CatalogError> {
        self.inner.deletes(tenant).await
    }
    async fn delete(
        &self,
        tenant: &TenantId,
        id: &DeleteId,
    ) -> Result<Option<DeleteRow>, CatalogError> {
        self.inner.delete(tenant, id).await
    }
    async fn expire_deletes(&self, before_ns: i64) -> Result<u64, CatalogError> {
        self.inner.expire_deletes(before_ns).await
    }
    async fn pending_deletes(&self) -> Result<Vec<(SegmentId, DeleteId)>, CatalogError> {
        self.inner.pending_deletes().await
    }
    async fn idempotency_since(&self, since_ns: i64) -> Result<Vec<IdempotencyRow>, CatalogError> {
        self.inner.idempotency_since(since_ns).await
    }
    async fn expire_idempotency(&self, before_ns: i64) -> Result<u64, CatalogError> {
        self.inner.expire_idempotency(before_ns).await
    }
    async fn watermarks(&self) -> Result<Vec<(String, u64)>, CatalogError> {
        self.inner.watermarks().await
    }
    async fn version(&self) -> Result<u64, CatalogError> {
        self.inner.version().await
    }
    async fn changes(&self, since: u64) -> Result<Changes, CatalogError> {
        self.inner.changes(since).await
    }
    async fn obsolete_objects(&self, older_than: Duration) -> Result<Vec<String>, CatalogError> {
        self.inner.obsolete_objects(older_than).await
    }
    async fn forget_objects(&self, paths: &[String]) -> Result<(), CatalogError> {
        self.inner.forget_objects(paths).await
    }
    async fn lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>, CatalogError> {
        self.inner.lease(name, holder, ttl).await
    }
    async fn release(&self, name: &str, holder: &str, epoch: u64) -> Result<bool, CatalogError> {
        self.inner.release(name, holder, epoch).await
    }
    async fn leases(&self, prefix: &str) -> Result<Vec<LeaseRow>, CatalogError> {
        self.inner.leases(prefix).await
    }
    async fn heartbeat(
        &self,
        member_id: &str,
        role: &str,
        description: &str,
        ttl: Duration,
    ) -> Result<Vec<Member>, CatalogError> {
        self.inner
            .heartbeat(member_id, role, description, ttl)
            .await
    }
    async fn leave(&self, member_id: &str) -> Result<(), CatalogError> {
        self.inner.leave(member_id).await
    }
    async fn record_job(&self, run: JobRun) -> Result<(), CatalogError> {
        self.inner.record_job(run).await
    }
    async fn job_runs(&self) -> Result<Vec<JobRun>, CatalogError> {
        self.inner.job_runs().await
    }
    async fn setting(&self, name: &str, initial: &[u8]) -> Result<Vec<u8>, CatalogError> {
        self.inner.setting(name, initial).await
    }
    async fn tenants(&self) -> Result<Vec<TenantId>, CatalogError> {
        self.inner.tenants().await
    }
    async fn ping(&self) -> Result<(), CatalogError> {
        self.inner.ping().await
    }
}

#[derive(Debug)]
struct FailingObjects {
    inner: LocalObjects,
    puts: Failpoint,
    gets: Failpoint,
}

impl std::fmt::Display for FailingObjects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "failing {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FailingObjects {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        if self.puts.hit() {
            let source = "injected failure".into();
            return Err(object_store::Error::Generic {
                store: "failing",
                source,
            });
        }
        self.inner.put_opts(location, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }
    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        if self.gets.hit() {
            let source = "injected failure".into();
            return Err(object_store::Error::Generic {
                store: "failing",
                source,
            });
        }
        self.inner.get_opts(location, options).await
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

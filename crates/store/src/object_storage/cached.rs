//! An object store whose objects' blocks are kept in a local folder.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display, Formatter};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, Error as ObjectError, GetOptions, GetRange, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result as ObjectResult,
};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_128;

use super::blocks::{BlockKey, Blocks, ObjectInfo, ObjectKey, block_length, count_failure};
use crate::Result;

/// Requests under way at a time for one read.
const PARALLEL_FETCHES: usize = 8;
/// The most blocks that are asked for by one request.
const RUN_BLOCKS: u64 = 64;

/// An object store whose objects' blocks are kept in a local folder, within a bound on bytes.
///
/// It is for objects that never change, as segments are. Reads of ranges are answered from the folder, and
/// what is missing there is fetched once, however many want it. Reads of whole objects go to the store: they
/// are for checking what it has, and would push out what questions need. What is in the folder at the start
/// is used again. When the folder fails, the store answers.
pub struct CachedStore {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<dyn ObjectStore>,
    identity: String,
    block_bytes: u64,
    blocks: Blocks,
    /// Blocks that are being fetched; there are never more than reads under way want.
    fetches: Mutex<FxHashMap<BlockKey, Fetch>>,
}

/// A block that is being fetched, as those that wait for it see it.
type Fetch = watch::Receiver<Option<Fetched>>;
type Fetched = Result<Bytes, Arc<ObjectError>>;

/// A part of a block that a read wants.
#[derive(Clone)]
struct Piece {
    /// Which of the read's ranges.
    range: usize,
    /// Which of its parts.
    part: usize,
    within: Range<usize>,
}

type Pieces = BTreeMap<u64, Vec<Piece>>;
/// The parts of each range.
type Parts = Vec<Vec<Bytes>>;

impl CachedStore {
    /// Wraps a store. `identity` tells its objects from other stores' in the same folder. Reads the folder, so
    /// it may block for a moment.
    pub fn open(
        inner: Arc<dyn ObjectStore>,
        identity: &str,
        folder: &Path,
        max_bytes: u64,
        block_bytes: u64,
    ) -> Result<Self> {
        let block_bytes = block_bytes.max(1);
        Ok(Self {
            shared: Arc::new(Shared {
                inner,
                identity: identity.to_owned(),
                block_bytes,
                blocks: Blocks::open(folder, max_bytes, block_bytes)?,
                fetches: Mutex::default(),
            }),
        })
    }
}

impl Shared {
    fn key(&self, location: &ObjectPath) -> ObjectKey {
        xxh3_128(format!("{}\n{location}", self.identity).as_bytes())
    }

    /// Runs something that touches the folder on a thread for such things.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        let shared = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.inspect_err(|error| count_failure("task", error)).ok()
    }

    async fn forget(self: &Arc<Self>, location: &ObjectPath) {
        let key = self.key(location);
        self.blocking(move |shared| shared.blocks.forget(key)).await;
    }

    async fn info(&self, location: &ObjectPath) -> ObjectResult<ObjectInfo> {
        if let Some(info) = self.blocks.info(self.key(location)) {
            return Ok(info);
        }
        let meta = self.inner.head(location).await?;
        Ok(ObjectInfo {
            size: meta.size,
            modified_ms: meta.last_modified.timestamp_millis(),
        })
    }

    /// Ranges of an object, each within it and not empty.
    async fn read(
        self: &Arc<Self>,
        location: &ObjectPath,
        info: ObjectInfo,
        ranges: &[Range<u64>],
    ) -> ObjectResult<Vec<Bytes>> {
        let (mut pieces, mut parts) = cut(ranges, self.block_bytes);
        let mut first = true;
        while !pieces.is_empty() {
            let (missing, found) = self.read_kept(location, pieces, &mut parts).await;
            metrics::counter!("logmill_object_cache_hits_total").increment(found);
            if first {
                metrics::counter!("logmill_object_cache_misses_total")
                    .increment(missing.len() as u64);
            }
            pieces = self
                .read_missing(location, info, missing, &mut parts, !first)
                .await?;
            first = false;
        }
        Ok(parts.into_iter().map(join).collect())
    }

    /// Fills in what the folder has; returns what it has not, and how many blocks it had.
    async fn read_kept(
        self: &Arc<Self>,
        location: &ObjectPath,
        pieces: Pieces,
        parts: &mut Parts,
    ) -> (Pieces, u64) {
        let object = self.key(location);
        if !pieces
            .keys()
            .any(|number| self.blocks.contains((object, *number)))
        {
            return (pieces, 0);
        }
        let wanted = pieces.clone();
        let read = move |shared: &Self| {
            let mut found = BTreeMap::new();
            for (number, pieces) in &wanted {
                if let Some(block) = shared.blocks.read((object, *number)) {
                    let cut = pieces.iter().map(|piece| piece.of(&block));
                    found.insert(*number, cut.collect::<Vec<_>>());
                }
            }
            found
        };
        let mut found = self.blocking(read).await.unwrap_or_default();
        let mut missing = pieces;
        let before = missing.len();
        missing.retain(|number, pieces| match found.remove(number) {
            Some(bytes) => {
                for (piece, bytes) in pieces.iter().zip(bytes) {
                    parts[piece.range][piece.part] = bytes;
                }
                false
            }
            None => true,
        });
        let found = (before - missing.len()) as u64;
        (missing, found)
    }

    /// Fills in what has to be fetched, by this read or by another that is at it. Returns blocks that came to
    /// the folder meanwhile, unless it is `final_try`.
    async fn read_missing(
        self: &Arc<Self>,
        location: &ObjectPath,
        info: ObjectInfo,
        mut missing: Pieces,
        parts: &mut Parts,
        final_try: bool,
    ) -> ObjectResult<Pieces> {
        let object = self.key(location);
        let numbers: Vec<u64> = missing.keys().copied().collect();
        let (waiting, arrived) = self.claim(location, info, &numbers, final_try);
        for (number, mut fetch) in waiting {
            let Some(pieces) = missing.remove(&number) else {
                continue;
            };
            let fetched = match fetch.wait_for(Option::is_some).await {
                Ok(fetched) => fetched.clone(),
                // The fetch is gone, with the runtime it ran on.
                Err(_gone) => None,
            };
            let block = match fetched {
                Some(Ok(block)) => block,
                Some(Err(error)) => return Err(copy_of(&error)),
                None => {
                    let range = self.range((object, number), info);
                    self.inner.get_range(location, range).await?
                }
            };
            for piece in &pieces {
                parts[piece.range][piece.part] = piece.of(&block);
            }
        }
        missing.retain(|number, _| arrived.contains(number));
        Ok(missing)
    }

    /// Joins the fetches of blocks that are under way and starts the others', in one task that does not end
    /// with the read: others may be waiting for it.
    fn claim(
        self: &Arc<Self>,
        location: &ObjectPath,
        info: ObjectInfo,
        numbers: &[u64],
        final_try: bool,
    ) -> (Vec<(u64, Fetch)>, Vec<u64>) {
        let object = self.key(location);
        let (mut waiting, mut arrived) = (Vec::new(), Vec::new());
        let mut runs: Vec<Vec<Claim>> = Vec::new();
        let mut fetches = self.fetches.lock();
        for number in numbers.iter().copied() {
            let key = (object, number);
            if let Some(fetch) = fetches.get(&key) {
                waiting.push((number, fetch.clone()));
                continue;
            }
            // A fetch ends after its block is kept: if one ended since this read looked, the block is there.
            if !final_try && self.blocks.contains(key) {
                arrived.push(number);
                continue;
            }
            let (sender, fetch) = watch::channel(None);
            fetches.insert(key, fetch.clone());
            waiting.push((number, fetch));
            let claim = Claim {
                shared: self.clone(),
                key,
                sender,
            };
            match runs.last_mut() {
                Some(run) if continues(run, number) => run.push(claim),
                _ => runs.push(vec![claim]),
            }
        }
        drop(fetches);
        if !runs.is_empty() {
            let (shared, location) = (self.clone(), location.clone());
            let fetch = stream::iter(runs).for_each_concurrent(PARALLEL_FETCHES, move |run| {
                let (shared, location) = (shared.clone(), location.clone());
                async move { shared.fetch(&location, info, run).await }
            });
            tokio::spawn(fetch);
        }
        (waiting, arrived)
    }

    /// Fetches adjacent blocks by one request, hands them to those that wait, and keeps them.
    async fn fetch(self: &Arc<Self>, location: &ObjectPath, info: ObjectInfo, run: Vec<Claim>) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return;
        };
        let range = self.range(first.key, info).start..self.range(last.key, info).end;
        let fetched = self.inner.get_range(location, range.clone()).await;
        let fetched = fetched.and_then(|bytes| {
            if bytes.len() as u64 == range.end - range.start {
                return Ok(bytes);
            }
            Err(ObjectError::Generic {
                store: "cache",
                source: format!("{location}: {} bytes of {range:?}", bytes.len()).into(),
            })
        });
        let mut rest = match fetched {
            Ok(bytes) => bytes,
            Err(error) => {
                let error = Arc::new(error);
                for claim in &run {
                    claim.sender.send_replace(Some(Err(error.clone())));
                }
                return;
            }
        };
        let mut blocks = Vec::with_capacity(run.len());
        for claim in &run {
            let length = block_length(claim.key.1, self.block_bytes, info.size);
            let block = rest.split_to(
                usize::try_from(length)
                    .unwrap_or(usize::MAX)
                    .min(rest.len()),
            );
            claim.sender.send_replace(Some(Ok(block.clone())));
            blocks.push((claim.key, block));
        }
        self.blocking(move |shared| {
            for (key, block) in blocks {
                shared.blocks.keep(key, info, &block);
            }
        })
        .await;
        drop(run);
    }

    fn range(&self, (_, number): BlockKey, info: ObjectInfo) -> Range<u64> {
        let start = number * self.block_bytes;
        start..start + block_length(number, self.block_bytes, info.size)
    }

    /// Keeps the blocks of an object that was just written: a new segment is what is asked for most.
    async fn keep_all(self: &Arc<Self>, location: &ObjectPath, bytes: Bytes) {
        if !self.blocks.has_room_for(bytes.len() as u64) {
            return;
        }
        let object = self.key(location);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let info = ObjectInfo {
            size: bytes.len() as u64,
            modified_ms: since_epoch.map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }),
        };
        self.blocking(move |shared| {
            let length = usize::try_from(shared.block_bytes).unwrap_or(usize::MAX);
            for (number, block) in (0..).zip(bytes.chunks(length)) {
                shared.blocks.keep((object, number), info, block);
            }
        })
        .await;
    }
}

/// The promise to fetch a block; whatever becomes of the task, others can fetch it after it.
struct Claim {
    shared: Arc<Shared>,
    key: BlockKey,
    sender: watch::Sender<Option<Fetched>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.fetches.lock().remove(&self.key);
    }
}

fn continues(run: &[Claim], number: u64) -> bool {
    let next = run.last().is_some_and(|last| last.key.1 + 1 == number);
    next && (run.len() as u64) < RUN_BLOCKS
}

/// Which parts of which blocks the ranges are made of.
fn cut(ranges: &[Range<u64>], block_bytes: u64) -> (Pieces, Parts) {
    let mut pieces = Pieces::new();
    let mut parts = Parts::new();
    for (index, range) in ranges.iter().enumerate() {
        let (first, last) = (range.start / block_bytes, (range.end - 1) / block_bytes);
        for (part, number) in (first..=last).enumerate() {
            let block_start = number * block_bytes;
            let start = range.start.max(block_start) - block_start;
            let end = (range.end - block_start).min(block_bytes);
            let offset = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            pieces.entry(number).or_default().push(Piece {
                range: index,
                part,
                within: offset(start)..offset(end),
            });
        }
        let count = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
        parts.push(vec![Bytes::new(); count]);
    }
    (pieces, parts)
}

impl Piece {
    /// The piece of a block. A small one is copied, so that it does not keep the whole block in memory.
    fn of(&self, block: &Bytes) -> Bytes {
        let end = self.within.end.min(block.len());
        let within = self.within.start.min(end)..end;
        if within.len() * 2 < block.len() {
            Bytes::copy_from_slice(&block[within])
        } else {
            block.slice(within)
        }
    }
}

fn join(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() == 1 {
        return parts.swap_remove(0);
    }
    let mut joined = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    for part in parts {
        joined.extend_from_slice(&part);
    }
    joined.freeze()
}

/// An error for one more of those that waited for the same block.
fn copy_of(error: &ObjectError) -> ObjectError {
    let source = error.to_string().into();
    match error {
        ObjectError::NotFound { path, .. } => ObjectError::NotFound {
            path: path.clone(),
            source,
        },
        ObjectError::PermissionDenied { path, .. } => ObjectError::PermissionDenied {
            path: path.clone(),
            source,
        },
        ObjectError::Unauthenticated { path, .. } => ObjectError::Unauthenticated {
            path: path.clone(),
            source,
        },
        _ => ObjectError::Generic {
            store: "cache",
            source,
        },
    }
}

/// Not derived: what a store prints of itself may hold settings.
impl Debug for CachedStore {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(self, formatter)
    }
}

impl Display for CachedStore {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "CachedStore({})", self.shared.inner)
    }
}

#[async_trait]
impl ObjectStore for CachedStore {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> ObjectResult<PutResult> {
        if options.mode != PutMode::Create {
            self.shared.forget(location).await;
        }
        let put = self
            .shared
            .inner
            .put_opts(location, payload.clone(), options)
            .await?;
        self.shared.keep_all(location, payload.into()).await;
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        options: PutMultipartOptions,
    ) -> ObjectResult<Box<dyn MultipartUpload>> {
        self.shared.forget(location).await;
        self.shared
            .inner
            .put_multipart_opts(location, options)
            .await
    }

    async fn get_opts(
        &self,
        location: &ObjectPath,
        options: GetOptions,
    ) -> ObjectResult<GetResult> {
        let conditional = options.if_match.is_some()
            || options.if_none_match.is_some()
            || options.if_modified_since.is_some()
            || options.if_unmodified_since.is_some()
            || options.version.is_some();
        let range: Option<&GetRange> = options.range.as_ref();
        let Some(range) = range.filter(|_| !conditional && !options.head) else {
            return self.shared.inner.get_opts(location, options).await;
        };
        let info = self.shared.info(location).await?;
        let range = match range.as_range(info.size) {
            Ok(range) if range.start < range.end => range,
            // The store knows best how to refuse it.
            _ => return self.shared.inner.get_opts(location, options).await,
        };
        let read = self
            .shared
            .read(location, info, std::slice::from_ref(&range));
        let bytes: Bytes = read.await?.into_iter().collect::<Vec<_>>().concat().into();
        let modified = u64::try_from(info.modified_ms).unwrap_or(0);
        Ok(GetResult {
            payload: GetResultPayload::Stream(
                futures::future::ready(Ok(bytes)).into_stream().boxed(),
            ),
            meta: ObjectMeta {
                location: location.clone(),
                last_modified: (UNIX_EPOCH + Duration::from_millis(modified)).into(),
                size: info.size,
                e_tag: None,
                version: None,
            },
            range,
            attributes: object_store::Attributes::default(),
        })
    }

    async fn get_ranges(
        &self,
        location: &ObjectPath,
        ranges: &[Range<u64>],
    ) -> ObjectResult<Vec<Bytes>> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let info = self.shared.info(location).await?;
        let within = ranges.iter().map(|range| {
            let end = range.end.min(info.size);
            (range.start < end).then_some(range.start..end)
        });
        match within.collect::<Option<Vec<_>>>() {
            Some(within) => self.shared.read(location, info, &within).await,
            None => self.shared.inner.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, ObjectResult<ObjectPath>>,
    ) -> BoxStream<'static, ObjectResult<ObjectPath>> {
        let shared = self.shared.clone();
        let deleted = self.shared.inner.delete_stream(locations);
        deleted
            .then(move |result| {
                let shared = shared.clone();
                async move {
                    if let Ok(location) = &result {
                        shared.forget(location).await;
                    }
                    result
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, ObjectResult<ObjectMeta>> {
        self.shared.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&ObjectPath>,
        offset: &ObjectPath,
    ) -> BoxStream<'static, ObjectResult<ObjectMeta>> {
        self.shared.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> ObjectResult<ListResult> {
        self.shared.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &ObjectPath,
        to: &ObjectPath,
        options: CopyOptions,
    ) -> ObjectResult<()> {
        self.shared.forget(to).await;
        self.shared.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(
        &self,
        from: &ObjectPath,
        to: &ObjectPath,
        options: RenameOptions,
    ) -> ObjectResult<()> {
        self.shared.forget(from).await;
        self.shared.forget(to).await;
        self.shared.inner.rename_opts(from, to, options).await
    }
}

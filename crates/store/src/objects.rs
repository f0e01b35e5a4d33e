//! Objects of the store and their paths.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use logmill_model::{TenantId, time};
use logmill_segment::SegmentFile;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::{Error, Result};

/// Where every segment's path begins.
const TENANTS: &str = "tenants";

/// The object store. What was put is on stable storage.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
}

/// An object that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) path: String,
    /// When it was written, by the object store's clock.
    pub(crate) modified_ns: i64,
}

/// The path of a segment whose oldest record is at `first_ns`.
pub(crate) fn segment_path(tenant: &TenantId, first_ns: i64, id: &str) -> String {
    let (year, month, day) = time::utc_date(first_ns);
    format!("{TENANTS}/{tenant}/segments/{year:04}-{month:02}-{day:02}/{id}.parquet")
}

impl Objects {
    /// Writes an object; done when it is on stable storage.
    pub(crate) async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        let put = self
            .store
            .put(&ObjectPath::from(path), PutPayload::from_bytes(bytes))
            .await;
        put.map(|_| ())
            .map_err(|source| error("writing", path, source))
    }

    /// A part of an object.
    pub(crate) async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let get = self.store.get_range(&ObjectPath::from(path), range).await;
        get.map_err(|source| error("reading", path, source))
    }

    /// The footer of a segment of `length` bytes.
    pub(crate) async fn open_segment(&self, path: &str, length: u64) -> Result<SegmentFile> {
        let mut wanted = SegmentFile::TAIL_BYTES.min(length);
        loop {
            let tail = self.get_range(path, length - wanted..length).await?;
            match SegmentFile::open(&tail, length)? {
                Ok(file) => return Ok(file),
                Err(more) => wanted = more,
            }
        }
    }

    /// Deletes an object; one that is not there is deleted.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        match self.store.delete(&ObjectPath::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(error("deleting", path, source)),
        }
    }

    /// The whole object.
    pub(crate) async fn get(&self, path: &str) -> Result<Bytes> {
        let get = async { self.store.get(&ObjectPath::from(path)).await?.bytes().await };
        get.await.map_err(|source| error("reading", path, source))
    }

    /// All segments' objects, whether the catalog knows them or not.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>> {
        let listed: Result<Vec<_>, _> = self
            .store
            .list(Some(&ObjectPath::from(TENANTS)))
            .try_collect()
            .await;
        let listed = listed.map_err(|source| error("listing", TENANTS, source))?;
        Ok(listed
            .into_iter()
            .map(|object| Listed {
                path: object.location.to_string(),
                modified_ns: object
                    .last_modified
                    .timestamp_nanos_opt()
                    .unwrap_or(i64::MAX),
            })
            .collect())
    }
}

/// A failure of the store, named.
pub(crate) fn error(operation: &'static str, path: &str, source: object_store::Error) -> Error {
    Error::Object {
        operation,
        path: path.to_owned(),
        source,
    }
}

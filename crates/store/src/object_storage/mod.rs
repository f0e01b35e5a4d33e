//! Where segments are: a local folder, or S3 behind a local cache.

mod blocks;
mod cached;
mod local;
mod metered;
mod options;
mod s3;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;

pub use cached::CachedStore;
pub use local::LocalObjects;
pub(crate) use local::finished;
pub use options::ObjectStorageOptions;

use crate::{Error, Result};

/// The smallest block that is worth a request.
const CACHE_BLOCK_MIN: u64 = 4 << 10;

/// An object store, as [`Store::open`](crate::Store::open) takes it.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The object store.
    pub store: Arc<dyn ObjectStore>,
    /// Its folder, when it is a local one.
    pub local_root: Option<PathBuf>,
}

/// Opens the object store that the options name: the folder `local_root` or another one, which has to exist, or S3 with the
/// credentials of the environment and a cache in `cache_directory`.
///
/// Sends no request: what is wrong with the bucket or the credentials is seen at the first one. Reads the
/// cache's folder, so it may block for a moment. Of all processes only one may use a cache's folder.
pub fn open(
    options: &ObjectStorageOptions,
    local_root: &Path,
    cache_directory: &Path,
) -> Result<Opened> {
    open_with(
        AmazonS3Builder::from_env(),
        options,
        local_root,
        cache_directory,
    )
}

/// As [`open`], with credentials that are already in the builder.
pub fn open_with(
    credentials: AmazonS3Builder,
    options: &ObjectStorageOptions,
    local_root: &Path,
    cache_directory: &Path,
) -> Result<Opened> {
    let folder = match options.url.strip_prefix("file://") {
        Some(path) if Path::new(path).is_absolute() => Some(Path::new(path)),
        Some(path) => return Err(wrong("url", format!("file://{path} is no absolute path"))),
        None => options.url.is_empty().then_some(local_root),
    };
    if let Some(local_root) = folder {
        let store = LocalObjects::open(local_root);
        let store = store.map_err(|source| Error::Object {
            operation: "opening",
            path: local_root.display().to_string(),
            source,
        })?;
        return Ok(Opened {
            store: Arc::new(store),
            local_root: Some(local_root.to_owned()),
        });
    }
    if options.cache_block_bytes < CACHE_BLOCK_MIN {
        let reason = format!("must be at least {CACHE_BLOCK_MIN}");
        return Err(wrong("cache_block_bytes", reason));
    }
    let s3::Connected { store, identity } = s3::connect(credentials, options)?;
    let store: Arc<dyn ObjectStore> = if options.cache_bytes == 0 {
        store
    } else {
        Arc::new(CachedStore::open(
            store,
            &identity,
            cache_directory,
            options.cache_bytes,
            options.cache_block_bytes,
        )?)
    };
    Ok(Opened {
        store,
        local_root: None,
    })
}

fn wrong(setting: &'static str, reason: impl Into<String>) -> Error {
    Error::ObjectStorage {
        setting,
        reason: reason.into(),
    }
}

//! Where the bytes of segments come from.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use logmill_segment::BlockLocation;
use object_store::ObjectStore;
use object_store::path::Path;

/// The store's objects.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// A local store is read without it: it takes a thread's turn for every read, which is many times a read's time.
    local_root: Option<PathBuf>,
}

impl Objects {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, local_root: Option<PathBuf>) -> Self {
        Self { store, local_root }
    }

    /// An object, to be read from.
    pub(crate) fn source(&self, path: &str) -> Result<Source> {
        match &self.local_root {
            Some(root) => Ok(Source::Local(Arc::new(File::open(root.join(path))?))),
            None => Ok(Source::Remote(self.store.clone(), Path::from(path))),
        }
    }
}

/// One object.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A file. It is read on the query's thread: those are there for nothing else.
    Local(Arc<File>),
    /// An object of a store.
    Remote(Arc<dyn ObjectStore>, Path),
}

impl Source {
    /// A block that is embedded in the object.
    pub(crate) async fn block(&self, location: &BlockLocation) -> Result<Bytes> {
        let read = self.read(&[location.range()]).await?;
        Ok(read.into_iter().next().unwrap_or_default())
    }

    /// Some ranges of the object.
    pub(crate) async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self {
            Self::Local(file) => ranges.iter().map(|range| read(file, range)).collect(),
            Self::Remote(store, path) => store
                .get_ranges(path, ranges)
                .await
                .map_err(|error| DataFusionError::ObjectStore(Box::new(error))),
        }
    }
}

fn read(file: &File, range: &Range<u64>) -> Result<Bytes> {
    let length = range.end.saturating_sub(range.start);
    let length = usize::try_from(length)
        .map_err(|_too_long| DataFusionError::Execution("a range is too long".to_owned()))?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}

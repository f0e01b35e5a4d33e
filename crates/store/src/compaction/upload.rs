//! An object that is written piece by piece from a thread.

use std::io;

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::runtime::Handle;

use crate::Result;
use crate::objects::{Objects, error};

/// Bytes of a part.
const PART_BYTES: usize = 8 << 20;

/// A writer into an object; nothing is there before [`Upload::finish`]. An object shorter than a part is put whole.
#[derive(Debug)]
pub(crate) struct Upload {
    objects: Objects,
    path: String,
    runtime: Handle,
    buffer: Vec<u8>,
    parts: Option<Box<dyn MultipartUpload>>,
}

impl Upload {
    pub(crate) fn new(objects: Objects, path: String, runtime: Handle) -> Self {
        Self {
            objects,
            path,
            runtime,
            buffer: Vec::new(),
            parts: None,
        }
    }

    fn put_part(&mut self) -> object_store::Result<()> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            none => {
                let path = Path::from(self.path.as_str());
                let begun = self
                    .runtime
                    .block_on(self.objects.store.put_multipart(&path))?;
                none.insert(begun)
            }
        };
        let payload = PutPayload::from(std::mem::take(&mut self.buffer));
        self.runtime.block_on(parts.put_part(payload))
    }

    /// Ends the object; it is on stable storage then.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.parts.is_none() {
            let bytes = std::mem::take(&mut self.buffer).into();
            return self.runtime.block_on(self.objects.put(&self.path, bytes));
        }
        let ended = (|| {
            if !self.buffer.is_empty() {
                self.put_part()?;
            }
            if let Some(mut parts) = self.parts.take() {
                self.runtime.block_on(parts.complete())?;
            }
            Ok(())
        })();
        ended.map_err(|source| error("writing", &self.path, source))
    }
}

impl io::Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PART_BYTES {
            self.put_part().map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut parts) = self.parts.take() {
            // What was not ended is given up; a store that cannot be told cleans up by its own rules.
            let _ = self.runtime.block_on(parts.abort());
        }
    }
}

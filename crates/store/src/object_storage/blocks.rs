//! Blocks of objects in a bounded local folder: `<folder>/<hash of the object>/<number of the block>`.
//!
//! Blocks are not synced: each carries a checksum, and one that a crash has torn is fetched again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::Xxh3;

use crate::{Error, Result};

/// A block's file begins with this, three integers ([`Header`]) and the checksum.
const MAGIC: [u8; 8] = *b"LMBLOCK1";
const HEADER_BYTES: usize = 40;

/// An object, by the hash of its path and of the store it is in.
pub(super) type ObjectKey = u128;
/// A block of an object.
pub(super) type BlockKey = (ObjectKey, u64);

/// What a reader wants to know of an object beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ObjectInfo {
    pub(super) size: u64,
    pub(super) modified_ms: i64,
}

/// The folder. Everything that touches files blocks.
#[derive(Debug)]
pub(super) struct Blocks {
    folder: PathBuf,
    max_bytes: u64,
    block_bytes: u64,
    index: Mutex<Index>,
    /// Makes the names of files that are being written unique.
    written: AtomicU64,
}

impl Blocks {
    /// Takes over what is in the folder, oldest first; removes what is not whole or of another block size.
    pub(super) fn open(folder: &Path, max_bytes: u64, block_bytes: u64) -> Result<Self> {
        let failed = |source| Error::Io {
            operation: "opening the object cache",
            path: folder.display().to_string(),
            source,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let blocks = Self {
            folder: folder.to_owned(),
            max_bytes,
            block_bytes,
            index: Mutex::default(),
            written: AtomicU64::new(0),
        };
        let mut found = blocks.scan().map_err(failed)?;
        found.sort_by_key(|block| block.at);
        let evicted = {
            let mut index = blocks.index.lock();
            for block in found {
                index.insert(block.key, block.info, block.bytes);
            }
            index.make_room(0, max_bytes).0
        };
        blocks.remove_files(&evicted);
        Ok(blocks)
    }

    /// What is known of an object of which at least one block is here.
    pub(super) fn info(&self, object: ObjectKey) -> Option<ObjectInfo> {
        let index = self.index.lock();
        index.objects.get(&object).map(|object| object.info)
    }

    pub(super) fn contains(&self, (object, number): BlockKey) -> bool {
        let index = self.index.lock();
        let object = index.objects.get(&object);
        object.is_some_and(|object| object.blocks.contains_key(&number))
    }

    /// Whether so many bytes are less than all that may be here.
    pub(super) const fn has_room_for(&self, bytes: u64) -> bool {
        bytes < self.max_bytes
    }

    /// A block's bytes. One that is not what was written is forgotten.
    pub(super) fn read(&self, key: BlockKey) -> Option<Bytes> {
        let info = self.index.lock().touch(key)?;
        match self.read_file(key, info) {
            Ok(data) => Some(data),
            Err(error) => {
                // An eviction between the look and the read is no failure.
                if self.contains(key) {
                    count_failure("read", &error);
                }
                self.index.lock().remove(key);
                self.remove_files(&[key]);
                None
            }
        }
    }

    /// Keeps a block if that is possible: the cache's failures are nobody else's.
    pub(super) fn keep(&self, key: BlockKey, info: ObjectInfo, data: &[u8]) {
        let bytes = (HEADER_BYTES + data.len()) as u64;
        let (evicted, room) = self.index.lock().make_room(bytes, self.max_bytes);
        self.remove_files(&evicted);
        if !room {
            return;
        }
        let written = self.write_file(key, info, data);
        let mut index = self.index.lock();
        index.reserved -= bytes;
        match written {
            Ok(()) => index.insert(key, info, bytes),
            Err(error) => count_failure("write", &error),
        }
    }

    /// Drops an object's blocks.
    pub(super) fn forget(&self, object: ObjectKey) {
        if self.index.lock().remove_object(object) {
            match fs::remove_dir_all(self.object_folder(object)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    count_failure("remove", &error);
                }
                _ => {}
            }
        }
    }

    fn object_folder(&self, object: ObjectKey) -> PathBuf {
        self.folder.join(format!("{object:032x}"))
    }

    fn path(&self, (object, number): BlockKey) -> PathBuf {
        self.object_folder(object).join(number.to_string())
    }

    fn read_file(&self, key: BlockKey, info: ObjectInfo) -> io::Result<Bytes> {
        let bytes = Bytes::from(fs::read(self.path(key))?);
        let header = Header::of(&bytes).ok_or_else(|| damaged("no header"))?;
        let data = bytes.slice(HEADER_BYTES..);
        let expected = block_length(key.1, self.block_bytes, header.info.size);
        if header.info.size != info.size || data.len() as u64 != expected {
            return Err(damaged("not the length it should have"));
        }
        if header.checksum != header.checksum_with(key, &data) {
            return Err(damaged("the checksum is wrong"));
        }
        Ok(data)
    }

    fn write_file(&self, key: BlockKey, info: ObjectInfo, data: &[u8]) -> io::Result<()> {
        let mut header = Header {
            block_bytes: self.block_bytes,
            info,
            checksum: 0,
        };
        header.checksum = header.checksum_with(key, data);
        let folder = self.object_folder(key.0);
        let unique = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!("{}.{unique}.tmp", key.1));
        let write = || {
            fs::create_dir_all(&folder)?;
            let mut file = fs::File::create(&temporary)?;
            file.write_all(&header.encode())?;
            file.write_all(data)?;
            fs::rename(&temporary, self.path(key))
        };
        write().or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                // Removing the object's last block took its folder away at this moment.
                return write();
            }
            let _ = fs::remove_file(&temporary);
            Err(error)
        })
    }

    fn remove_files(&self, keys: &[BlockKey]) {
        for key in keys {
            match fs::remove_file(self.path(*key)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    count_failure("remove", &error);
                }
                _ => {}
            }
            // Goes only when it is empty.
            let _ = fs::remove_dir(self.object_folder(key.0));
        }
    }

    fn scan(&self) -> io::Result<Vec<FoundBlock>> {
        let mut found = Vec::new();
        for folder in fs::read_dir(&self.folder)? {
            let folder = folder?;
            let name = folder.file_name();
            let name = name.to_str().filter(|name| name.len() == 32);
            let object = name.and_then(|name| u128::from_str_radix(name, 16).ok());
            // What is not named like ours is not ours to remove.
            let Some(object) = object else { continue };
            if !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                let name = file.file_name();
                let number = name.to_str().and_then(|name| name.parse().ok());
                let block = number.and_then(|number| self.found((object, number), &file.path()));
                match block {
                    Some(block) => found.push(block),
                    None => fs::remove_file(file.path())?,
                }
            }
            let _ = fs::remove_dir(folder.path());
        }
        Ok(found)
    }

    /// The block of a file that looks whole; its checksum is looked at when it is read.
    fn found(&self, key: BlockKey, path: &Path) -> Option<FoundBlock> {
        let mut file = fs::File::open(path).ok()?;
        let metadata = file.metadata().ok()?;
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact(&mut bytes).ok()?;
        let header = Header::of(&bytes)?;
        let length = block_length(key.1, self.block_bytes, header.info.size);
        let whole = header.block_bytes == self.block_bytes
            && length > 0
            && metadata.len() == HEADER_BYTES as u64 + length;
        whole.then(|| FoundBlock {
            key,
            info: header.info,
            bytes: metadata.len(),
            at: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        })
    }
}

/// How long a block is: all have the same length but an object's last.
pub(super) fn block_length(number: u64, block_bytes: u64, size: u64) -> u64 {
    let start = number.saturating_mul(block_bytes);
    size.saturating_sub(start).min(block_bytes)
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(super) fn count_failure(operation: &'static str, error: &dyn std::fmt::Display) {
    metrics::counter!("logmill_object_cache_failures_total", "operation" => operation).increment(1);
    // Not louder: with a full disk there is one for every block.
    tracing::debug!(operation, %error, "the object cache failed; the object store answers instead");
}

/// A block that was there when the folder was opened.
struct FoundBlock {
    key: BlockKey,
    info: ObjectInfo,
    bytes: u64,
    at: SystemTime,
}

/// What a block's file says of itself.
struct Header {
    block_bytes: u64,
    info: ObjectInfo,
    checksum: u64,
}

impl Header {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let (magic, numbers) = header.split_first_chunk::<8>()?;
        let number = |at: usize| Some(u64::from_le_bytes(*numbers.get(at * 8..)?.first_chunk()?));
        let header = Self {
            block_bytes: number(0)?,
            info: ObjectInfo {
                size: number(1)?,
                modified_ms: number(2)?.cast_signed(),
            },
            checksum: number(3)?,
        };
        (*magic == MAGIC).then_some(header)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(self.block_bytes.to_le_bytes());
        bytes.extend(self.info.size.to_le_bytes());
        bytes.extend(self.info.modified_ms.to_le_bytes());
        bytes.extend(self.checksum.to_le_bytes());
        bytes
    }

    /// Covers the place too: a block under another's name is as bad as a torn one.
    fn checksum_with(&self, key: BlockKey, data: &[u8]) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(&key.0.to_le_bytes());
        hash.update(&key.1.to_le_bytes());
        hash.update(&self.block_bytes.to_le_bytes());
        hash.update(&self.info.size.to_le_bytes());
        hash.update(&self.info.modified_ms.to_le_bytes());
        hash.update(data);
        hash.digest()
    }
}

/// Which blocks are here, and when each was last of use.
#[derive(Debug, Default)]
struct Index {
    objects: FxHashMap<ObjectKey, Object>,
    /// Blocks by their last use.
    order: BTreeMap<u64, BlockKey>,
    uses: u64,
    /// Bytes of all files.
    bytes: u64,
    /// Bytes of files that are being written.
    reserved: u64,
}

#[derive(Debug)]
struct Object {
    info: ObjectInfo,
    blocks: BTreeMap<u64, Block>,
}

#[derive(Debug)]
struct Block {
    last_use: u64,
    bytes: u64,
}

impl Index {
    /// Notes a use of a block.
    fn touch(&mut self, key: BlockKey) -> Option<ObjectInfo> {
        let object = self.objects.get_mut(&key.0)?;
        let block = object.blocks.get_mut(&key.1)?;
        self.order.remove(&block.last_use);
        self.uses += 1;
        block.last_use = self.uses;
        self.order.insert(self.uses, key);
        Some(object.info)
    }

    fn insert(&mut self, key: BlockKey, info: ObjectInfo, bytes: u64) {
        self.remove(key);
        self.uses += 1;
        let last_use = self.uses;
        let object = self.objects.entry(key.0).or_insert_with(|| Object {
            info,
            blocks: BTreeMap::new(),
        });
        object.info = info;
        object.blocks.insert(key.1, Block { last_use, bytes });
        self.order.insert(last_use, key);
        self.bytes += bytes;
        self.report();
    }

    fn remove(&mut self, key: BlockKey) {
        let Some(object) = self.objects.get_mut(&key.0) else {
            return;
        };
        if let Some(block) = object.blocks.remove(&key.1) {
            self.order.remove(&block.last_use);
            self.bytes -= block.bytes;
        }
        if object.blocks.is_empty() {
            self.objects.remove(&key.0);
        }
        self.report();
    }

    fn remove_object(&mut self, object: ObjectKey) -> bool {
        let Some(object) = self.objects.remove(&object) else {
            return false;
        };
        for block in object.blocks.values() {
            self.order.remove(&block.last_use);
            self.bytes -= block.bytes;
        }
        self.report();
        true
    }

    /// Takes out the least recently used blocks until so many bytes fit in, and reserves them. Not when what
    /// other threads are writing leaves no room for them.
    fn make_room(&mut self, bytes: u64, max_bytes: u64) -> (Vec<BlockKey>, bool) {
        if self.reserved + bytes > max_bytes {
            return (Vec::new(), false);
        }
        let mut out = Vec::new();
        while self.bytes + self.reserved + bytes > max_bytes
            && let Some((_, key)) = self.order.first_key_value()
        {
            let key = *key;
            self.remove(key);
            out.push(key);
        }
        self.reserved += bytes;
        (out, true)
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "a gauge is a float; below 2^53 it is exact"
    )]
    fn report(&self) {
        metrics::gauge!("logmill_object_cache_bytes").set(self.bytes as f64);
    }
}

//! Reading partitions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{RedisError, Value};

use super::connection::{Link, Live};
use super::values::{bytes, entry, items};
use super::{Inner, keys};
use crate::{Result, Sequence};

/// Length of an entry to reckon with before one was seen.
const FIRST_GUESS_BYTES: usize = 256 << 10;

/// How much to read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Entries of each partition.
    pub entries: usize,
    /// Payload bytes of all partitions, about: Redis counts entries, and how long they are is reckoned from those before.
    pub bytes: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            entries: 1_000,
            bytes: 16 << 20,
        }
    }
}

/// An entry as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadEntry {
    /// Its partition.
    pub partition: u32,
    /// Its position.
    pub sequence: Sequence,
    /// What was appended. Empty if the entry is not one of ours, which no decoder takes either.
    pub payload: Bytes,
    /// [`Entry::trace`](crate::Entry::trace), where it had one.
    pub trace: Option<String>,
}

/// Reads partitions over a connection of its own, so that waiting holds nobody else up.
pub struct RedisReader {
    inner: Arc<Inner>,
    link: Link,
    /// Length of the entries read last, averaged.
    entry_bytes: usize,
    /// A read was given up before its answer: its connection may still be waiting.
    interrupted: bool,
}

impl RedisReader {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        let link = Link::for_waiting(inner.client.clone(), &inner.options);
        Self {
            inner,
            link,
            entry_bytes: FIRST_GUESS_BYTES,
            interrupted: false,
        }
    }

    /// Reads one partition; see [`RedisReader::read_many`].
    pub async fn read(
        &mut self,
        partition: u32,
        from: Sequence,
        limits: ReadLimits,
        wait: Duration,
    ) -> Result<Vec<ReadEntry>> {
        self.read_many(&[(partition, from)], limits, wait).await
    }

    /// Reads partitions, each from a position on (the first one to be returned, such as a watermark). Without any entry it
    /// waits for the first one, at most `wait`, then returns nothing. The entries of a partition are in order.
    ///
    /// Dropping the future loses nothing, for positions are the caller's.
    pub async fn read_many(
        &mut self,
        from: &[(u32, Sequence)],
        limits: ReadLimits,
        wait: Duration,
    ) -> Result<Vec<ReadEntry>> {
        for (partition, _) in from {
            self.inner.check_partition(*partition)?;
        }
        if from.is_empty() {
            tokio::time::sleep(wait).await;
            return Ok(Vec::new());
        }
        let streams: Vec<_> = from
            .iter()
            .map(|(p, _)| self.inner.keys.stream(*p))
            .collect();
        let by_bytes = limits.bytes / self.entry_bytes.max(1) / from.len();
        let mut command = redis::cmd("XREAD");
        command
            .arg("COUNT")
            .arg(by_bytes.clamp(1, limits.entries.max(1)));
        if !wait.is_zero() {
            // BLOCK 0 would be for ever.
            command
                .arg("BLOCK")
                .arg(wait.as_millis().max(1).to_string());
        }
        command.arg("STREAMS").arg(&streams);
        for (_, from) in from {
            command.arg(keys::id_before(*from));
        }
        let reply = self.send(&command, wait).await?;
        let read = self.entries(from, &streams, reply)?;
        if !read.is_empty() {
            let bytes: usize = read.iter().map(|entry| entry.payload.len()).sum();
            self.entry_bytes = (self.entry_bytes + bytes / read.len()).div_ceil(2);
        }
        Ok(read)
    }

    async fn send(&mut self, command: &redis::Cmd, wait: Duration) -> Result<Value> {
        if std::mem::replace(&mut self.interrupted, true) {
            self.link.discard_any();
        }
        let longest = wait + Duration::from_millis(self.inner.options.response_timeout_ms);
        let call = |mut live: Live| async move {
            let answer = live.connection.send_packed_command(command);
            match tokio::time::timeout(longest, answer).await {
                Ok(answer) => answer?.extract_error(),
                Err(_elapsed) => Err(RedisError::from(std::io::Error::from(
                    std::io::ErrorKind::TimedOut,
                ))),
            }
        };
        let reply = self.link.call("reading", call).await;
        self.interrupted = false;
        reply
    }

    fn entries(
        &self,
        from: &[(u32, Sequence)],
        streams: &[String],
        reply: Value,
    ) -> Result<Vec<ReadEntry>> {
        let mut read = Vec::new();
        for stream in items("XREAD", reply)? {
            let mut parts = items("XREAD", stream)?.into_iter();
            let name = bytes("XREAD", parts.next().unwrap_or(Value::Nil))?;
            let position = streams.iter().position(|stream| stream.as_bytes() == name);
            let Some(((partition, _), key)) = position.map(|at| (from[at], &streams[at])) else {
                continue;
            };
            for found in items(key, parts.next().unwrap_or(Value::Nil))? {
                let (id, fields) = entry(key, found)?;
                let mut read_entry = ReadEntry {
                    partition,
                    sequence: keys::sequence(key, &id)?,
                    payload: Bytes::new(),
                    trace: None,
                };
                for (name, value) in fields {
                    match &name[..] {
                        b"p" => read_entry.payload = value.into(),
                        b"t" => read_entry.trace = String::from_utf8(value).ok(),
                        _ => {}
                    }
                }
                read.push(read_entry);
            }
        }
        Ok(read)
    }
}

impl std::fmt::Debug for RedisReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RedisReader")
            .finish_non_exhaustive()
    }
}

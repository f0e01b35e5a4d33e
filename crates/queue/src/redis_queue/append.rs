//! Appending: one script call, repeated until its outcome is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{RedisResult, Value};
use tokio::sync::Mutex;

use super::connection::{Live, failed, transient};
use super::scripts::Script;
use super::values::{bytes, items, text};
use super::{Inner, KnownRequest, keys};
use crate::{Appended, Entry, Error, FullReason, OnDurable, Request, Result};

/// How much longer than its deadline a try is remembered.
const ATTEMPT_MEMORY_MS: u64 = 1_000;

/// Asks Redis how many replicas have what a connection wrote; those who ask at once share one question.
///
/// `WAIT` holds up all that is behind it on its connection, so there must not be one for each append.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    written: AtomicU64,
    asked: Mutex<Asked>,
}

/// The last question.
#[derive(Debug, Default)]
struct Asked {
    connection: u64,
    /// Writes before this one are covered.
    covered: u64,
    confirmed: u64,
}

impl Replicas {
    /// How many replicas confirmed what was written over this connection until now.
    async fn confirmed(&self, live: Live, wanted: u32, timeout_ms: u64) -> RedisResult<u64> {
        let write = self.written.fetch_add(1, Ordering::SeqCst);
        let mut asked = self.asked.lock().await;
        if asked.connection == live.number && asked.covered > write {
            return Ok(asked.confirmed);
        }
        let covered = self.written.load(Ordering::SeqCst);
        let mut connection = live.connection;
        let mut wait = redis::cmd("WAIT");
        wait.arg(wanted).arg(timeout_ms);
        let confirmed = wait.query_async::<u64>(&mut connection).await?;
        *asked = Asked {
            connection: live.number,
            covered,
            confirmed,
        };
        Ok(confirmed)
    }
}

/// Why a try did not append.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Refused(#[from] Error),
}

impl Inner {
    /// Appends an entry; done when it is as durable as demanded and `on_durable` has run.
    pub(crate) async fn append(
        self: Arc<Self>,
        entry: Entry,
        on_durable: OnDurable,
    ) -> Result<Appended> {
        let bytes = entry.payload.len() as u64;
        self.check_partition(entry.partition)?;
        let limit = self.options.entry_max_bytes;
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        self.watch.admit(entry.partition, &self.options)?;
        let _permit = self.reserve(bytes).await?;
        let partition = entry.partition;
        let command = self.append_command(entry);
        let tried = self.options.retry.run(
            "redis",
            |failure| match failure {
                Failure::Redis(error) => transient(error),
                Failure::Refused(_) => None,
            },
            || self.try_append(partition, &command),
        );
        let appended = tried.await.map_err(|failure| match failure {
            Failure::Redis(source) => failed("appending", source),
            Failure::Refused(error) => error,
        })?;
        match appended {
            Appended::New(sequence) => {
                self.watch.appended(partition, sequence, bytes);
                metrics::counter!("logmill_queue_appended_entries_total").increment(1);
                metrics::counter!("logmill_queue_appended_bytes_total").increment(bytes);
                on_durable(sequence);
            }
            Appended::Replayed(_) => {
                metrics::counter!("logmill_idempotent_replays_total").increment(1);
            }
            Appended::KeyReused => {}
        }
        Ok(appended)
    }

    /// Takes memory for a payload, or finds that all of it is taken for longer than an append lasts.
    async fn reserve(&self, bytes: u64) -> Result<tokio::sync::OwnedSemaphorePermit> {
        let limit = self.options.pending_max_bytes;
        let weight = u32::try_from(bytes.clamp(1, limit)).unwrap_or(u32::MAX);
        let permit = self.pending.clone().acquire_many_owned(weight);
        let longest = Duration::from_millis(self.options.append_max_ms());
        match tokio::time::timeout(longest, permit).await {
            Ok(permit) => permit.map_err(|_closed| Error::Closed),
            Err(_elapsed) => Err(Error::Full(FullReason::Pending { limit })),
        }
    }

    /// The script call. Every try sends the same one.
    fn append_command(&self, entry: Entry) -> redis::Cmd {
        let Entry {
            partition,
            payload,
            request,
            trace,
        } = entry;
        let token = ulid::Ulid::generate().0;
        let now_ms = self.watch.redis_now_ms();
        let deadline_ms = now_ms + self.options.append_max_ms();
        let (request_key, fingerprint, answer, forget_at_ms) = match request {
            Some(request) => {
                let Request {
                    scope,
                    key,
                    fingerprint,
                    answer,
                } = request;
                let key = self.keys.request(partition, &scope, &key);
                let forget_at_ms = now_ms + self.options.request_ttl_ms;
                (
                    key,
                    fingerprint,
                    answer,
                    forget_at_ms.max(deadline_ms + ATTEMPT_MEMORY_MS),
                )
            }
            None => {
                let key = self.keys.attempt(partition, token);
                (key, [0; 16], Vec::new(), deadline_ms + ATTEMPT_MEMORY_MS)
            }
        };
        let stream = self.keys.stream(partition);
        let mut command = self.link.script(Script::Append, &[&stream, &request_key]);
        command
            .arg(payload)
            .arg(&token.to_be_bytes()[..])
            .arg(&fingerprint[..])
            .arg(answer)
            .arg(forget_at_ms)
            .arg(deadline_ms)
            .arg(self.options.partition_max_entries)
            .arg(trace.unwrap_or_default());
        command
    }

    async fn try_append(&self, partition: u32, command: &redis::Cmd) -> Result<Appended, Failure> {
        let wanted = self.options.wait_replicas;
        let call = |mut live: Live| async move {
            let reply = live
                .connection
                .send_packed_command(command)
                .await?
                .extract_error()?;
            let confirmed = if wanted > 0 {
                let timeout_ms = self.options.wait_timeout_ms;
                self.replicas.confirmed(live, wanted, timeout_ms).await?
            } else {
                0
            };
            Ok((reply, confirmed))
        };
        let (reply, confirmed) = self.link.once(call).await?;
        let appended = self.appended(partition, reply)?;
        let wanted = u64::from(wanted);
        if confirmed < wanted && matches!(appended, Appended::New(_) | Appended::Replayed(_)) {
            return Err(Error::TooFewReplicas { confirmed, wanted }.into());
        }
        Ok(appended)
    }

    /// Reads the script's reply.
    fn appended(&self, partition: u32, reply: Value) -> Result<Appended> {
        let stream = self.keys.stream(partition);
        let mut reply = items(&stream, reply)?.into_iter();
        let mut next = || reply.next().unwrap_or(Value::Nil);
        match text(&stream, next())?.as_str() {
            "new" => {
                let id = bytes(&stream, next())?;
                Ok(Appended::New(keys::sequence(&stream, &id)?))
            }
            "replayed" => Ok(Appended::Replayed(bytes(&stream, next())?)),
            "reused" => Ok(Appended::KeyReused),
            "late" => Err(Error::Late),
            "full" => Err(Error::Full(FullReason::Entries {
                partition,
                entries: text(&stream, next())?.parse().unwrap_or_default(),
                limit: self.options.partition_max_entries,
            })),
            other => Err(Error::Foreign {
                key: stream,
                detail: format!("the script answered {other:?}"),
            }),
        }
    }
}

/// Takes the value of a request apart: token, fingerprint, id, a space, answer.
pub(crate) fn known_request(key: &str, value: Value) -> Result<KnownRequest> {
    let value = bytes(key, value)?;
    let parts = value.split_at_checked(32).and_then(|(head, tail)| {
        let space = tail.iter().position(|byte| *byte == b' ')?;
        Some((head[16..].try_into().ok()?, tail[space + 1..].to_vec()))
    });
    let (fingerprint, answer) = parts.ok_or_else(|| Error::Foreign {
        key: key.to_owned(),
        detail: "not a request that Logmill remembered".to_owned(),
    })?;
    Ok(KnownRequest {
        fingerprint,
        answer,
    })
}

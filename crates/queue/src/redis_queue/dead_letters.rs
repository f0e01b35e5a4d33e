//! Entries that fail for their own sake, set aside.

use std::collections::HashMap;

use bytes::Bytes;
use redis::Value;
use serde::Serialize;

use super::scripts::Script;
use super::values::{bytes, entry, items, text};
use super::{RedisQueue, keys};
use crate::{Error, FullReason, Result, Sequence};

/// How long it is remembered that a dead letter was retried.
const RETRIED_MEMORY_MS: u64 = 86_400_000;

/// A dead letter without its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetterSummary {
    /// Names it, and tells the order in which the letters came.
    pub id: String,
    /// Where the entry was.
    pub partition: u32,
    /// Its position there.
    pub sequence: Sequence,
    /// Whose records they are; empty if that could not be made out.
    pub tenant: String,
    /// Why it could not be stored.
    pub reason: String,
    /// When it was set aside, milliseconds since 1970.
    pub at_ms: u64,
    /// Length of its payload.
    pub bytes: u64,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// All but the payload.
    pub summary: DeadLetterSummary,
    /// As it was appended.
    pub payload: Bytes,
}

impl RedisQueue {
    /// Moves an entry to the dead letters, in one step. False if it was moved already, by an earlier try or another worker.
    ///
    /// With `dead_letters_max` of them it is [`Error::Full`]: the partition stands still until somebody looks, rather than
    /// losing what was acknowledged.
    pub async fn dead_letter(
        &self,
        partition: u32,
        sequence: Sequence,
        payload: &[u8],
        tenant: &str,
        reason: &str,
    ) -> Result<bool> {
        self.inner.check_partition(partition)?;
        let (stream, dead) = (self.inner.keys.stream(partition), self.inner.keys.dead());
        let limit = self.inner.options.dead_letters_max;
        let mut command = self.inner.link.script(Script::Bury, &[&stream, &dead]);
        command
            .arg(keys::id(sequence))
            .arg(payload)
            .arg(partition)
            .arg(sequence.0)
            .arg(tenant)
            .arg(reason)
            .arg(limit);
        let reply = self
            .inner
            .link
            .command("setting an entry aside", &command)
            .await?;
        let outcome = items(&dead, reply)?.into_iter().next();
        match text(&dead, outcome.unwrap_or(Value::Nil))?.as_str() {
            "moved" => {
                tracing::error!(
                    partition,
                    sequence = sequence.0,
                    tenant,
                    reason,
                    "an entry was moved to the dead letters"
                );
                metrics::counter!("logmill_dead_letters_total").increment(1);
                Ok(true)
            }
            "full" => Err(Error::Full(FullReason::DeadLetters { limit })),
            _ => Ok(false),
        }
    }

    /// The dead letters behind an id (`None`: from the oldest on), in the order in which they came.
    pub async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterSummary>> {
        let Some(after) = dead_id(after.unwrap_or("0-0")) else {
            return Ok(Vec::new());
        };
        let dead = self.inner.keys.dead();
        let mut command = self.inner.link.script(Script::ListDead, &[&dead]);
        command.arg(after).arg(limit);
        let reply = self
            .inner
            .link
            .command("listing dead letters", &command)
            .await?;
        let letters = items(&dead, reply)?.into_iter().map(|value| {
            let (mut summary, length) = letter(&dead, value)?;
            summary.bytes = number(&dead, &length)?;
            Ok(summary)
        });
        letters.collect()
    }

    /// A dead letter; `None` if there is no such one.
    pub async fn dead_letter_get(&self, id: &str) -> Result<Option<DeadLetter>> {
        let Some(id) = dead_id(id) else {
            return Ok(None);
        };
        let dead = self.inner.keys.dead();
        let mut command = redis::cmd("XRANGE");
        command.arg(&dead).arg(id).arg(id);
        let reply = self
            .inner
            .link
            .command("reading a dead letter", &command)
            .await?;
        let Some(found) = items(&dead, reply)?.into_iter().next() else {
            return Ok(None);
        };
        let (mut summary, payload) = letter(&dead, found)?;
        summary.bytes = payload.len() as u64;
        let payload = payload.into();
        Ok(Some(DeadLetter { summary, payload }))
    }

    /// Appends a dead letter to its partition again and removes it from the dead letters, in one step; its new position. Retried twice
    /// it is appended once, and the second time gives the same position. `None` if there is no such one.
    pub async fn dead_letter_retry(&self, id: &str) -> Result<Option<Sequence>> {
        let Some(id) = dead_id(id) else {
            return Ok(None);
        };
        // Where it belongs does not change, so it may be read outside of the script; once it is gone any partition will do,
        // for only what is remembered counts.
        let letter = self.dead_letter_get(id).await?;
        let partition = letter.map_or(0, |letter| letter.summary.partition);
        self.inner.check_partition(partition)?;
        let keys = &self.inner.keys;
        let (stream, dead, retried) = (keys.stream(partition), keys.dead(), keys.retried(id));
        let mut command = self
            .inner
            .link
            .script(Script::Revive, &[&stream, &dead, &retried]);
        command.arg(id).arg(RETRIED_MEMORY_MS);
        match self
            .inner
            .link
            .command("retrying a dead letter", &command)
            .await?
        {
            Value::Nil => Ok(None),
            new => Ok(Some(keys::sequence(&stream, &bytes(&stream, new)?)?)),
        }
    }

    /// Removes a dead letter for good. False if there is no such one.
    pub async fn dead_letter_drop(&self, id: &str) -> Result<bool> {
        let Some(id) = dead_id(id) else {
            return Ok(false);
        };
        let mut command = redis::cmd("XDEL");
        command.arg(self.inner.keys.dead()).arg(id);
        let reply = self
            .inner
            .link
            .command("dropping a dead letter", &command)
            .await?;
        Ok(reply == Value::Int(1))
    }
}

/// An id, if it is one: what else a client names does not exist.
fn dead_id(id: &str) -> Option<&str> {
    let (ms, number) = id.split_once('-')?;
    let is_number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok();
    (is_number(ms) && is_number(number)).then_some(id)
}

/// A letter and its field `p`; its length is not known yet.
fn letter(dead: &str, value: Value) -> Result<(DeadLetterSummary, Vec<u8>)> {
    let (id, fields) = entry(dead, value)?;
    let mut fields: HashMap<_, _> = fields.into_iter().collect();
    let mut field = |name: &str| {
        fields
            .remove(name.as_bytes())
            .ok_or_else(|| Error::Foreign {
                key: dead.to_owned(),
                detail: format!("an entry without {name}"),
            })
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let summary = DeadLetterSummary {
        id: text(id),
        partition: number(dead, &field("partition")?)?,
        sequence: Sequence(number(dead, &field("sequence")?)?),
        tenant: text(field("tenant")?),
        reason: text(field("reason")?),
        at_ms: number(dead, &field("at")?)?,
        bytes: 0,
    };
    Ok((summary, field("p")?))
}

fn number<N: std::str::FromStr>(dead: &str, bytes: &[u8]) -> Result<N> {
    let parsed = str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Error::Foreign {
        key: dead.to_owned(),
        detail: "an entry whose numbers are none".to_owned(),
    })
}

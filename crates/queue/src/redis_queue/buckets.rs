//! What processes count together: token buckets, and places of which there are few.
//!
//! Both are only as exact as a quota has to be: they live in the queue's Redis beside the entries, and whoever cannot reach
//! it in time decides alone.

use std::time::Duration;

use redis::Value;

use super::RedisQueue;
use super::connection::{Live, failed};
use super::scripts::Script;
use super::values::{items, text};
use crate::{Error, Result};

/// How long one may be held up by what is no more than a quota.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a token bucket may hold and owe, in seconds of its rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BucketBounds {
    /// Of a full bucket.
    pub burst_seconds: f64,
    /// Of the deepest debt.
    pub debt_seconds: f64,
}

impl RedisQueue {
    /// Takes from buckets of a scope (a tenant) in one step: name and seconds of its rate, zero to look only. Returns the seconds
    /// that are left in each; below zero it is a debt.
    ///
    /// Asked once, and for 0.3 s at most. On an error it is unknown whether anything was taken.
    pub async fn charge_buckets(
        &self,
        scope: &str,
        charges: &[(&str, f64)],
        bounds: BucketBounds,
    ) -> Result<Vec<f64>> {
        let all = &self.inner.keys;
        let keys: Vec<String> = charges
            .iter()
            .map(|(name, _)| all.bucket(scope, name))
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut command = self.inner.link.script(Script::Charge, &keys);
        command
            .arg(bounds.burst_seconds * 1e3)
            .arg(bounds.debt_seconds * 1e3);
        for (_, seconds) in charges {
            command.arg(seconds * 1e3);
        }
        let reply = self.ask("charging a quota", &command).await?;
        let foreign = || Error::Foreign {
            key: scope.to_owned(),
            detail: "a bucket that is none".to_owned(),
        };
        let left = items(scope, reply)?.into_iter().map(|value| {
            let ms: f64 = text(scope, value)?
                .parse()
                .map_err(|_no_number| foreign())?;
            Ok(ms / 1e3)
        });
        let left: Vec<f64> = left.collect::<Result<_>>()?;
        (left.len() == charges.len())
            .then_some(left)
            .ok_or_else(foreign)
    }

    /// Takes one of `limit` places of a scope (a tenant), under a name of its own; false where all are taken. Places of processes
    /// that died are free after `longest`.
    pub async fn take_place(
        &self,
        scope: &str,
        name: &str,
        limit: u64,
        longest: Duration,
    ) -> Result<bool> {
        let key = self.inner.keys.places(scope);
        let mut command = self.inner.link.script(Script::TakePlace, &[&key]);
        let longest_ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        command.arg(name).arg(limit).arg(longest_ms);
        let reply = self.ask("taking a place", &command).await?;
        Ok(reply == Value::Int(1))
    }

    /// Gives a place back.
    pub async fn leave_place(&self, scope: &str, name: &str) -> Result<()> {
        let mut command = redis::cmd("ZREM");
        command.arg(self.inner.keys.places(scope)).arg(name);
        let link = &self.inner.link;
        link.command("leaving a place", &command).await?;
        Ok(())
    }

    /// Asks once, for a short time.
    async fn ask(&self, operation: &'static str, command: &redis::Cmd) -> Result<Value> {
        let call = |mut live: Live| async move {
            live.connection
                .send_packed_command(command)
                .await?
                .extract_error()
        };
        let asked = tokio::time::timeout(PATIENCE, self.inner.link.once(call)).await;
        let late = || redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let answer = asked.unwrap_or_else(|_elapsed| Err(late()));
        answer.map_err(|source| failed(operation, source))
    }
}

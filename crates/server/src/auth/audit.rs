//! The audit log: who did what, kept in the catalog.

use std::sync::Arc;

use logmill_catalog::{Access, AuditEntry};
use logmill_model::{Clock, TenantId};
use parking_lot::Mutex;
use serde_json::Value;

use super::{AuthOptions, Caller};
use crate::error::ApiError;
use crate::request_id;

/// Entries that wait to be written; more are counted and forgotten.
const WAITING_MAX: usize = 1_000;

/// Writes the audit log.
#[derive(Debug)]
pub(crate) struct Audit {
    access: Arc<dyn Access>,
    clock: Arc<dyn Clock>,
    waiting: Mutex<Vec<AuditEntry>>,
}

/// An action that is under way. Where its request is broken off nobody knows what became of it, and the log says so.
struct Begun<'a> {
    audit: &'a Audit,
    entry: Option<AuditEntry>,
}

impl Audit {
    pub(crate) fn new(access: Arc<dyn Access>, clock: Arc<dyn Clock>) -> Self {
        Self {
            access,
            clock,
            waiting: Mutex::default(),
        }
    }

    /// Does something, and puts down that it was done, or with which error it failed, before it is answered.
    pub(crate) async fn act<T>(
        &self,
        caller: &Caller,
        action: &str,
        tenant: Option<&TenantId>,
        target: &str,
        detail: Value,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let entry = self.entry(caller, action, tenant, target, detail, "broken_off");
        self.put_down(entry, work, |_, _| {}).await
    }

    /// The same for something that has its name only once it is made.
    pub(crate) async fn act_on_new<T>(
        &self,
        caller: &Caller,
        action: &str,
        tenant: Option<&TenantId>,
        detail: Value,
        work: impl Future<Output = Result<T, ApiError>>,
        name: impl FnOnce(&T) -> String,
    ) -> Result<T, ApiError> {
        let entry = self.entry(caller, action, tenant, "", detail, "broken_off");
        self.put_down(entry, work, |entry, made| entry.target = name(made))
            .await
    }

    async fn put_down<T>(
        &self,
        entry: AuditEntry,
        work: impl Future<Output = Result<T, ApiError>>,
        complete: impl FnOnce(&mut AuditEntry, &T),
    ) -> Result<T, ApiError> {
        let mut begun = Begun {
            audit: self,
            entry: Some(entry),
        };
        let outcome = work.await;
        if let Some(mut entry) = begun.entry.take() {
            match &outcome {
                Ok(made) => {
                    "ok".clone_into(&mut entry.outcome);
                    complete(&mut entry, made);
                }
                Err(error) => error.code.clone_into(&mut entry.outcome),
            }
            self.write(vec![entry]).await;
        }
        outcome
    }

    /// An entry about the current request.
    pub(crate) fn entry(
        &self,
        caller: &Caller,
        action: &str,
        tenant: Option<&TenantId>,
        target: &str,
        detail: Value,
        outcome: &str,
    ) -> AuditEntry {
        let request_id = request_id::current();
        AuditEntry {
            at_ns: self.clock.now_ns(),
            actor: caller.actor().to_owned(),
            tenant: tenant.cloned(),
            action: action.to_owned(),
            target: target.to_owned(),
            detail,
            remote_address: caller.address.map(|address| address.to_string()),
            request_id: (!request_id.is_empty()).then_some(request_id),
            outcome: outcome.to_owned(),
        }
    }

    /// Puts an entry down within a second or so.
    pub(crate) fn later(&self, entry: AuditEntry) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < WAITING_MAX {
            waiting.push(entry);
        } else {
            metrics::counter!("logmill_audit_lost_total").increment(1);
        }
    }

    pub(crate) async fn write_waiting(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        if !waiting.is_empty() {
            self.write(waiting).await;
        }
    }

    /// What cannot be written is in the process's own log, and tried again with the next.
    async fn write(&self, entries: Vec<AuditEntry>) {
        if let Err(error) = self.access.append_audit(&entries).await {
            tracing::error!(%error, ?entries, "the audit log cannot be written");
            entries.into_iter().for_each(|entry| self.later(entry));
        }
    }

    pub(crate) async fn trim(&self, options: &AuthOptions) {
        let age_ms = i64::try_from(options.audit_max_age_ms).unwrap_or(i64::MAX);
        let age_ns = age_ms.saturating_mul(1_000_000);
        let before_ns = self.clock.now_ns().saturating_sub(age_ns);
        let trimmed = self
            .access
            .trim_audit(before_ns, options.audit_max_rows)
            .await;
        if let Err(error) = trimmed {
            tracing::warn!(%error, "the audit log cannot be trimmed");
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.audit.later(entry);
        }
    }
}

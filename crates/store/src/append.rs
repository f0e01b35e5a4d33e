//! What is appended.

use std::sync::atomic::Ordering;

use arrow_array::RecordBatch;
use logmill_catalog::IdempotencyRow;
use logmill_model::TenantId;
use logmill_queue::{Appended, LocalLog, Request};
use logmill_telemetry::TraceContext;
use tracing::Instrument;

use crate::fleet::Fleet;
use crate::idempotency::{Answer, IdempotencyPermit};
use crate::log::Log;
use crate::memtable::{MemoryBatch, Reservation, memory_size};
use crate::{
    ColumnAdmission, Error, IdempotencyKey, IdempotencyOutcome, LOCAL, MemtableBatch, Result,
    Store, payload,
};

/// A batch to append.
#[derive(Debug)]
pub struct AppendRequest {
    /// Whose records.
    pub tenant: TenantId,
    /// At least one record.
    pub batch: RecordBatch,
    /// When the request was received.
    pub received_at_ns: i64,
    /// The key's permit, and the answer to remember under it.
    pub idempotency: Option<(IdempotencyPermit, Answer)>,
}

/// A batch that has its place in the memtable and is encoded for the log, but is not stored yet.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) tenant: TenantId,
    pub(crate) batch: RecordBatch,
    pub(crate) payload: Vec<u8>,
    pub(crate) reservation: Reservation,
    pub(crate) idempotency: Option<(IdempotencyPermit, IdempotencyRow)>,
}

/// What became of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The batch is durable.
    Stored,
    /// Another process stored the request's batch; this was its answer.
    Replayed(Answer),
    /// Another process used the request's key for something else.
    KeyReused,
}

impl Store {
    /// The columns of a tenant, for the decoder.
    pub fn columns(&self, tenant: &TenantId) -> Result<ColumnAdmission> {
        let mut admissions = self.admissions.lock();
        if let Some(admission) = admissions.get(tenant) {
            return Ok(admission.clone());
        }
        let limit = self.options.tenants_max;
        if admissions.len() as u64 >= limit {
            return Err(Error::LimitReached {
                what: "tenants",
                limit,
            });
        }
        let admission = ColumnAdmission::new(self.options.columns_max);
        for (name, _) in self.snapshot(tenant).schema.columns() {
            admission.insert(name);
        }
        admissions.insert(tenant.clone(), admission.clone());
        Ok(admission)
    }

    /// What is known of an idempotency key; waits while another request with the key is under way.
    pub async fn begin_idempotent(
        &self,
        tenant: &TenantId,
        key: IdempotencyKey,
    ) -> Result<IdempotencyOutcome> {
        match (self.registry.begin(tenant, key).await?, &self.log) {
            (IdempotencyOutcome::New(permit), Log::Fleet(fleet)) => {
                fleet.known(tenant, permit).await
            }
            (outcome, _) => Ok(outcome),
        }
    }

    /// Takes a place in the memtable for a batch and encodes it for the log; takes the processor for some
    /// milliseconds a megabyte. Nothing is stored yet.
    pub fn prepare(&self, request: AppendRequest) -> Result<Prepared> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let bytes = memory_size(&request.batch);
        let limit = self.options.memtable_max_bytes;
        if bytes > limit {
            return Err(Error::BatchTooLarge { bytes, limit });
        }
        let debt = self.compaction_debt.load(Ordering::Relaxed);
        let limit = self.options.compaction.debt_max_segments;
        if debt > limit {
            self.compaction_wanted.notify_one();
            return Err(Error::CompactionBehind { debt, limit });
        }
        let reservation = self
            .budget
            .reserve(bytes)
            .inspect_err(|_full| self.press())?;
        let received_at_ns = request.received_at_ns;
        let idempotency = request.idempotency.map(|(permit, answer)| {
            let row = permit.row(answer, received_at_ns);
            (permit, row)
        });
        // A log brings keys back with its entries; a queue that all share remembers them itself.
        let row: Option<&IdempotencyRow> = match &self.log {
            Log::Local(_) => idempotency.as_ref().map(|(_, row)| row),
            Log::Fleet(_) => None,
        };
        let payload = payload::encode(&request.tenant, &request.batch, row)?;
        let AppendRequest { tenant, batch, .. } = request;
        Ok(Prepared {
            tenant,
            batch,
            payload,
            reservation,
            idempotency,
        })
    }

    /// Makes a prepared batch durable and visible (elsewhere a moment later, where many processes share the data). On error
    /// nothing was stored, or (only when the log itself failed) it is unknown whether it was.
    pub async fn commit(&self, prepared: Prepared) -> Result<Committed> {
        let bytes = prepared.payload.len();
        let span = tracing::debug_span!("append", otel.kind = "producer", bytes);
        let committing = async {
            match &self.log {
                Log::Local(log) => self.commit_here(log, prepared).await,
                Log::Fleet(fleet) => commit_to_all(fleet, prepared).await,
            }
        };
        let committed = committing.instrument(span.clone()).await;
        committed.inspect_err(|error| logmill_telemetry::failed(&span, error))
    }

    async fn commit_here(&self, log: &LocalLog, prepared: Prepared) -> Result<Committed> {
        let Prepared {
            tenant,
            batch,
            payload,
            reservation,
            idempotency,
        } = prepared;
        let (permit, row) = idempotency.unzip();
        let state = self.state.clone();
        let trace = TraceContext::current();
        let on_durable = Box::new(move |sequence: logmill_queue::Sequence| {
            if let (Some(permit), Some(row)) = (permit, &row) {
                permit.complete(row.answer.clone(), row.received_at_ns);
            }
            let batch = MemoryBatch {
                sequence: sequence.0,
                batch: MemtableBatch::new(batch),
                idempotency: row,
                trace,
                _reservation: reservation,
            };
            state.write().apply(LOCAL, &tenant, batch);
        });
        log.append(payload, on_durable).await?;
        self.flush_if_large(LOCAL);
        Ok(Committed::Stored)
    }

    /// [`Store::prepare`], then [`Store::commit`].
    pub async fn append(&self, request: AppendRequest) -> Result<Committed> {
        let prepared = self.prepare(request)?;
        self.commit(prepared).await
    }
}

/// Appends to the queue that all processes share; followers make the batch visible, this process's among them.
async fn commit_to_all(fleet: &Fleet, prepared: Prepared) -> Result<Committed> {
    let Prepared {
        tenant,
        payload,
        idempotency,
        ..
    } = prepared;
    let request = idempotency.as_ref().map(|(_, row)| Request {
        scope: tenant.to_string(),
        key: row.key.clone(),
        fingerprint: row.fingerprint,
        answer: row.answer.clone(),
    });
    let appended = fleet.append(&tenant, payload, request).await?;
    let replayed = match appended {
        Appended::KeyReused => return Ok(Committed::KeyReused),
        Appended::New(_) => None,
        Appended::Replayed(answer) => Some(answer),
    };
    if let Some((permit, row)) = idempotency {
        let answer = replayed.clone().unwrap_or(row.answer);
        permit.complete(answer, row.received_at_ns);
    }
    Ok(replayed.map_or(Committed::Stored, Committed::Replayed))
}

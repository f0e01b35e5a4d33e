//! What is appended.

use arrow_array::RecordBatch;
use logmill_catalog::IdempotencyRow;
use logmill_model::TenantId;

use crate::idempotency::{Answer, IdempotencyPermit};
use crate::memtable::Reservation;

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

/// An append that is durable and visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its position in the queue.
    pub sequence: u64,
}

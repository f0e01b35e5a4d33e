//! What is appended, and the memory of requests that were answered.

use arrow_array::RecordBatch;
use logmill_model::TenantId;

/// A request's key against double storing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The `Idempotency-Key` header.
    pub key: String,
    /// xxh3-128 of the body (and of what else decides the answer), big-endian.
    pub fingerprint: [u8; 16],
}

/// The answer to an append, as the server encoded it; opaque to the store.
pub type Answer = Vec<u8>;

/// What is known of a key.
#[derive(Debug)]
pub enum IdempotencyOutcome {
    /// Nothing: go on, and append with this permit. Other requests with the key wait for it.
    New(IdempotencyPermit),
    /// The request was answered before, with this.
    Replay(Answer),
    /// The key was used for another body.
    Mismatch,
}

/// The right to use a key. Dropped unused, the key is free again.
#[derive(Debug)]
pub struct IdempotencyPermit {}

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

/// An append that is durable and visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its position in the queue.
    pub sequence: u64,
}

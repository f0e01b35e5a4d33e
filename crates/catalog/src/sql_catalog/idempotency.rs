//! Answers given to requests with an idempotency key.

use super::convert::{corrupt, tenant};
use crate::sql::{Backend, Connections, Fields, Transaction, database, values};
use crate::{IdempotencyRow, Result};

pub(super) async fn insert<B: Backend>(
    transaction: &mut Transaction<B>,
    row: &IdempotencyRow,
) -> Result<()> {
    let insert = "INSERT INTO idempotency (tenant, key, fingerprint, answer, received_at_ns) \
                  VALUES ($1, $2, $3, $4, $5) \
                  ON CONFLICT (tenant, key) DO UPDATE SET fingerprint = excluded.fingerprint, \
                  answer = excluded.answer, received_at_ns = excluded.received_at_ns";
    let values = values![
        row.tenant.as_str(),
        &row.key,
        &row.fingerprint[..],
        &row.answer[..],
        row.received_at_ns
    ];
    transaction
        .execute("keeping an idempotency key", insert, values)
        .await?;
    Ok(())
}

pub(super) async fn since<B: Backend>(
    connections: &Connections<B>,
    since_ns: i64,
) -> Result<Vec<IdempotencyRow>> {
    let select = "SELECT tenant, key, fingerprint, answer, received_at_ns FROM idempotency \
                  WHERE received_at_ns >= $1";
    let values = values![since_ns];
    let rows = connections.fetch(OPERATION, select, values);
    rows.await?.iter().map(read).collect()
}

const OPERATION: &str = "reading the idempotency keys";

pub(super) async fn expire<B: Backend>(
    connections: &Connections<B>,
    before_ns: i64,
) -> Result<u64> {
    let delete = "DELETE FROM idempotency WHERE received_at_ns < $1";
    let operation = "forgetting idempotency keys";
    connections
        .execute(operation, delete, values![before_ns])
        .await
}

fn read(row: &impl Fields) -> Result<IdempotencyRow> {
    let failed = database(OPERATION);
    let key = row.text("key").map_err(&failed)?;
    let name = row.text("tenant").map_err(&failed)?;
    let fingerprint = row.bytes("fingerprint").map_err(&failed)?;
    Ok(IdempotencyRow {
        tenant: tenant("idempotency", &key, &name)?,
        fingerprint: fingerprint
            .try_into()
            .map_err(|_wrong_length| corrupt("idempotency", &key, "fingerprint"))?,
        answer: row.bytes("answer").map_err(&failed)?,
        received_at_ns: row.integer("received_at_ns").map_err(&failed)?,
        key,
    })
}

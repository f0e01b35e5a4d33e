//! Deletes by query.

use logmill_model::TenantId;

use super::changes;
use super::convert::{signed, tenant, unsigned};
use crate::sql::{Backend, Connections, Fields, Transaction, database, values};
use crate::{DeleteId, DeleteRow, Error, PendingDeletes, Result, SegmentId};

/// Deletes with the number of segments they are still to be applied to.
macro_rules! select_deletes {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, predicate, requested_at_ns, finished_at_ns, segments, rows_deleted, \
             (SELECT count(*) FROM segment_deletes WHERE delete_id = deletes.id) \
             AS segments_left FROM deletes ",
            $rest
        )
    };
}

const SELECT_PENDING: &str = "SELECT segment, delete_id FROM segment_deletes ORDER BY 1, 2";

pub(super) async fn begin<B: Backend>(
    transaction: &mut Transaction<B>,
    delete: &DeleteRow,
    segments: &[SegmentId],
) -> Result<()> {
    let operation = "keeping a delete";
    changes::begin(transaction).await?;
    let id = &delete.id.0;
    let insert = "INSERT INTO deletes (id, tenant, predicate, requested_at_ns, segments, rows_deleted) \
                  VALUES ($1, $2, $3, $4, $5, 0)";
    let values = values![
        id,
        delete.tenant.as_str(),
        &delete.predicate,
        delete.requested_at_ns,
        signed("deletes", id, segments.len() as u64)?
    ];
    transaction.execute(operation, insert, values).await?;
    for segment in segments {
        let insert = "INSERT INTO segment_deletes (segment, delete_id) SELECT id, $2 FROM segments WHERE id = $1";
        let values = values![&segment.0, id];
        if transaction.execute(operation, insert, values).await? != 1 {
            return Err(Error::SegmentGone(segment.0.clone()));
        }
    }
    changes::deletes_changed(transaction).await?;
    finish(transaction, delete.requested_at_ns).await
}

/// Deletes of which no segment is left are finished.
pub(super) async fn finish<B: Backend>(
    transaction: &mut Transaction<B>,
    now_ns: i64,
) -> Result<()> {
    let finished = "UPDATE deletes SET finished_at_ns = $1 WHERE finished_at_ns IS NULL \
                    AND NOT EXISTS (SELECT 1 FROM segment_deletes WHERE delete_id = deletes.id)";
    transaction
        .execute("finishing deletes", finished, values![now_ns])
        .await?;
    Ok(())
}

/// The delete is applied to the segment; returns whether it was still to be.
pub(super) async fn settle<B: Backend>(
    transaction: &mut Transaction<B>,
    segment: &SegmentId,
    delete: &DeleteId,
) -> Result<bool> {
    let sql = "DELETE FROM segment_deletes WHERE segment = $1 AND delete_id = $2";
    let values = values![&segment.0, &delete.0];
    let settled = transaction
        .execute("settling a delete", sql, values)
        .await?;
    Ok(settled > 0)
}

/// What is to be deleted from one segment is to be deleted from another, too.
pub(super) async fn inherit<B: Backend>(
    transaction: &mut Transaction<B>,
    from: &SegmentId,
    to: &SegmentId,
) -> Result<()> {
    let sql = "INSERT INTO segment_deletes (segment, delete_id) \
               SELECT $1, delete_id FROM segment_deletes WHERE segment = $2 ON CONFLICT DO NOTHING";
    transaction
        .execute("inheriting deletes", sql, values![&to.0, &from.0])
        .await?;
    Ok(())
}

/// A delete took away so many records.
pub(super) async fn count<B: Backend>(
    transaction: &mut Transaction<B>,
    delete: &DeleteId,
    rows: u64,
) -> Result<()> {
    let sql = "UPDATE deletes SET rows_deleted = rows_deleted + $1 WHERE id = $2";
    let values = values![signed("deletes", &delete.0, rows)?, &delete.0];
    transaction
        .execute("counting deleted records", sql, values)
        .await?;
    Ok(())
}

pub(super) async fn all<B: Backend>(
    connections: &Connections<B>,
    tenant: Option<&TenantId>,
) -> Result<Vec<DeleteRow>> {
    let operation = "reading the deletes";
    let rows = match tenant {
        Some(tenant) => {
            let select = select_deletes!("WHERE tenant = $1 ORDER BY id");
            let values = values![tenant.as_str()];
            connections.fetch(operation, select, values).await?
        }
        None => {
            let select = select_deletes!("ORDER BY id");
            connections.fetch(operation, select, &[]).await?
        }
    };
    rows.iter().map(read).collect()
}

pub(super) async fn one<B: Backend>(
    connections: &Connections<B>,
    tenant: &TenantId,
    id: &DeleteId,
) -> Result<Option<DeleteRow>> {
    let select = select_deletes!("WHERE tenant = $1 AND id = $2");
    let values = values![tenant.as_str(), &id.0];
    let rows = connections
        .fetch("reading a delete", select, values)
        .await?;
    rows.first().map(read).transpose()
}

pub(super) async fn expire<B: Backend>(
    connections: &Connections<B>,
    before_ns: i64,
) -> Result<u64> {
    let delete = "DELETE FROM deletes WHERE finished_at_ns < $1";
    let operation = "forgetting finished deletes";
    connections
        .execute(operation, delete, values![before_ns])
        .await
}

pub(super) async fn pending<B: Backend>(
    connections: &Connections<B>,
) -> Result<Vec<(SegmentId, DeleteId)>> {
    let operation = "reading the deletes of segments";
    let rows = connections.fetch(operation, SELECT_PENDING, &[]).await?;
    rows.iter().map(read_pending).collect()
}

/// Deletes that are not finished, and their segments.
pub(super) async fn unfinished<B: Backend>(
    transaction: &mut Transaction<B>,
) -> Result<PendingDeletes> {
    let operation = "reading the pending deletes";
    let select = select_deletes!("WHERE finished_at_ns IS NULL ORDER BY id");
    let deletes = transaction.fetch(operation, select, &[]).await?;
    let segments = transaction.fetch(operation, SELECT_PENDING, &[]).await?;
    Ok(PendingDeletes {
        deletes: deletes.iter().map(read).collect::<Result<_>>()?,
        segments: segments.iter().map(read_pending).collect::<Result<_>>()?,
    })
}

fn read(row: &impl Fields) -> Result<DeleteRow> {
    let failed = database("reading a delete");
    let id = row.text("id").map_err(&failed)?;
    let name = row.text("tenant").map_err(&failed)?;
    let count = |name: &str| unsigned("deletes", &id, row.integer(name).map_err(&failed)?);
    Ok(DeleteRow {
        tenant: tenant("deletes", &id, &name)?,
        predicate: row.text("predicate").map_err(&failed)?,
        requested_at_ns: row.integer("requested_at_ns").map_err(&failed)?,
        finished_at_ns: row.optional_integer("finished_at_ns").map_err(&failed)?,
        segments: count("segments")?,
        segments_left: count("segments_left")?,
        rows_deleted: count("rows_deleted")?,
        id: DeleteId(id),
    })
}

fn read_pending(row: &impl Fields) -> Result<(SegmentId, DeleteId)> {
    let failed = database("reading the deletes of a segment");
    let segment = row.text("segment").map_err(&failed)?;
    let delete = row.text("delete_id").map_err(&failed)?;
    Ok((SegmentId(segment), DeleteId(delete)))
}

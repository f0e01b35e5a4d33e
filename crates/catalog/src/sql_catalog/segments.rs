//! Segments, the watermarks they moved, and the objects they left behind.

use std::time::Duration;

use logmill_model::TenantId;

use super::convert::{corrupt, milliseconds, signed, tenant, unsigned};
use super::{changes, deletes, fleet, idempotency};
use crate::sql::{Backend, Connections, Fields, Transaction, database, values};
use crate::{Error, FlushCommit, OBSOLETE_OBJECTS_MAX, Replacement, Result, SegmentId, SegmentRow};

/// Columns by name: with `*`, a process would fail when a newer one adds some. A macro, as queries are literals.
macro_rules! select_segments {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, path, rows, bytes, min_timestamp_ns, max_timestamp_ns, columns, checksum, level, \
             created_at_ns FROM segments ",
            $rest
        )
    };
}
pub(super) use select_segments;

pub(super) async fn watermark<B: Backend>(
    connections: &Connections<B>,
    partition: &str,
) -> Result<u64> {
    let operation = "reading the watermark";
    let select = "SELECT name, watermark FROM partitions WHERE name = $1";
    let rows = connections
        .fetch(operation, select, values![partition])
        .await?;
    rows.first().map_or(Ok(0), |row| Ok(read_watermark(row)?.1))
}

pub(super) async fn watermarks<B: Backend>(
    connections: &Connections<B>,
) -> Result<Vec<(String, u64)>> {
    let select = "SELECT name, watermark FROM partitions ORDER BY name";
    let rows = connections.fetch("reading the watermarks", select, &[]);
    rows.await?.iter().map(read_watermark).collect()
}

/// A flush's part of a transaction: the watermark, and what comes with it.
pub(crate) async fn commit_flush<B: Backend>(
    transaction: &mut Transaction<B>,
    commit: &FlushCommit,
) -> Result<()> {
    let version = changes::begin(transaction).await?;
    if let Some(epoch) = commit.epoch {
        fleet::check_epoch(transaction, &commit.partition, epoch).await?;
    }
    move_watermark(transaction, version, commit).await?;
    for segment in &commit.segments {
        insert(transaction, version, segment).await?;
    }
    for row in &commit.idempotency {
        idempotency::insert(transaction, row).await?;
    }
    Ok(())
}

async fn move_watermark<B: Backend>(
    transaction: &mut Transaction<B>,
    version: i64,
    commit: &FlushCommit,
) -> Result<()> {
    let operation = "moving the watermark";
    let partition = &commit.partition;
    let select = "SELECT name, watermark FROM partitions WHERE name = $1";
    let rows = transaction
        .fetch(operation, select, values![partition])
        .await?;
    let found = match rows.first() {
        Some(row) => read_watermark(row)?.1,
        None => 0,
    };
    if found != commit.expected_watermark {
        return Err(Error::WatermarkMoved {
            partition: partition.clone(),
            expected: commit.expected_watermark,
            found,
        });
    }
    let moved = "INSERT INTO partitions (name, watermark, version) VALUES ($1, $2, $3) \
                 ON CONFLICT (name) DO UPDATE SET watermark = excluded.watermark, version = excluded.version";
    let watermark = signed("partitions", partition, commit.new_watermark)?;
    transaction
        .execute(operation, moved, values![partition, watermark, version])
        .await?;
    Ok(())
}

pub(super) async fn all<B: Backend>(connections: &Connections<B>) -> Result<Vec<SegmentRow>> {
    let select = select_segments!("ORDER BY id");
    let rows = connections.fetch("reading the segments", select, &[]);
    rows.await?.iter().map(read).collect()
}

pub(super) async fn tenants<B: Backend>(connections: &Connections<B>) -> Result<Vec<TenantId>> {
    let operation = "reading the tenants";
    let select = "SELECT DISTINCT tenant FROM segments ORDER BY tenant";
    let rows = connections.fetch(operation, select, &[]).await?;
    let read = |row: &B::Row| {
        let name = row.text("tenant").map_err(database(operation))?;
        tenant("segments", &name, &name)
    };
    rows.iter().map(read).collect()
}

async fn insert<B: Backend>(
    transaction: &mut Transaction<B>,
    version: i64,
    segment: &SegmentRow,
) -> Result<()> {
    let id = &segment.id.0;
    let columns = serde_json::to_string(&segment.columns)
        .map_err(|error| corrupt("segments", id, &error.to_string()))?;
    let insert = "INSERT INTO segments (id, tenant, path, rows, bytes, min_timestamp_ns, max_timestamp_ns, columns, \
                  checksum, level, created_at_ns, version) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let values = values![
        id,
        segment.tenant.as_str(),
        &segment.path,
        signed("segments", id, segment.rows)?,
        signed("segments", id, segment.bytes)?,
        segment.min_timestamp_ns,
        segment.max_timestamp_ns,
        &columns,
        segment.checksum.cast_signed(),
        i64::from(segment.level),
        segment.created_at_ns,
        version
    ];
    transaction
        .execute("making a segment visible", insert, values)
        .await?;
    Ok(())
}

/// Forgets a segment and what was to be deleted from it; returns how many there were, 0 or 1.
pub(crate) async fn remove<B: Backend>(
    transaction: &mut Transaction<B>,
    version: i64,
    id: &SegmentId,
    keep_object: bool,
) -> Result<u64> {
    let operation = "removing a segment";
    if keep_object {
        let keep = "INSERT INTO obsolete_objects (path, since_ms) SELECT path, {now} FROM segments WHERE id = $1 \
                    ON CONFLICT (path) DO NOTHING";
        transaction.execute(operation, keep, values![&id.0]).await?;
    }
    let forget = "DELETE FROM segment_deletes WHERE segment = $1";
    if transaction
        .execute(operation, forget, values![&id.0])
        .await?
        > 0
    {
        changes::deletes_changed(transaction).await?;
    }
    let remove = "DELETE FROM segments WHERE id = $1";
    let removed = transaction
        .execute(operation, remove, values![&id.0])
        .await?;
    if removed > 0 {
        changes::remember_removal(transaction, version, id).await?;
    }
    Ok(removed)
}

pub(super) async fn replace<B: Backend>(
    transaction: &mut Transaction<B>,
    replacement: &Replacement,
) -> Result<()> {
    let version = changes::begin(transaction).await?;
    if let Some(fence) = &replacement.fence {
        fleet::check_epoch(transaction, &fence.partition, fence.epoch).await?;
    }
    let mut settled = false;
    for (segment, delete) in &replacement.settled {
        settled |= deletes::settle(transaction, segment, delete).await?;
    }
    if settled {
        changes::deletes_changed(transaction).await?;
    }
    for segment in &replacement.added {
        insert(transaction, version, segment).await?;
        for removed in &replacement.removed {
            deletes::inherit(transaction, removed, &segment.id).await?;
        }
    }
    for removed in &replacement.removed {
        if remove(transaction, version, removed, replacement.keep_objects).await? != 1 {
            return Err(Error::SegmentGone(removed.0.clone()));
        }
    }
    for (delete, rows) in &replacement.deleted_rows {
        deletes::count(transaction, delete, *rows).await?;
    }
    deletes::finish(transaction, replacement.now_ns).await?;
    changes::prune(transaction).await
}

pub(super) async fn obsolete_objects<B: Backend>(
    connections: &Connections<B>,
    older_than: Duration,
) -> Result<Vec<String>> {
    let operation = "reading the obsolete objects";
    let select = "SELECT path FROM obsolete_objects WHERE since_ms <= {now} - $1 ORDER BY since_ms, path LIMIT $2";
    let limit = OBSOLETE_OBJECTS_MAX as u64;
    let values = values![
        milliseconds(older_than),
        signed("obsolete_objects", "limit", limit)?
    ];
    let rows = connections.fetch(operation, select, values).await?;
    let paths = rows.iter().map(|row| row.text("path"));
    paths
        .collect::<sqlx::Result<_>>()
        .map_err(database(operation))
}

pub(super) async fn forget_objects<B: Backend>(
    connections: &Connections<B>,
    paths: &[String],
) -> Result<()> {
    let operation = "forgetting obsolete objects";
    let mut transaction = connections.begin().await?;
    for path in paths {
        let delete = "DELETE FROM obsolete_objects WHERE path = $1";
        transaction
            .execute(operation, delete, values![path])
            .await?;
    }
    transaction.commit(operation).await
}

pub(super) fn read(row: &impl Fields) -> Result<SegmentRow> {
    let failed = database("reading a segment");
    let id = row.text("id").map_err(&failed)?;
    let name = row.text("tenant").map_err(&failed)?;
    let columns = row.text("columns").map_err(&failed)?;
    let level = row.integer("level").map_err(&failed)?;
    let count = |name: &str| unsigned("segments", &id, row.integer(name).map_err(&failed)?);
    Ok(SegmentRow {
        tenant: tenant("segments", &id, &name)?,
        path: row.text("path").map_err(&failed)?,
        rows: count("rows")?,
        bytes: count("bytes")?,
        min_timestamp_ns: row.integer("min_timestamp_ns").map_err(&failed)?,
        max_timestamp_ns: row.integer("max_timestamp_ns").map_err(&failed)?,
        columns: serde_json::from_str(&columns)
            .map_err(|error| corrupt("segments", &id, &format!("columns: {error}")))?,
        checksum: row.integer("checksum").map_err(&failed)?.cast_unsigned(),
        level: u32::try_from(level)
            .map_err(|_out_of_range| corrupt("segments", &id, &format!("level {level}")))?,
        created_at_ns: row.integer("created_at_ns").map_err(&failed)?,
        id: SegmentId(id),
    })
}

pub(super) fn read_watermark(row: &impl Fields) -> Result<(String, u64)> {
    let failed = database("reading a watermark");
    let name = row.text("name").map_err(&failed)?;
    let watermark = row.integer("watermark").map_err(&failed)?;
    let watermark = unsigned("partitions", &name, watermark)?;
    Ok((name, watermark))
}

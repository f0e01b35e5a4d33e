//! Versions of the catalog, and what changed between them.

use std::time::Duration;

use super::convert::{milliseconds, unsigned};
use super::{deletes, segments};
use crate::sql::{Backend, Connections, Fields, Transaction, database, values};
use crate::{Changes, Result, SegmentId};

/// How long removals are remembered. Who did not follow for longer gets a full listing.
const REMOVALS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The transaction will change what readers see: takes the next version, after all transactions that took one before.
pub(crate) async fn begin<B: Backend>(transaction: &mut Transaction<B>) -> Result<i64> {
    let operation = "taking the next version";
    let next = "UPDATE catalog_state SET version = version + 1 RETURNING version";
    let rows = transaction.fetch(operation, next, &[]).await?;
    column(operation, rows.first(), "version")
}

/// The transaction's version changes which deletes are pending.
pub(super) async fn deletes_changed<B: Backend>(transaction: &mut Transaction<B>) -> Result<()> {
    let changed = "UPDATE catalog_state SET deletes_version = version";
    transaction
        .execute("noting a change of deletes", changed, &[])
        .await?;
    Ok(())
}

pub(super) async fn remember_removal<B: Backend>(
    transaction: &mut Transaction<B>,
    version: i64,
    id: &SegmentId,
) -> Result<()> {
    let remember = "INSERT INTO removed_segments (segment, version, removed_at_ms) VALUES ($1, $2, {now}) \
                    ON CONFLICT (segment) DO UPDATE SET version = excluded.version, \
                    removed_at_ms = excluded.removed_at_ms";
    let values = values![&id.0, version];
    transaction
        .execute("remembering a removal", remember, values)
        .await?;
    Ok(())
}

/// Forgets removals of long ago.
pub(crate) async fn prune<B: Backend>(transaction: &mut Transaction<B>) -> Result<()> {
    let operation = "forgetting removals";
    let old =
        "SELECT max(version) AS version FROM removed_segments WHERE removed_at_ms < {now} - $1";
    let values = values![milliseconds(REMOVALS_KEPT)];
    let rows = transaction.fetch(operation, old, values).await?;
    let pruned = rows.first().map(|row| row.optional_integer("version"));
    let Some(pruned) = pruned.transpose().map_err(database(operation))?.flatten() else {
        return Ok(());
    };
    for sql in [
        "DELETE FROM removed_segments WHERE version <= $1",
        "UPDATE catalog_state SET pruned_version = $1",
    ] {
        transaction.execute(operation, sql, values![pruned]).await?;
    }
    Ok(())
}

pub(super) async fn version<B: Backend>(connections: &Connections<B>) -> Result<u64> {
    let operation = "reading the version";
    let select = "SELECT version FROM catalog_state";
    let rows = connections.fetch(operation, select, &[]).await?;
    let version = column(operation, rows.first(), "version")?;
    unsigned("catalog_state", "version", version)
}

pub(super) async fn since<B: Backend>(connections: &Connections<B>, since: u64) -> Result<Changes> {
    // Nearly always nothing happened, and then no transaction is needed.
    if version(connections).await? == since {
        return Ok(Changes {
            version: since,
            ..Changes::default()
        });
    }
    let operation = "reading what changed";
    let mut transaction = connections.snapshot().await?;
    let state = "SELECT version, deletes_version, pruned_version FROM catalog_state";
    let state = transaction.fetch(operation, state, &[]).await?;
    let state = |name| {
        let value = column(operation, state.first(), name)?;
        unsigned("catalog_state", name, value)
    };
    let version = state("version")?;
    let complete = since < state("pruned_version")? || since > version;
    let since = if complete { 0 } else { since };
    let after = values![i64::try_from(since).unwrap_or(i64::MAX)];

    let added = segments::select_segments!("WHERE version > $1 ORDER BY id");
    let added = transaction.fetch(operation, added, after).await?;
    let removed = if complete {
        Vec::new()
    } else {
        let removed = "SELECT segment FROM removed_segments WHERE version > $1 ORDER BY segment";
        transaction.fetch(operation, removed, after).await?
    };
    let watermarks = "SELECT name, watermark FROM partitions WHERE version > $1 ORDER BY name";
    let watermarks = transaction.fetch(operation, watermarks, after).await?;
    let pending_deletes = if complete || state("deletes_version")? > since {
        Some(deletes::unfinished(&mut transaction).await?)
    } else {
        None
    };
    transaction.commit(operation).await?;

    let removed = removed.iter().map(|row| row.text("segment").map(SegmentId));
    Ok(Changes {
        version,
        complete,
        segments_added: added.iter().map(segments::read).collect::<Result<_>>()?,
        segments_removed: removed
            .collect::<sqlx::Result<_>>()
            .map_err(database(operation))?,
        watermarks: watermarks
            .iter()
            .map(segments::read_watermark)
            .collect::<Result<_>>()?,
        pending_deletes,
    })
}

fn column(operation: &'static str, row: Option<&impl Fields>, name: &str) -> Result<i64> {
    row.ok_or(sqlx::Error::RowNotFound)
        .and_then(|row| row.integer(name))
        .map_err(database(operation))
}

//! Deleting single rows.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use sqlx::postgres::{PgConnection, Postgres};

use super::{Deletion, RowKey, RowSelection, select};
use crate::sql::database;
use crate::{DeleteRow, Result};

/// Rows that one statement deletes.
const ROWS_PER_STATEMENT: usize = 5_000;

/// A transaction of one snapshot: a place that was read in it is of the same row until its end.
pub(super) struct PostgresDeletion(pub(super) sqlx::Transaction<'static, Postgres>);

#[async_trait]
impl Deletion for PostgresDeletion {
    async fn read(
        &mut self,
        selection: &RowSelection,
        take: &mut (dyn FnMut(Bytes) -> std::result::Result<(), String> + Send),
    ) -> Result<std::result::Result<(), String>> {
        let failed = database("reading rows to delete");
        let connection: &mut PgConnection = &mut self.0;
        let copy = copy_out(selection, true);
        let mut rows = connection.copy_out_raw(&copy).await.map_err(&failed)?;
        while let Some(bytes) = rows.next().await {
            if let Err(problem) = take(bytes.map_err(&failed)?) {
                return Ok(Err(problem));
            }
        }
        Ok(Ok(()))
    }

    async fn delete(&mut self, keys: &[RowKey]) -> Result<()> {
        let failed = database("deleting rows");
        for keys in keys.chunk_by(|a, b| a.table == b.table) {
            for keys in keys.chunks(ROWS_PER_STATEMENT) {
                let places: Vec<String> = keys
                    .iter()
                    .map(|key| format!("\"({},{})\"", key.block, key.row))
                    .collect();
                let Some(first) = keys.first() else { continue };
                let delete = "DELETE FROM log_entries WHERE tableoid = $1::bigint::oid AND ctid = ANY($2::tid[])";
                sqlx::query(delete)
                    .bind(i64::from(first.table))
                    .bind(format!("{{{}}}", places.join(",")))
                    .execute(&mut *self.0)
                    .await
                    .map_err(&failed)?;
            }
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>, record: Option<&DeleteRow>) -> Result<()> {
        let failed = database("committing a delete");
        if let Some(record) = record {
            let insert = "INSERT INTO deletes (id, tenant, predicate, requested_at_ns, finished_at_ns, segments, \
                          rows_deleted) VALUES ($1, $2, $3, $4, $5, 0, $6)";
            sqlx::query(insert)
                .bind(&record.id.0)
                .bind(record.tenant.as_str())
                .bind(&record.predicate)
                .bind(record.requested_at_ns)
                .bind(record.finished_at_ns)
                .bind(i64::try_from(record.rows_deleted).unwrap_or(i64::MAX))
                .execute(&mut *self.0)
                .await
                .map_err(&failed)?;
        }
        self.0.commit().await.map_err(&failed)
    }
}

/// The statement that reads a selection.
pub(super) fn copy_out(selection: &RowSelection, keys: bool) -> String {
    let select = select::select(selection, keys);
    format!("COPY ({select}) TO STDOUT (FORMAT binary)")
}

//! Deleting single rows: one transaction, so that a delete that was answered is done, and one that was not did nothing.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use logmill_catalog::{DeleteId, DeleteRow, LogTable, RowKey, RowSelection};
use logmill_model::{TenantId, TimeRange};
use logmill_schema::ColumnType;
use ulid::Ulid;

use super::RowDecoder;
use crate::{DeleteFilter, Error, Result, Snapshot, Store};

/// Rows that a predicate is about, found as they are read.
struct Found {
    decoder: RowDecoder,
    filter: DeleteFilter,
    keys: Vec<RowKey>,
}

impl Store {
    /// Deletes the tenant's rows that are in `range` and of which `predicate` holds, and that were flushed by now. With
    /// `keep` the delete is remembered, also if it found nothing.
    pub(crate) async fn delete_rows(
        &self,
        table: &Arc<dyn LogTable>,
        tenant: &TenantId,
        predicate: String,
        range: TimeRange,
        keep: bool,
    ) -> Result<DeleteRow> {
        let requested_at_ns = self.clock.now_ns();
        let snapshot = self.snapshot(tenant);
        let found = if snapshot.has_rows(range) {
            Some(self.find_rows(tenant, &predicate, range, &snapshot)?)
        } else {
            None
        };
        let mut deletion = table.begin_deletion().await?;
        let mut rows_deleted = 0;
        if let Some((selection, mut found)) = found {
            let mut take = |bytes: Bytes| found.take(&bytes, false).map_err(|e| e.to_string());
            let read = deletion.read(&selection, &mut take).await?;
            read.map_err(Error::Row)?;
            found.take(&[], true)?;
            rows_deleted = found.keys.len() as u64;
            deletion.delete(&found.keys).await?;
        }
        let row = DeleteRow {
            id: DeleteId(Ulid::generate().to_string()),
            tenant: tenant.clone(),
            predicate,
            requested_at_ns,
            finished_at_ns: Some(self.clock.now_ns()),
            segments: 0,
            segments_left: 0,
            rows_deleted,
        };
        if rows_deleted > 0 || keep {
            deletion.commit(Some(&row)).await?;
            metrics::counter!("logmill_deletes_total").increment(1);
            metrics::counter!("logmill_deleted_rows_total").increment(rows_deleted);
            tracing::info!(id = row.id.0, %tenant, rows = rows_deleted, "deleted by query");
        }
        Ok(row)
    }

    /// What is to be read, and how to tell the rows.
    fn find_rows(
        &self,
        tenant: &TenantId,
        predicate: &str,
        range: TimeRange,
        snapshot: &Snapshot,
    ) -> Result<(RowSelection, Found)> {
        let Some(matcher) = self.delete_matcher.get() else {
            return Err(Error::Internal(
                "there is nothing that understands deletes".to_owned(),
            ));
        };
        let columns: Vec<(String, ColumnType)> = snapshot
            .schema
            .columns()
            .map(|(name, kind)| (name.to_owned(), kind))
            .collect();
        let filter = matcher
            .prepare(predicate, &columns)
            .map_err(Error::Internal)?;
        let condition = matcher.narrow(predicate).map_err(Error::Internal)?;
        let arrow = snapshot.schema.to_arrow();
        let fields = arrow.fields().iter().map(|field| match field.data_type() {
            DataType::Utf8 | DataType::Dictionary(_, _) => {
                Field::new(field.name(), DataType::Utf8View, field.is_nullable())
            }
            other => Field::new(field.name(), other.clone(), field.is_nullable()),
        });
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let decoder = RowDecoder::new(Arc::new(schema), true)?;
        let selection = RowSelection {
            tenant: tenant.clone(),
            columns: decoder.columns().to_vec(),
            range,
            before: snapshot.flushed,
            condition,
            order: None,
            limit: None,
        };
        let found = Found {
            decoder,
            filter,
            keys: Vec::new(),
        };
        Ok((selection, found))
    }
}

impl Found {
    fn take(&mut self, bytes: &[u8], rest: bool) -> Result<()> {
        self.decoder.push(bytes);
        while let Some((batch, keys)) = self.decoder.next(rest)? {
            let matches = (self.filter)(&batch).map_err(Error::Row)?;
            let matching = keys.into_iter().zip(matches.iter());
            let matching = matching.filter(|(_, matches)| *matches == Some(true));
            self.keys.extend(matching.map(|(key, _)| key));
        }
        Ok(())
    }
}

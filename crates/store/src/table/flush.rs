//! A flush into the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use logmill_catalog::{NewRows, SegmentRow};
use logmill_model::TenantId;
use logmill_model::time::{DAY_NS, utc_date};
use logmill_segment::SegmentSummary;
use ulid::Ulid;

use super::encode::{Days, RowWriter, joined_columns};
use crate::flush::segment_row;
use crate::memtable::Frozen;
use crate::{Result, SegmentHandle, Store};

impl Store {
    /// The rows of a frozen memtable, and the catalog's rows about them: one for each tenant and day.
    pub(crate) async fn rows_of(&self, frozen: &Frozen) -> Result<(Vec<SegmentRow>, NewRows)> {
        type Batches = Vec<(u64, RecordBatch)>;
        let plain = frozen.tenants.iter().map(|(tenant, batches)| {
            let batches = batches.iter();
            let batches = batches.map(|batch| (batch.sequence, batch.batch.rows().clone()));
            (tenant.clone(), batches.collect())
        });
        let plain: Vec<(TenantId, Batches)> = plain.collect();
        let encode = move || {
            let mut writer = RowWriter::default();
            let mut tenants: BTreeMap<TenantId, Days> = BTreeMap::new();
            for (tenant, batches) in plain {
                let days = tenants.entry(tenant.clone()).or_default();
                for (sequence, batch) in batches {
                    writer.add(&tenant, sequence, &batch, days)?;
                }
            }
            let mut all: Vec<i64> = tenants
                .values()
                .flat_map(|days| days.keys().copied())
                .collect();
            all.sort_unstable();
            all.dedup();
            Ok((tenants, writer.finish(all)))
        };
        let (tenants, rows) = self.flusher.run(encode).await?;
        let now_ns = self.clock.now_ns();
        let days = tenants.into_iter().flat_map(|(tenant, days)| {
            days.into_values()
                .map(move |summary| (tenant.clone(), summary))
        });
        let about = days.map(|(tenant, summary)| {
            let id = Ulid::generate().to_string();
            let path = rows_path(&tenant, summary.min_timestamp_ns, &id);
            segment_row(&tenant, id, path, summary, 0, now_ns)
        });
        Ok((about.collect(), rows))
    }
}

/// The name, in the place of a path, of rows of the table.
fn rows_path(tenant: &TenantId, first_ns: i64, id: &str) -> String {
    let (year, month, day) = utc_date(first_ns);
    format!("log_entries/{tenant}/{year:04}-{month:02}-{day:02}/{id}")
}

/// The catalog's row that says what all of these say. They are of one tenant and day.
pub(crate) fn merged_row(
    inputs: &[Arc<SegmentHandle>],
    level: u32,
    now_ns: i64,
) -> Option<SegmentRow> {
    let rows = || inputs.iter().map(|input| input.row());
    let columns = rows().flat_map(|row| &row.columns);
    let columns = columns.map(|column| (column.name.as_str(), column.column_type));
    let first = inputs.first()?.row();
    let summary = SegmentSummary {
        rows: rows().map(|row| row.rows).sum(),
        bytes: rows().map(|row| row.bytes).sum(),
        min_timestamp_ns: rows().map(|row| row.min_timestamp_ns).min()?,
        max_timestamp_ns: rows().map(|row| row.max_timestamp_ns).max()?,
        columns: joined_columns(columns),
        checksum: 0,
    };
    let id = Ulid::generate().to_string();
    let path = rows_path(&first.tenant, summary.min_timestamp_ns, &id);
    Some(segment_row(&first.tenant, id, path, summary, level, now_ns))
}

/// The UTC day that a catalog's row is about.
pub(super) fn day_of(segment: &SegmentHandle) -> i64 {
    segment.row().min_timestamp_ns.div_euclid(DAY_NS)
}

//! The fields that records have. What a segment's footer says of its columns is not read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use datafusion::common::{Column, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::Expr;
use logmill_model::field;
use logmill_query_api::{FieldCount, FieldKind, Fields, Selection};
use logmill_schema::ColumnType;
use logmill_store::{SegmentHandle, Snapshot};

use super::View;
use super::fold::{Fold, fold};
use super::whole::{unless_empty, with_scan};
use crate::session::Session;
use crate::stats::stats;

/// Records, and how many of them have each column.
#[derive(Debug, Default)]
pub(super) struct Counts {
    rows: u64,
    of_columns: BTreeMap<String, u64>,
}

impl Counts {
    fn add(&mut self, column: &str, records: u64) {
        if records == 0 {
            return;
        }
        match self.of_columns.get_mut(column) {
            Some(count) => *count += records,
            None => {
                self.of_columns.insert(column.to_owned(), records);
            }
        }
    }
}

impl View<'_> {
    /// What footers say of segments of which all records are selected; and a snapshot of the others, if there are any.
    pub(super) async fn known_counts(&self, selection: &Selection) -> (Counts, Option<Snapshot>) {
        let mut counts = Counts::default();
        let (whole, mut rest) = self.whole_segments(selection);
        for handle in whole {
            match self.column_counts(&handle).await {
                Some(of_segment) => {
                    counts.rows += handle.row().rows;
                    for (column, records) in of_segment {
                        counts.add(&column, records);
                    }
                }
                None => rest.segments.push(handle),
            }
        }
        (counts, unless_empty(rest))
    }

    /// How many records of a segment have each of its columns; `None` where its footer does not say, or cannot be read: a
    /// scan says why.
    async fn column_counts(&self, handle: &Arc<SegmentHandle>) -> Option<Vec<(String, u64)>> {
        let segment = self.session.table.open(handle).await.ok()?;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for row_group in segment.file().parquet().row_groups() {
            let rows = u64::try_from(row_group.num_rows()).ok()?;
            for column in row_group.columns() {
                let nulls = column.statistics()?.null_count_opt()?;
                *counts.entry(column.column_path().string()).or_default() +=
                    rows.checked_sub(nulls)?;
            }
        }
        Some(counts.into_iter().collect())
    }

    /// The fields: what is known already, what a scan of the rest finds, and what is in the overflow column.
    pub(super) async fn fields(&self, known: Counts, scanned: Option<Session>) -> Result<Fields> {
        let mut counts = known;
        let mut took = self.stats(0);
        if let Some(session) = scanned {
            let rest = self.scan(&session).await?;
            counts.rows += rest.rows;
            for (column, records) in rest.of_columns {
                counts.add(&column, records);
            }
            took = with_scan(took, &stats(&session, self.begun, 0));
        }
        let mut overflow = BTreeMap::new();
        let mut warnings = Vec::new();
        if counts.of_columns.remove(field::OVERFLOW).is_some() {
            let found = self.overflow_names().await?;
            if found.is_cut {
                let most = self.limits.max_overflow_fields;
                warnings.push(format!(
                    "there are more fields than {most} in the overflow column"
                ));
            }
            overflow = found.names;
            took = with_scan(took, &self.stats(0));
        }
        let mut fields = Vec::new();
        for (name, column_type) in self.table.columns() {
            // A field may have been in the overflow column before it got its own, or afterwards.
            let more = overflow.remove(name).unwrap_or(0);
            let count = counts.of_columns.get(name).copied().unwrap_or(0) + more;
            if count > 0 {
                fields.push(FieldCount {
                    name: name.to_owned(),
                    kind: kind_of(column_type),
                    count,
                });
            }
        }
        fields.extend(overflow.into_iter().map(|(name, count)| FieldCount {
            name,
            kind: FieldKind::Text,
            count,
        }));
        took.rows_matched = counts.rows;
        Ok(Fields {
            fields,
            total: counts.rows,
            warnings,
            stats: took,
        })
    }

    /// Counts the values that are there, column by column.
    async fn scan(&self, session: &Session) -> Result<Counts> {
        let names: Vec<String> = self
            .table
            .columns()
            .map(|(name, _)| name.to_owned())
            .collect();
        let columns: Vec<Expr> = names
            .iter()
            .map(|name| Expr::Column(Column::new_unqualified(name)))
            .collect();
        let plan = session
            .records(self.conditions.clone(), &columns, None)
            .await?;
        let present = fold(session, &plan, || Present {
            rows: 0,
            of_columns: vec![0; names.len()],
        });
        let present = present.await?;
        let mut counts = Counts {
            rows: present.rows,
            ..Counts::default()
        };
        for (name, records) in names.iter().zip(present.of_columns) {
            counts.add(name, records);
        }
        Ok(counts)
    }

    /// The names in the overflow column, and how many records have each.
    async fn overflow_names(&self) -> Result<OverflowNames> {
        let overflow = Expr::Column(Column::new_unqualified(field::OVERFLOW));
        let mut conditions = self.conditions.clone();
        conditions.push(overflow.clone().is_not_null());
        let plan = self.session.records(conditions, &[overflow], None).await?;
        let most = usize::try_from(self.limits.max_overflow_fields).unwrap_or(usize::MAX);
        let names = fold(&self.session, &plan, || OverflowNames {
            names: BTreeMap::new(),
            most,
            is_cut: false,
            memory: self.memory("fields"),
        });
        names.await
    }
}

const fn kind_of(column_type: ColumnType) -> FieldKind {
    match column_type {
        ColumnType::Timestamp => FieldKind::Timestamp,
        ColumnType::Boolean => FieldKind::Boolean,
        ColumnType::Integer | ColumnType::WideInteger => FieldKind::Integer,
        ColumnType::Float => FieldKind::Float,
        ColumnType::String => FieldKind::Text,
    }
}

/// Counts of values that are there.
struct Present {
    rows: u64,
    of_columns: Vec<u64>,
}

impl Fold for Present {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        for (count, column) in self.of_columns.iter_mut().zip(batch.columns()) {
            *count += (column.len() - column.logical_null_count()) as u64;
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.rows += other.rows;
        for (count, other) in self.of_columns.iter_mut().zip(other.of_columns) {
            *count += other;
        }
        Ok(())
    }
}

/// Names in the overflow column.
struct OverflowNames {
    names: BTreeMap<String, u64>,
    most: usize,
    is_cut: bool,
    memory: MemoryReservation,
}

/// What a name takes beside its text, bytes: about.
const NAME_BYTES: usize = 64;

impl OverflowNames {
    fn add(&mut self, name: String, records: u64) {
        if let Some(count) = self.names.get_mut(&name) {
            *count += records;
        } else if self.names.len() < self.most {
            self.names.insert(name, records);
        } else {
            self.is_cut = true;
        }
    }

    fn account(&self) -> Result<()> {
        let bytes = self.names.keys().map(|name| NAME_BYTES + name.len()).sum();
        self.memory.try_resize(bytes)
    }
}

impl Fold for OverflowNames {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        for object in batch.column(0).as_string_view().iter().flatten() {
            let members = serde_json::from_str::<serde_json::Map<_, _>>(object);
            for (name, value) in members.unwrap_or_default() {
                if !value.is_null() {
                    self.add(name, 1);
                }
            }
        }
        self.account()
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.is_cut |= other.is_cut;
        for (name, records) in other.names {
            self.add(name, records);
        }
        self.account()
    }
}

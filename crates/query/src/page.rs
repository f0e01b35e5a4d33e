//! One page of a structured query, and the boundary between two.
//!
//! A page boundary may fall into a group of records of one time. Rows have no number that would survive their move from
//! memory into segments, so the group is ordered by content: see ARCHITECTURE.md, "Paging through equal timestamps".

use std::sync::Arc;
use std::time::Instant;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{RecordBatch, UInt64Array};
use arrow_schema::SchemaRef;
use datafusion::common::{Column, DataFusionError};
use datafusion::logical_expr::Expr;
use logmill_model::TimeRange;
use logmill_query_api::{LogQuery, Order, Page};
use logmill_schema::{TableSchema, record_hashes};

use crate::cursor::Cursor;
use crate::predicate;
use crate::records::First;
use crate::session::Session;
use crate::stats::stats;

/// What a page is made from.
pub(crate) struct PageQuery<'a> {
    pub(crate) session: &'a Session,
    pub(crate) table: &'a TableSchema,
    pub(crate) query: &'a LogQuery,
    /// Of the query's selection.
    pub(crate) conditions: Vec<Expr>,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) cursor_key: &'a [u8; 32],
}

/// The name under which a page carries the time of its rows beside the asked columns.
const TIME_OF_ROW: &str = "__timestamp";

type Result<T> = std::result::Result<T, DataFusionError>;

/// The asked columns, and a warning for each that no record can have.
pub(crate) fn projection(table: &TableSchema, query: &LogQuery) -> (Vec<Expr>, Vec<String>) {
    let mut warnings = Vec::new();
    let mut warn = |name: &str| {
        let warning = format!("no record has the field {name:?}");
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    };
    for filter in &query.selection.filters {
        if predicate::named(table, &filter.field).is_none() {
            warn(&filter.field);
        }
    }
    let Some(fields) = &query.fields else {
        return (all_columns(table), warnings);
    };
    let mut columns = Vec::new();
    let mut seen = Vec::new();
    for name in fields {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        match predicate::named(table, name) {
            Some((column @ Expr::Column(_), _)) => columns.push(column),
            Some((computed, _)) => columns.push(computed.alias(name)),
            None => warn(name),
        }
    }
    (columns, warnings)
}

/// The columns of the table, each by its name.
pub(crate) fn all_columns(table: &TableSchema) -> Vec<Expr> {
    let names = table.columns().map(|(name, _)| name);
    names
        .map(|name| Expr::Column(Column::new_unqualified(name)))
        .collect()
}

/// Rows of a part of a page, each with its time.
struct Rows {
    batches: Vec<RecordBatch>,
    times: Vec<i64>,
}

impl PageQuery<'_> {
    /// The page, and where the next one starts.
    pub(crate) async fn run(&self, begun: Instant) -> Result<Page> {
        let limit = usize::try_from(self.query.limit).unwrap_or(usize::MAX);
        let (columns, warnings) = projection(self.table, self.query);
        let mut batches = Vec::new();
        let mut count = 0;
        let mut end = None;
        if let Some(cursor) = &self.cursor {
            let group = self
                .group(cursor.timestamp_ns, Some(cursor), &columns)
                .await?;
            let (part, more) = group.take(limit);
            count = part.num_rows();
            end = more
                .or(Some((u128::MAX, u32::MAX)))
                .map(|(hash, given)| Cursor {
                    hash,
                    given,
                    ..*cursor
                });
            batches.push(part);
            if count >= limit {
                return self.finish(batches, end, warnings, begun);
            }
        }
        let rest = self.rest(limit - count, &columns).await?;
        let wanted = limit - count;
        if rest.times.len() <= wanted {
            batches.extend(rest.batches);
            return self.finish(batches, None, warnings, begun);
        }
        // There is more than fits. If the boundary is inside a group of equal times, the group is fetched whole and
        // cut by content; else the page ends after a group.
        let boundary = rest.times[wanted - 1];
        if rest.times[wanted] == boundary {
            let whole = rest
                .times
                .iter()
                .take_while(|time| **time != boundary)
                .count();
            batches.extend(head(&rest.batches, whole));
            let group = self.group(boundary, None, &columns).await?;
            let (part, more) = group.take(wanted - whole);
            batches.push(part);
            let (hash, given) = more.unwrap_or((u128::MAX, u32::MAX));
            end = Some(Cursor {
                range: self.query.selection.range,
                timestamp_ns: boundary,
                hash,
                given,
            });
        } else {
            batches.extend(head(&rest.batches, wanted));
            end = Some(Cursor::after(self.query.selection.range, boundary)).or(end);
        }
        self.finish(batches, end, warnings, begun)
    }

    fn finish(
        &self,
        batches: Vec<RecordBatch>,
        end: Option<Cursor>,
        warnings: Vec<String>,
        begun: Instant,
    ) -> Result<Page> {
        let batches: Vec<_> = batches
            .into_iter()
            .filter(|batch| batch.num_rows() > 0)
            .collect();
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let schema: SchemaRef = match batches.first() {
            Some(batch) => batch.schema(),
            None => Arc::new(arrow_schema::Schema::empty()),
        };
        Ok(Page {
            schema,
            batches,
            next_cursor: end.map(|cursor| cursor.seal(self.query, self.cursor_key)),
            warnings,
            stats: stats(self.session, begun, rows),
        })
    }

    /// Up to one more than `wanted` records, in order, after the cursor's time.
    async fn rest(&self, wanted: usize, columns: &[Expr]) -> Result<Rows> {
        let mut conditions = self.conditions.clone();
        if let Some(cursor) = &self.cursor {
            let at = predicate::time_literal(cursor.timestamp_ns);
            conditions.push(match self.query.order {
                Order::Desc => predicate::timestamp().lt(at),
                Order::Asc => predicate::timestamp().gt(at),
            });
        }
        let mut selected = columns.to_vec();
        selected.push(predicate::timestamp().alias(TIME_OF_ROW));
        let first = First {
            order: self.query.order,
            rows: wanted.saturating_add(1),
        };
        let session = self.session;
        let plan = session.records(conditions, &selected, Some(first)).await?;
        let batches = session.collect(plan).await?;
        let mut rows = Rows {
            batches: Vec::new(),
            times: Vec::new(),
        };
        for mut batch in batches {
            let time = batch.remove_column(batch.num_columns() - 1);
            rows.times
                .extend(time.as_primitive::<TimestampNanosecondType>().values());
            rows.batches.push(batch);
        }
        Ok(rows)
    }

    /// All records of one time, ordered by content, after the cursor if there is one.
    async fn group(
        &self,
        timestamp_ns: i64,
        after: Option<&Cursor>,
        columns: &[Expr],
    ) -> Result<Group> {
        let range = TimeRange {
            start_ns: timestamp_ns,
            end_ns: timestamp_ns.saturating_add(1),
        };
        let mut conditions = self.conditions.clone();
        conditions.push(predicate::in_range(range));
        let whole = all_columns(self.table);
        let plan = self.session.records(conditions, &whole, None).await?;
        let all = self.session.collect(plan).await?;
        // The asked columns are computed from the very batches that were hashed, so that rows cannot be confused.
        let (all, mut hashes) = by_content(&all)?;
        let given = after.map_or(0, |cursor| {
            let before = hashes.partition_point(|hash| *hash < cursor.hash);
            let same = hashes[before..]
                .iter()
                .take_while(|hash| **hash == cursor.hash);
            let given = usize::try_from(cursor.given).unwrap_or(usize::MAX);
            before + same.count().min(given)
        });
        let all = all.slice(given, all.num_rows() - given);
        hashes.drain(..given);
        let given_before = after.map_or(0, |cursor| cursor.given);
        let hash_before = after.map(|cursor| cursor.hash);
        let records = if all.num_rows() == 0 {
            all
        } else {
            self.session.project(&all, columns)?
        };
        Ok(Group {
            records,
            hashes,
            given_before,
            hash_before,
        })
    }
}

/// Records of one time, ordered by content.
struct Group {
    records: RecordBatch,
    hashes: Vec<u128>,
    given_before: u32,
    hash_before: Option<u128>,
}

impl Group {
    /// The first records, and, if there are more, the hash of the last one taken and how many of that hash were given.
    fn take(self, most: usize) -> (RecordBatch, Option<(u128, u32)>) {
        if self.hashes.len() <= most {
            return (self.records, None);
        }
        let part = self.records.slice(0, most);
        let Some(last) = most
            .checked_sub(1)
            .and_then(|last| self.hashes.get(last))
            .copied()
        else {
            return (part, self.hash_before.map(|hash| (hash, self.given_before)));
        };
        let here = self.hashes[..most]
            .iter()
            .rev()
            .take_while(|hash| **hash == last)
            .count();
        let before = if self.hash_before == Some(last) {
            self.given_before
        } else {
            0
        };
        let given = before.saturating_add(u32::try_from(here).unwrap_or(u32::MAX));
        (part, Some((last, given)))
    }
}

/// Records in the order of their content, and the hash of each.
pub(crate) fn by_content(batches: &[RecordBatch]) -> Result<(RecordBatch, Vec<u128>)> {
    let Some(first) = batches.first() else {
        let schema = Arc::new(arrow_schema::Schema::empty());
        return Ok((RecordBatch::new_empty(schema), Vec::new()));
    };
    let all = arrow_select::concat::concat_batches(&first.schema(), batches)?;
    let hashes = record_hashes(&all)?;
    let mut order: Vec<(u128, u64)> = hashes.into_iter().zip(0..).collect();
    order.sort_unstable();
    let rows = UInt64Array::from_iter_values(order.iter().map(|(_, row)| *row));
    let all = arrow_select::take::take_record_batch(&all, &rows)?;
    Ok((all, order.into_iter().map(|(hash, _)| hash).collect()))
}

/// The first `rows` rows.
fn head(batches: &[RecordBatch], mut rows: usize) -> Vec<RecordBatch> {
    let mut kept = Vec::new();
    for batch in batches {
        let some = rows.min(batch.num_rows());
        kept.push(batch.slice(0, some));
        rows -= some;
    }
    kept
}

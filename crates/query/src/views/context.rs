//! A record's neighbours in its stream.
//!
//! Records of one time stand in the order of their content, as they do on pages, so that "before" and "after" mean the
//! same in every answer, wherever the records are kept meanwhile.

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use datafusion::common::Result;
use logmill_model::{TimeRange, field};
use logmill_query_api::{
    Condition, Context, ContextQuery, Filter, Literal, LogQuery, Order, Selection,
};

use super::View;
use crate::page::{PageQuery, all_columns, by_content};
use crate::records;

/// Records of one time, in the order of their content.
struct Group {
    records: RecordBatch,
    hashes: Vec<u128>,
}

impl View<'_> {
    pub(super) async fn context(&self, query: &ContextQuery, key: &[u8; 32]) -> Result<Context> {
        let at = query.timestamp_ns;
        // The range is for the neighbours; the record itself is at its time.
        let matching = self.group(&query.selection, at).await?;
        let (Some(hash), same) = (matching.hashes.first().copied(), matching.hashes.len()) else {
            return Ok(Context {
                before: Vec::new(),
                record: None,
                after: Vec::new(),
                same: 0,
                stats: self.stats(0),
            });
        };
        let stream = stream_of(&matching.records);
        let of_stream = Selection {
            filters: vec![Filter::of(field::STREAM, stream)],
            ..Selection::all(query.selection.tenant.clone(), query.selection.range)
        };
        let group = self.group(&of_stream, at).await?;
        let place = group.hashes.partition_point(|other| *other < hash);
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let (wanted_before, wanted_after) = (size(query.before), size(query.after));
        let near = place.min(wanted_before);
        let mut before = vec![group.records.slice(place - near, near)];
        let behind = group.hashes.len() - place - 1;
        let mut after = vec![group.records.slice(place + 1, behind.min(wanted_after))];
        let older = TimeRange {
            end_ns: at,
            ..query.selection.range
        };
        let newer = TimeRange {
            start_ns: at.saturating_add(1),
            ..query.selection.range
        };
        let missing = wanted_before - near;
        let pages = self.page(&of_stream, older, Order::Desc, missing, key);
        for batch in pages.await? {
            before.insert(0, reversed(&batch)?);
        }
        let missing = wanted_after - behind.min(wanted_after);
        let pages = self.page(&of_stream, newer, Order::Asc, missing, key);
        after.extend(pages.await?);
        let filled = |batches: &mut Vec<RecordBatch>| batches.retain(|batch| batch.num_rows() > 0);
        filled(&mut before);
        filled(&mut after);
        let rows = before
            .iter()
            .chain(&after)
            .map(|batch| batch.num_rows() as u64);
        let rows = rows.sum::<u64>() + 1;
        Ok(Context {
            before,
            record: Some(group.records.slice(place, 1)),
            after,
            same: same as u64 - 1,
            stats: self.stats(rows),
        })
    }

    /// The records of a selection that have this time.
    async fn group(&self, selection: &Selection, at_ns: i64) -> Result<Group> {
        let at = TimeRange {
            start_ns: at_ns,
            end_ns: at_ns.saturating_add(1),
        };
        let selection = Selection {
            range: at,
            ..selection.clone()
        };
        let conditions = records::conditions(&self.table, &selection)?;
        let columns = all_columns(&self.table);
        let plan = self.session.records(conditions, &columns, None).await?;
        let batches = self.session.collect(plan).await?;
        let (records, hashes) = by_content(&batches)?;
        Ok(Group { records, hashes })
    }

    /// The first records of a stream in a range.
    async fn page(
        &self,
        of_stream: &Selection,
        range: TimeRange,
        order: Order,
        limit: usize,
        key: &[u8; 32],
    ) -> Result<Vec<RecordBatch>> {
        if limit == 0 || range.start_ns >= range.end_ns {
            return Ok(Vec::new());
        }
        let query = LogQuery {
            selection: Selection {
                range,
                ..of_stream.clone()
            },
            fields: None,
            order,
            limit: limit as u64,
            cursor: None,
            timeout_ms: None,
        };
        let page = PageQuery {
            session: &self.session,
            table: &self.table,
            query: &query,
            conditions: records::conditions(&self.table, &query.selection)?,
            cursor: None,
            cursor_key: key,
        };
        Ok(page.run(self.begun).await?.batches)
    }
}

/// The condition that tells the stream of the first record.
fn stream_of(records: &RecordBatch) -> Condition {
    let streams = records.column_by_name(field::STREAM);
    let streams = streams.and_then(|column| column.as_string_view_opt());
    match streams.filter(|streams| streams.is_valid(0)) {
        Some(streams) => Condition::In(vec![Literal::String(streams.value(0).to_owned())]),
        None => Condition::Exists(false),
    }
}

fn reversed(batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = (0..batch.num_rows() as u64).rev();
    let rows = arrow_array::UInt64Array::from_iter_values(rows);
    Ok(arrow_select::take::take_record_batch(batch, &rows)?)
}

//! Tails: records as they become visible.
//!
//! A tail begins with a snapshot and what becomes visible after it, so that nothing is missing and nothing is there twice
//! between the latest records and the live ones. Its filter is compiled once, and again when the tenant's columns change;
//! a batch of which nothing matches is not copied.
//!
//! Every record has an id, its place in the queue. A reader that comes back with one is told first what became visible
//! meanwhile, as long as memory has it: those batches go the way of those that arrive.

mod filter;
mod ids;
mod places;
mod queue;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use futures::StreamExt;
use logmill_query_api::{Error, LogQuery, Order, Result, Tail, TailEvent, TailEvents, TailQuery};
use logmill_schema::TableSchema;
use logmill_store::{Followed, Follower};
use tokio::runtime::Handle;

use crate::engine::{Inner, check_limit};
use crate::page::{PageQuery, projection};
use crate::records;
use crate::session::Session;
use crate::stream::AbortOnDrop;

use filter::LiveFilter;
use ids::Ids;
use queue::Writer;

pub(crate) use places::Places;

impl Inner {
    /// Begins a tail: its latest records are there when this is done.
    pub(crate) async fn tail(self: Arc<Self>, query: TailQuery, runtime: Handle) -> Result<Tail> {
        check_limit(query.backfill.max(1), self.limits.page_max_rows)?;
        let limits = &self.limits.tail;
        let place = self
            .tails
            .take(&query.selection.tenant, limits.max_per_tenant)?;
        let tenant = &query.selection.tenant;
        let ids = Ids::of(tenant, &self.cursor_key);
        let told = query.after.as_deref().and_then(|id| ids.position(id));
        let following = self.store.follow_tenant(tenant, told);
        let is_whole = following.is_whole && told.is_some() == query.after.is_some();
        let follower = following.follower;
        let begin = follower.told();
        let table = following.snapshot.schema.clone();
        let session = self.environment.session(tenant, following.snapshot);
        let session = session.map_err(|error| self.translate(&error))?;
        // What subqueries find now is what counts for as long as the tail lasts.
        let selection = self.without_subqueries(&session, &table, &query.selection);
        let selection = selection.await?.into_owned();
        let backfill = if query.after.is_some() {
            0
        } else {
            query.backfill
        };
        let query = LogQuery {
            selection,
            fields: query.fields,
            order: Order::Desc,
            limit: backfill,
            cursor: None,
            timeout_ms: None,
        };
        let (_, warnings) = projection(&table, &query);
        let state = self.environment.state();
        let filter = LiveFilter::new(state, query.clone(), table.as_ref().clone());
        let filter = filter.map_err(|error| self.translate(&error))?;
        let (writer, reader) = queue::queue(limits.queue_bytes, begin);
        if !is_whole {
            writer.miss(None, false);
        }
        let inner = self.clone();
        let task = AbortOnDrop(runtime.spawn(async move {
            if let Err(error) = follow(follower, filter, &writer).await {
                // The tail ends with it: nothing may be missing in silence.
                writer.fail(inner.translate(&error));
            }
        }));
        // What arrives meanwhile waits in the queue.
        let latest = self.latest(&session, &table, &query).await;
        let latest = latest.map_err(|error| self.translate(&error))?;
        let latest = latest.into_iter().rev().map(reversed);
        let latest = latest.map(|batch| {
            let ids = Vec::new();
            batch.map(|batch| TailEvent::Records { batch, ids })
        });
        let keep_alive = Duration::from_millis(limits.keep_alive_ms.max(KEEP_ALIVE_MIN_MS));
        let id = ids.id(begin);
        let live = reader.events(keep_alive, ids, task);
        let events = futures::stream::iter(latest).chain(live).map(move |event| {
            let _until_the_end = &place;
            event.inspect(count)
        });
        let events: TailEvents = Box::pin(events);
        Ok(Tail {
            events,
            id,
            warnings,
        })
    }

    /// The latest records that are there, the newest first.
    async fn latest(
        &self,
        session: &Session,
        table: &TableSchema,
        query: &LogQuery,
    ) -> datafusion::common::Result<Vec<RecordBatch>> {
        if query.limit == 0 {
            return Ok(Vec::new());
        }
        let page = PageQuery {
            session,
            table,
            query,
            conditions: records::conditions(table, &query.selection)?,
            cursor: None,
            cursor_key: &self.cursor_key,
        };
        Ok(page.run(Instant::now()).await?.batches)
    }
}

/// Shortest time without records after which a tail says that it is still there.
const KEEP_ALIVE_MIN_MS: u64 = 100;

/// Puts what matches into the queue, until nothing more is told.
async fn follow(
    mut follower: Follower,
    mut filter: LiveFilter,
    queue: &Writer,
) -> datafusion::common::Result<()> {
    while let Some(followed) = follower.next().await {
        match followed {
            Followed::Batch(first, batch) => {
                if let Some(found) = filter.matching(&batch)? {
                    queue.push(first, found, |rows| filter.take(&batch, rows))?;
                }
                queue.seen(follower.told());
            }
            Followed::Missed(rows) => queue.miss(Some(rows), false),
        }
    }
    Ok(())
}

fn reversed(batch: RecordBatch) -> Result<RecordBatch> {
    let rows = (0..batch.num_rows() as u64).rev();
    let rows = arrow_array::UInt64Array::from_iter_values(rows);
    arrow_select::take::take_record_batch(&batch, &rows).map_err(|error| Error::Engine {
        kind: logmill_model::ErrorKind::Internal,
        message: format!("putting records in order: {error}"),
    })
}

fn count(event: &TailEvent) {
    match event {
        TailEvent::Records { batch, .. } => {
            let records = batch.num_rows() as u64;
            metrics::counter!("logmill_tail_records_total").increment(records);
        }
        TailEvent::Missed { records, .. } => {
            metrics::counter!("logmill_tail_missed_records_total").increment(records.unwrap_or(0));
        }
        TailEvent::Idle { .. } => {}
    }
}

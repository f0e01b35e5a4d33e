//! An answer on its way from the query's threads to whoever asked.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use futures::{Stream, StreamExt};
use logmill_query_api::{Error, Result, StatsHandle};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep_until};

use crate::engine::Running;
use crate::errors::translate;
use crate::session::Session;
use crate::stats::stats;

/// Batches that may wait for a slow reader.
const WAITING_BATCHES: usize = 2;

/// Ends a task when it is dropped.
pub(crate) struct AbortOnDrop<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A plan that runs, and what belongs to it.
pub(crate) struct Execution {
    pub(crate) session: Session,
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) batches: SendableRecordBatchStream,
    pub(crate) stats: StatsHandle,
    pub(crate) begun: Instant,
    pub(crate) memory_limit: u64,
}

/// The bounds of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) timeout: Duration,
    pub(crate) rows: u64,
}

/// The answer as its reader sees it: bounded in rows and in time; dropping it stops the query.
pub(crate) struct Answer {
    receive: mpsc::Receiver<Result<RecordBatch>>,
    deadline: Pin<Box<Sleep>>,
    bounds: Bounds,
    rows: u64,
    ended: bool,
    _task: AbortOnDrop<()>,
    _running: Running,
}

impl Answer {
    /// Runs an execution on the query's threads.
    pub(crate) fn start(
        handle: &Handle,
        execution: Execution,
        bounds: Bounds,
        running: Running,
    ) -> Self {
        let (send, receive) = mpsc::channel(WAITING_BATCHES);
        let deadline = tokio::time::Instant::from_std(execution.begun + bounds.timeout);
        let task = handle.spawn(run(execution, send));
        Self {
            receive,
            deadline: Box::pin(sleep_until(deadline)),
            bounds,
            rows: 0,
            ended: false,
            _task: AbortOnDrop(task),
            _running: running,
        }
    }

    fn end(&mut self, error: Error) -> Poll<Option<Result<RecordBatch>>> {
        self.ended = true;
        self.receive.close();
        crate::engine::count_failure(&error);
        Poll::Ready(Some(Err(error)))
    }
}

async fn run(mut execution: Execution, send: mpsc::Sender<Result<RecordBatch>>) {
    let mut rows = 0;
    while let Some(batch) = execution.batches.next().await {
        let batch = batch.map_err(|error| translate(&error, execution.memory_limit));
        let failed = batch.is_err();
        rows += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        if send.send(batch).await.is_err() || failed {
            return;
        }
        execution
            .stats
            .set(stats(&execution.session, execution.begun, rows));
    }
    execution
        .stats
        .set(stats(&execution.session, execution.begun, rows));
}

impl Stream for Answer {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match self.receive.poll_recv(context) {
            Poll::Ready(Some(Ok(batch))) => {
                self.rows += batch.num_rows() as u64;
                if self.rows > self.bounds.rows {
                    let limit = self.bounds.rows;
                    return self.end(Error::TooManyRows { limit });
                }
                Poll::Ready(Some(Ok(batch)))
            }
            Poll::Ready(Some(Err(error))) => self.end(error),
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => match self.deadline.as_mut().poll(context) {
                Poll::Ready(()) => {
                    let limit_ms =
                        u64::try_from(self.bounds.timeout.as_millis()).unwrap_or(u64::MAX);
                    self.end(Error::Timeout { limit_ms })
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

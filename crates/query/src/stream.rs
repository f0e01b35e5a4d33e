//! An answer on its way from the query's threads to whoever asked.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use futures::{Stream, StreamExt};
use logmill_model::ErrorKind;
use logmill_query_api::{Error, Result, StatsHandle};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep_until, timeout_at};
use tracing::Instrument;

use crate::admission::TimeLimit;
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
    /// What whoever asked should know.
    pub(crate) warnings: Vec<String>,
    pub(crate) begun: std::time::Instant,
    pub(crate) memory_limit: u64,
}

/// The answer as its reader sees it: bounded in rows and in time; dropping it stops the query.
pub(crate) struct Answer {
    receive: mpsc::Receiver<Result<RecordBatch>>,
    time: TimeLimit,
    deadline: Pin<Box<Sleep>>,
    max_rows: u64,
    rows: u64,
    ended: bool,
    task: AbortOnDrop<Result<()>>,
}

impl Answer {
    /// Runs an execution on the query's threads.
    pub(crate) fn start(
        handle: &Handle,
        execution: Execution,
        max_rows: u64,
        running: Running,
    ) -> Self {
        let (send, receive) = mpsc::channel(WAITING_BATCHES);
        let time = running.time;
        let task = async move {
            // A reader that stalls must not keep the query's place and memory for ever.
            let _running = running;
            let run = timeout_at(time.deadline, run(execution, send)).await;
            run.map_err(|_elapsed| time.exceeded())
        };
        let task = task.instrument(tracing::debug_span!("execute"));
        Self::of(receive, handle.spawn(task), time, max_rows)
    }

    fn of(
        receive: mpsc::Receiver<Result<RecordBatch>>,
        task: JoinHandle<Result<()>>,
        time: TimeLimit,
        max_rows: u64,
    ) -> Self {
        Self {
            receive,
            time,
            deadline: Box::pin(sleep_until(time.deadline)),
            max_rows,
            rows: 0,
            ended: false,
            task: AbortOnDrop(task),
        }
    }

    /// How the task ended that sends no more.
    fn outcome(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.task.0).poll(context).map(|ended| {
            ended.unwrap_or_else(|panicked| {
                Err(Error::Engine {
                    kind: ErrorKind::Internal,
                    message: format!("a query task: {panicked}"),
                })
            })
        })
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
                if self.rows > self.max_rows {
                    let limit = self.max_rows;
                    return self.end(Error::TooManyRows { limit });
                }
                Poll::Ready(Some(Ok(batch)))
            }
            Poll::Ready(Some(Err(error))) => self.end(error),
            Poll::Ready(None) => match self.outcome(context) {
                Poll::Ready(Ok(())) => {
                    self.ended = true;
                    Poll::Ready(None)
                }
                Poll::Ready(Err(error)) => self.end(error),
                Poll::Pending => Poll::Pending,
            },
            Poll::Pending => match self.deadline.as_mut().poll(context) {
                Poll::Ready(()) => {
                    let error = self.time.exceeded();
                    self.end(error)
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_answer_whose_task_panics_ends_with_an_error() {
        let (send, receive) = mpsc::channel(WAITING_BATCHES);
        let task = tokio::spawn(async move {
            let batch = RecordBatch::new_empty(Arc::new(arrow_schema::Schema::empty()));
            send.send(Ok(batch)).await.unwrap();
            panic!("a bug");
        });
        let time = TimeLimit::from_now(Duration::from_secs(60));
        let mut answer = Answer::of(receive, task, time, 10);
        assert!(answer.next().await.unwrap().is_ok());
        let error = answer.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(answer.next().await.is_none());
    }
}

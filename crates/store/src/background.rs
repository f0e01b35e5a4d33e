//! Work that takes the processor for long, on threads of its own: requests never wait for it.

use std::sync::mpsc;

use tokio::sync::oneshot;

use crate::{Error, Result};

/// How much a background thread yields to others, as `nice` counts it.
const NICENESS: i32 = 5;

type Work = Box<dyn FnOnce() + Send>;

/// A thread that does one piece of work after the other. It stays: a new thread would begin with fresh memory, which
/// is slow. It ends with its owner, after what it was given.
#[derive(Debug)]
pub(crate) struct Worker {
    name: &'static str,
    work: mpsc::Sender<Work>,
}

impl Worker {
    /// Starts a thread of lower priority, named for profilers and people.
    pub(crate) fn start(name: &'static str) -> Result<Self> {
        let (work, receive) = mpsc::channel::<Work>();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let spawned = thread.spawn(move || {
            // On Linux a priority is a thread's. Where it may not be lowered, the work is done all the same.
            let _ = rustix::process::nice(NICENESS);
            while let Ok(work) = receive.recv() {
                // What panics answers by dropping its sender; the thread goes on.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            }
        });
        spawned.map_err(|error| Error::Internal(format!("starting the thread {name}: {error}")))?;
        Ok(Self { name, work })
    }

    /// Does `work` on the thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = oneshot::channel();
        let work = Box::new(move || {
            let _ = send.send(work());
        });
        let gone = |what: &str| Error::Internal(format!("{}: {what}", self.name));
        self.work
            .send(work)
            .map_err(|_ended| gone("the thread is gone"))?;
        receive
            .await
            .map_err(|_panicked| gone("the work panicked"))?
    }
}

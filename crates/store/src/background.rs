//! Work that takes the processor for long, on threads of its own: requests never wait for it.

use tokio::sync::oneshot;

use crate::{Error, Result};

/// How much a background thread yields to others, as `nice` counts it.
const NICENESS: i32 = 5;

/// Runs `work` on a new thread of lower priority, named for profilers and people.
pub(crate) async fn run<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (send, receive) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(move || {
        // On Linux a priority is a thread's. Where it may not be lowered, the work is done all the same.
        let _ = rustix::process::nice(NICENESS);
        let _ = send.send(work());
    });
    spawned.map_err(|error| Error::Internal(format!("starting the thread {name}: {error}")))?;
    let done = receive.await;
    done.map_err(|_panicked| Error::Internal(format!("{name} panicked")))?
}

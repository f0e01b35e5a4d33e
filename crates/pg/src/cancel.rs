//! Stopping the query of another connection: a client that wants it opens a new connection and shows what only the
//! first one was told.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use tokio_util::sync::CancellationToken;

/// The connections whose queries can be stopped.
#[derive(Debug, Default)]
pub(crate) struct Cancels {
    connections: Mutex<HashMap<i32, Connection>>,
}

#[derive(Debug)]
struct Connection {
    secret: i32,
    /// Of the query that runs.
    running: Option<CancellationToken>,
}

/// A connection's place in the table; it leaves with it.
#[derive(Debug)]
pub(crate) struct Cancellable {
    cancels: Arc<Cancels>,
    pub(crate) process_id: i32,
    pub(crate) secret: i32,
}

impl Cancels {
    pub(crate) fn enter(self: &Arc<Self>) -> Cancellable {
        let mut random = rand::rng();
        let secret = random.random();
        let mut connections = self.connections.lock();
        let process_id = loop {
            let process_id = random.random_range(1..i32::MAX);
            if !connections.contains_key(&process_id) {
                break process_id;
            }
        };
        let connection = Connection {
            secret,
            running: None,
        };
        connections.insert(process_id, connection);
        Cancellable {
            cancels: self.clone(),
            process_id,
            secret,
        }
    }

    /// Stops what runs on a connection, if the secret is its own; who asks is told nothing.
    pub(crate) fn cancel(&self, process_id: i32, secret: i32) {
        let connections = self.connections.lock();
        if let Some(connection) = connections.get(&process_id)
            && connection.secret == secret
            && let Some(running) = &connection.running
        {
            running.cancel();
        }
    }
}

impl Cancellable {
    /// A query begins.
    pub(crate) fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        self.set(Some(token.clone()));
        token
    }

    /// What comes for it now comes too late.
    pub(crate) fn end(&self) {
        self.set(None);
    }

    fn set(&self, running: Option<CancellationToken>) {
        if let Some(connection) = self.cancels.connections.lock().get_mut(&self.process_id) {
            connection.running = running;
        }
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.cancels.connections.lock().remove(&self.process_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_stops_a_query() {
        let cancels = Arc::new(Cancels::default());
        let one = cancels.enter();
        let other = cancels.enter();
        let (running, unharmed) = (one.begin(), other.begin());
        cancels.cancel(one.process_id, one.secret.wrapping_add(1));
        assert!(!running.is_cancelled());
        cancels.cancel(one.process_id, one.secret);
        assert!(running.is_cancelled() && !unharmed.is_cancelled());
        one.end();
        cancels.cancel(one.process_id, one.secret);
        drop(one);
        assert_eq!(cancels.connections.lock().len(), 1);
    }
}

//! Connections: accepted, served, and ended in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use logmill_query_api::QueryEngine;
use logmill_server::{Auth, Tls, WriteTimeout};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cancel::Cancels;
use crate::options::PgOptions;
use crate::session::Session;
use crate::startup::{self, Arrival};
use crate::wire::Failure;

/// Pause after an accept that failed (no file descriptors left, for instance).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Connections beyond the bound that are told so, or want another's query stopped.
const SPARE_CONNECTIONS: usize = 16;

/// What connections need.
pub struct Parts {
    /// Answers.
    pub engine: Arc<dyn QueryEngine>,
    /// Says who may ask.
    pub auth: Arc<Auth>,
    /// Secures connections whose clients want it.
    pub tls: Option<Arc<Tls>>,
    /// Settings of the protocol.
    pub options: PgOptions,
    /// Longest time in which a client may take nothing of its answer.
    pub write_timeout: Duration,
    /// How long queries may take to end once the server is told to stop.
    pub shutdown_grace: Duration,
    /// Why nobody is answered here, where that is so.
    pub refusal: Option<String>,
}

/// What connections share.
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) cancels: Arc<Cancels>,
    pub(crate) stop: CancellationToken,
}

/// Serves connections of `listener` until `stop` is cancelled, then finishes the queries under way within the grace.
pub async fn serve(listener: TcpListener, parts: Parts, stop: CancellationToken) {
    let most = usize::try_from(parts.options.connections_max).unwrap_or(usize::MAX);
    let most = most.min(Semaphore::MAX_PERMITS - SPARE_CONNECTIONS);
    let places = Arc::new(Semaphore::new(most));
    let sockets = Arc::new(Semaphore::new(most + SPARE_CONNECTIONS));
    let grace = parts.shutdown_grace;
    let shared = Arc::new(Shared {
        parts,
        cancels: Arc::default(),
        stop: stop.clone(),
    });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => continue,
            accepted = accept(&listener, &sockets) => accepted,
        };
        let Some((stream, peer, socket)) = accepted else {
            continue;
        };
        let place = places.clone().try_acquire_owned().ok();
        connections.spawn(converse(shared.clone(), stream, peer, place, socket));
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, ended).await.is_err() {
        tracing::warn!(
            ?grace,
            "queries over PostgreSQL's protocol were still under way; they are broken off"
        );
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    sockets: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let socket = sockets.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            Some((stream, peer, socket))
        }
        Err(error) => {
            tracing::warn!(%error, "accepting a connection failed");
            tokio::time::sleep(ACCEPT_RETRY).await;
            None
        }
    }
}

/// A conversation from its start to its end.
async fn converse(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    place: Option<OwnedSemaphorePermit>,
    _socket: OwnedSemaphorePermit,
) {
    let arrival = Arrival {
        address: peer.ip().to_canonical(),
        has_place: place.is_some(),
    };
    let stream = WriteTimeout::new(stream, shared.parts.write_timeout);
    let patience = Duration::from_millis(shared.parts.options.login_timeout_ms);
    let opened = tokio::select! {
        opened = tokio::time::timeout(patience, startup::open(stream, &arrival, &shared)) => opened,
        // Nothing was asked yet.
        () = shared.stop.cancelled() => return,
    };
    let outcome = match opened {
        Ok(Ok(Some(opened))) => {
            metrics::gauge!("logmill_pg_connections").increment(1.0);
            let outcome = Session::new(shared, opened).run().await;
            metrics::gauge!("logmill_pg_connections").decrement(1.0);
            outcome
        }
        Ok(Ok(None)) => Ok(()),
        Ok(Err(failure)) => Err(failure),
        Err(_elapsed) => {
            tracing::debug!(%peer, "a connection did not log in in time");
            Ok(())
        }
    };
    match outcome {
        Ok(()) => {}
        Err(Failure::Told(error)) => {
            tracing::debug!(%peer, code = error.code, error = error.message, "a connection was ended");
        }
        Err(Failure::Gone(error)) => tracing::debug!(%peer, %error, "a connection ended early"),
    }
}

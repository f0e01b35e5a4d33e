//! Connections: accepted, served, and ended in order.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

use crate::auth::{self, RemoteAddress};
use crate::error::ApiError;
use crate::options::size;
use crate::tls::Tls;
use crate::write_timeout::WriteTimeout;
use crate::{AppState, body, openapi, request_id, role};

/// What ends a server before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The metrics recorder could not be installed.
    #[error("installing the metrics: {0}")]
    Metrics(String),
    /// Certificate or key are not good.
    #[error("TLS: {0}")]
    Tls(String),
}

/// Pause after an accept that failed (no file descriptors left, for instance).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves connections of `listener`, in plain HTTP or secured by `tls`, until `stop` is cancelled, then finishes the
/// requests under way within the grace.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    state: AppState,
    stop: CancellationToken,
) -> Result<(), Error> {
    let options = state.options.clone();
    let write_timeout = Duration::from_millis(options.write_timeout_ms);
    let router = router(state.clone());
    // HTTP/1.1 alone: while it tells HTTP/2 apart, hyper waits for a silent client without a bound.
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(options.header_timeout_ms));
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let upkeep = AbortOnDrop(tokio::spawn(keep_metrics(state.clone())));
    let auth = state.auth.clone();
    let access = AbortOnDrop(tokio::spawn(async move { auth.keep_up().await }));
    let certificate = tls.clone().map(|tls| {
        let follow = async move { tls.keep_up().await };
        AbortOnDrop(tokio::spawn(follow))
    });
    let handshake_timeout = Duration::from_millis(options.header_timeout_ms);
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(
        size(options.connections_max).min(Semaphore::MAX_PERMITS),
    ));
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => continue,
            stream = accept(&listener, &places) => stream,
        };
        let Some((stream, peer, place)) = stream else {
            continue;
        };
        let service = service(router.clone(), RemoteAddress(peer));
        let stream = WriteTimeout::new(stream, write_timeout);
        let (builder, watcher) = (builder.clone(), graceful.watcher());
        let (acceptor, stopped) = (tls.as_ref().map(|tls| tls.acceptor()), stop.clone());
        connections.spawn(async move {
            let served = async {
                let Some(acceptor) = acceptor else {
                    let connection = builder.serve_connection(TokioIo::new(stream), service);
                    return watcher.watch(connection.into_owned()).await;
                };
                let secured = tokio::time::timeout(handshake_timeout, acceptor.accept(stream));
                let stream = tokio::select! {
                    secured = secured => secured??,
                    // Nothing was asked yet.
                    () = stopped.cancelled() => return Ok(()),
                };
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                watcher.watch(connection.into_owned()).await
            };
            if let Err(error) = served.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    state.stop();
    let grace = Duration::from_millis(options.shutdown_grace_ms);
    if tokio::time::timeout(grace, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            ?grace,
            "requests were still under way after the grace; they are broken off"
        );
    }
    drop((upkeep, access, certificate));
    state.auth.finish().await;
    Ok(())
}

/// How often the samples of histograms are folded into their buckets, whether anybody asks for them or not.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

async fn keep_metrics(state: AppState) {
    loop {
        tokio::time::sleep(METRICS_UPKEEP).await;
        state.metrics.upkeep();
    }
}

/// Ends a task when it is dropped.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            Some((stream, peer.ip(), place))
        }
        Err(error) => {
            tracing::warn!(%error, "accepting a connection failed");
            tokio::time::sleep(ACCEPT_RETRY).await;
            None
        }
    }
}

fn service(
    router: Router,
    peer: RemoteAddress,
) -> impl hyper::service::Service<
    http::Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future = impl Future<Output = Result<Response, Infallible>> + Send,
> + Clone {
    service_fn(move |mut request: http::Request<Incoming>| {
        let router = router.clone();
        request.extensions_mut().insert(peer);
        async move { router.oneshot(request.map(axum::body::Body::new)).await }
    })
}

/// All routes and what is around them.
fn router(state: AppState) -> Router {
    let mut protected = openapi::protected_routes();
    if state.auth.is_required() {
        let auth = state.auth.clone();
        let layer = middleware::from_fn_with_state(auth, auth::require_credential);
        protected = protected.route_layer(layer);
    }
    let (router, document) = openapi::open_routes().merge(protected).split_for_parts();
    for (route, item) in &document.paths.paths {
        let operations = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
        ];
        for (method, operation) in operations {
            if operation.is_some() {
                crate::metrics::begin_route(method, route);
            }
        }
    }
    let swagger = utoipa_swagger_ui::SwaggerUi::new("/docs").url("/openapi.json", document);
    router
        .layer(middleware::from_fn_with_state(state.clone(), role::layer))
        .with_state(state)
        .merge(swagger)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(body::drain_rest))
        .layer(middleware::from_fn(request_id::layer))
}

async fn not_found(request: Request) -> ApiError {
    let message = format!("there is nothing at {}: see /docs", request.uri().path());
    ApiError::new(http::StatusCode::NOT_FOUND, "not_found", message)
}

async fn method_not_allowed(request: Request) -> ApiError {
    let message = format!(
        "{} does not take {}: see /docs",
        request.uri().path(),
        request.method()
    );
    ApiError::new(
        http::StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    metrics::counter!("logmill_panics_total").increment(1);
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic");
    ApiError::internal(&format!("panic: {text}")).into_response()
}

//! A name for each request: taken over from the client or made, returned, and in every line of the log.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method};
use std::time::Instant;
use tracing::{Instrument, Span};
use ulid::Ulid;

const HEADER: &str = "x-request-id";
const LONGEST: usize = 128;
/// What probes and scrapers ask for, every few seconds.
const UNTRACED_ROUTES: [&str; 3] = ["/health", "/health/ready", "/metrics"];

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that the current task serves.
pub(crate) fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Work for another thread that is still the current request's: its log lines and its answers carry the id.
pub(crate) fn carry<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let (id, span) = (current(), Span::current());
    move || CURRENT.sync_scope(id, || span.in_scope(work))
}

/// Methods are the client's to invent; a label's values must be few.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// The request's span, for the log, and where traces are wanted for its trace.
fn span(id: &str, method: &'static str, route: &str, headers: &HeaderMap) -> Span {
    if !logmill_telemetry::is_on() {
        return tracing::info_span!("request", id, method, route);
    }
    if UNTRACED_ROUTES.contains(&route) {
        return tracing::info_span!(target: logmill_telemetry::UNTRACED, "request", id, method, route);
    }
    let kind = "server";
    let trace_id = tracing::field::Empty;
    let span = tracing::info_span!("request", id, method, route, otel.kind = kind, trace_id);
    logmill_telemetry::continue_from_headers(&span, headers);
    if let Some(id) = logmill_telemetry::begin_request(&span, method, route) {
        span.record("trace_id", id);
    }
    span
}

/// Gives the request its id and its span, and counts it.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            !id.is_empty() && id.len() <= LONGEST && id.bytes().all(|b| b.is_ascii_graphic())
        })
        .map_or_else(|| Ulid::generate().to_string(), str::to_owned);
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unknown", MatchedPath::as_str);
    let route = route.to_owned();
    let method = known_method(request.method());
    let span = span(&id, method, &route, request.headers());
    let begun = Instant::now();
    let served = CURRENT
        .scope(id.clone(), next.run(request))
        .instrument(span.clone());
    let mut response = served.await;
    let status = response.status();
    let elapsed = begun.elapsed();
    logmill_telemetry::end_request(&span, status);
    span.in_scope(|| tracing::debug!(status = status.as_u16(), ?elapsed, "served"));
    let seconds = elapsed.as_secs_f64();
    metrics::histogram!("logmill_http_request_seconds", "route" => route.clone()).record(seconds);
    let labels = [
        ("method", method.to_owned()),
        ("route", route),
        ("status", status.as_u16().to_string()),
    ];
    metrics::counter!("logmill_http_requests_total", &labels).increment(1);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_on_another_thread_knows_its_request() {
        let work = async { tokio::task::spawn_blocking(carry(current)).await.unwrap() };
        assert_eq!(CURRENT.scope("mine".to_owned(), work).await, "mine");
    }
}

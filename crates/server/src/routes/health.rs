//! Liveness, readiness, metrics.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, header};
use logmill_store::ComponentHealth;
use serde::Serialize;
use utoipa::ToSchema;

use crate::AppState;
use crate::auth::{MetricsReader, Operator};
use crate::error::{ApiError, public_failure};

/// The process serves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(example = "ok")]
    status: &'static str,
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Whether requests can be served, and by which components.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready`, `stopping` or `failing`.
    #[schema(example = "ready")]
    status: &'static str,
    /// For operators, and for all where nobody is asked for credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    components: Option<Vec<Component>>,
}

/// A component's state.
#[derive(Debug, Serialize, ToSchema)]
struct Component {
    /// `wal`, `memtable`, `catalog`, `compaction`, `object_store`.
    #[schema(example = "wal")]
    name: &'static str,
    #[schema(example = "ok")]
    status: &'static str,
    /// Why it does not work, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
}

impl From<ComponentHealth> for Component {
    fn from(health: ComponentHealth) -> Self {
        let ComponentHealth { name, failure } = health;
        let failure = failure.map(|failure| {
            tracing::warn!(component = name, failure, "not ready");
            public_failure(name, &failure)
        });
        let status = if failure.is_none() { "ok" } else { "failing" };
        Self {
            name,
            status,
            failure,
        }
    }
}

/// Whether the process lives.
#[utoipa::path(get, path = "/health", tag = "operation", security(()),
    responses((status = 200, description = "It does", body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Whether the server can do its work, component by component.
#[utoipa::path(get, path = "/health/ready", tag = "operation", security(()),
    responses(
        (status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "A component does not work, or the server is stopping", body = Readiness),
    ))]
pub(crate) async fn ready(
    State(state): State<AppState>,
    operator: Result<Operator, ApiError>,
) -> Response {
    let components: Vec<Component> = state
        .store
        .health()
        .await
        .into_iter()
        .map(Component::from)
        .collect();
    let (code, status) = if state.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else if components
        .iter()
        .any(|component| component.failure.is_some())
    {
        (StatusCode::SERVICE_UNAVAILABLE, "failing")
    } else {
        (StatusCode::OK, "ready")
    };
    let components = operator.is_ok().then_some(components);
    (code, Json(Readiness { status, components })).into_response()
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "Prometheus text format", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(state): State<AppState>, _: MetricsReader) -> Response {
    state.store.report();
    let text = state.metrics.render();
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response()
}

/// Somebody opened the server in a browser.
pub(crate) async fn home() -> Redirect {
    Redirect::temporary("/docs/")
}

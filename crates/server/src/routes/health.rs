//! Liveness, readiness, metrics.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, header};
use logmill_store::{ComponentHealth, FleetStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::AppState;
use crate::error::public_failure;

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
    /// `ready`, `degraded` (something does not work, and requests are served all the same), `stopping` or `failing`.
    #[schema(example = "ready")]
    status: &'static str,
    /// What the process does: `api`, `worker`, `query`, `all`.
    #[schema(example = "all")]
    role: &'static str,
    components: Vec<Component>,
    /// The queue, where many processes share the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<SharedQueue>,
}

/// What the queue promises, and how full it is.
#[derive(Debug, Serialize, ToSchema)]
struct SharedQueue {
    /// When Redis has an entry on its disk: `always` before it answers, `everysec` within a second, `memory` maybe never;
    /// none where it does not say.
    durability: Option<&'static str>,
    /// Replicas that have to confirm an entry.
    wait_replicas: u32,
    partitions: u32,
    /// Those that this process works on.
    led: Vec<u32>,
    /// Entries that wait for workers, or for followers.
    entries: u64,
    dead_letters: u64,
}

impl From<FleetStatus> for SharedQueue {
    fn from(status: FleetStatus) -> Self {
        let redis = status.redis.as_ref();
        let durability = redis.and_then(|redis| redis.durability);
        Self {
            durability: durability.map(|durability| durability.as_str()),
            wait_replicas: redis.map_or(0, |redis| redis.wait_replicas),
            partitions: status.partitions,
            led: status.led,
            entries: redis.map_or(0, |redis| redis.entries),
            dead_letters: redis.map_or(0, |redis| redis.dead_letters),
        }
    }
}

/// A component's state.
#[derive(Debug, Serialize, ToSchema)]
struct Component {
    /// `wal`, `memtable`, `catalog`, `compaction`, `object_store`; `queue`, `follower`, `catalog_follower`, `leases`.
    #[schema(example = "wal")]
    name: &'static str,
    #[schema(example = "ok")]
    status: &'static str,
    /// Requests fail while it does not work.
    needed: bool,
    /// Why it does not work, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
}

impl From<ComponentHealth> for Component {
    fn from(health: ComponentHealth) -> Self {
        let ComponentHealth {
            name,
            needed,
            failure,
        } = health;
        let failure = failure.map(|failure| {
            tracing::warn!(component = name, failure, "not ready");
            public_failure(name, &failure)
        });
        let status = if failure.is_none() { "ok" } else { "failing" };
        Self {
            needed,
            name,
            status,
            failure,
        }
    }
}

/// Whether the process lives.
#[utoipa::path(get, path = "/health", tag = "operation",
    responses((status = 200, description = "It does", body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Whether the server can do its work, component by component.
#[utoipa::path(get, path = "/health/ready", tag = "operation",
    responses(
        (status = 200, description = "Ready, or degraded", body = Readiness),
        (status = 503, description = "A component that requests need does not work, or the server is stopping", body = Readiness),
    ))]
pub(crate) async fn ready(State(state): State<AppState>) -> Response {
    let components: Vec<Component> = state
        .store
        .health()
        .await
        .into_iter()
        .map(Component::from)
        .collect();
    let (code, status) = if state.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else if components.iter().any(|c| c.needed && c.failure.is_some()) {
        (StatusCode::SERVICE_UNAVAILABLE, "failing")
    } else if components.iter().any(|c| c.failure.is_some()) {
        (StatusCode::OK, "degraded")
    } else {
        (StatusCode::OK, "ready")
    };
    let readiness = Readiness {
        status,
        role: state.store.role().as_str(),
        components,
        queue: state.store.fleet_status().map(SharedQueue::from),
    };
    (code, Json(readiness)).into_response()
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "Prometheus text format", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(state): State<AppState>) -> Response {
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

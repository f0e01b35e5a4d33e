//! The HTTP surface: routes, limits, metrics, OpenAPI.
//!
//! Invariant: no DataFusion and no SQL database here; questions go through `query_api::QueryEngine`, records through
//! `store::Store`.

mod body;
mod budget;
mod error;
mod metrics;
mod openapi;
mod options;
mod request_id;
mod role;
mod routes;
mod serve;
mod state;
mod tenant;
mod write_timeout;

pub use metrics::{MetricsHandle, install_metrics};
pub use openapi::document;
pub use options::ServerOptions;
pub use serve::{Error, serve};
pub use state::AppState;

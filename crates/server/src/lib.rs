//! The HTTP surface: routes, limits, metrics, OpenAPI.
//!
//! Invariant: no DataFusion and no SQL database here; questions go through `query_api::QueryEngine`, records through
//! `store::Store`, keys and tenants through `catalog::Access`.

mod auth;
mod body;
mod budget;
mod error;
mod metrics;
mod openapi;
mod options;
mod quota;
mod request_id;
mod role;
mod routes;
mod serve;
mod state;
mod tls;
mod write_timeout;

pub use auth::{Auth, AuthMode, AuthOptions, Entry, JwtOptions, Login, PublicError, Secret};
pub use metrics::{MetricsHandle, install_metrics};
pub use openapi::document;
pub use options::ServerOptions;
pub use quota::{Bucket, LocalQuotas, Place, QuotaCounters, RateQuota, SharedQuotas};
pub use routes::admin::keys::KeyStatus;
pub use routes::admin::tenants::{Quotas, Retention, TenantSettings, TenantStatus};
pub use serve::{Error, serve};
pub use state::AppState;
pub use tls::Tls;
pub use write_timeout::WriteTimeout;

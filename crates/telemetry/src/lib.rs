//! Logmill's own traces and metrics by OTLP, as the customary variables `OTEL_*` say.
//!
//! Without an endpoint in the environment nothing is begun, and [`is_on`] is false for ever: then no span of a trace is made, and
//! none of the functions here looks at one. This is the only crate that knows OpenTelemetry; others make spans of `tracing`
//! and carry a [`TraceContext`] from one process to the next.

mod context;
mod http_client;
mod metrics;
mod prometheus_text;
mod settings;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::{Layer, Registry};

use crate::metrics::MetricsExport;
use crate::settings::{MetricsTarget, Settings};

pub use context::{TraceContext, continue_from, continue_from_headers, failed, is_on, link};
pub use context::{begin_request, end_request, record_tenant};

/// The target of spans that are for the log alone: requests of probes and scrapers would be most of all traces.
pub const UNTRACED: &str = "logmill::untraced";

/// How long the last traces and metrics may take when the process ends.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// Why traces and metrics cannot be exported as the environment says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable has a value that is not understood.
    #[error("{name} is {value:?}: {expected}")]
    Variable {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The exporter refuses what the environment says.
    #[error("exporting traces: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The certificates of authorities could not be read.
    #[error("reading the certificates that this machine trusts: {0}")]
    Certificates(#[source] std::io::Error),
}

/// Who speaks.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// Logmill's version.
    pub version: &'a str,
    /// What the process does: `all`, `api`, `worker`, `query`.
    pub role: &'a str,
}

/// Traces and metrics of the process, as far as somebody wants them.
#[derive(Debug, Default)]
pub struct Telemetry {
    resource: Option<Resource>,
    traces: Option<SdkTracerProvider>,
    metrics_target: Option<MetricsTarget>,
    metrics: Option<MetricsExport>,
}

impl Telemetry {
    /// What the environment asks for; most often nothing. Must be called on a tokio runtime, which the exporters use.
    pub fn from_environment(service: Service<'_>) -> Result<Self, Error> {
        let settings = Settings::read(&|name| std::env::var(name).ok())?;
        if settings.traces.is_none() && settings.metrics.is_none() {
            return Ok(Self::default());
        }
        let resource = traces::resource(service, settings.service_is_named);
        let traces = match settings.traces {
            Some(target) => Some(traces::provider(target, resource.clone())?),
            None => None,
        };
        if traces.is_some() {
            context::turn_on();
        }
        Ok(Self {
            resource: Some(resource),
            traces,
            metrics_target: settings.metrics,
            metrics: None,
        })
    }

    /// What makes traces of spans, if traces are wanted.
    pub fn layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
        self.traces.as_ref().map(traces::layer)
    }

    /// Exports metrics from now on, if that is wanted. `render` gives all of them as Prometheus text.
    pub fn export_metrics(
        &mut self,
        render: impl Fn() -> String + Send + Sync + 'static,
    ) -> Result<(), Error> {
        if let (Some(target), Some(resource)) = (self.metrics_target.take(), &self.resource) {
            let export = MetricsExport::start(target, resource, Arc::new(render))?;
            self.metrics = Some(export);
        }
        Ok(())
    }

    /// Sends what was not sent yet, for 5 s at most.
    pub async fn shutdown(self) {
        if let Some(metrics) = self.metrics {
            metrics.finish(SHUTDOWN_MAX).await;
        }
        if let Some(traces) = self.traces {
            // It waits for a thread that waits for this runtime.
            let ended =
                tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(SHUTDOWN_MAX));
            if let Ok(Err(error)) = ended.await {
                tracing::warn!(%error, "the last traces were not sent");
            }
        }
    }
}

//! Spans of `tracing` become traces that are exported in batches, on a thread of the exporter's.

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::DynFilterFn;
use tracing_subscriber::{Layer, Registry};
use ulid::Ulid;

use crate::http_client::CollectorClient;
use crate::settings::TracesTarget;
use crate::{Error, Service, UNTRACED};

/// Who speaks, with what `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say.
pub(crate) fn resource(service: Service<'_>, is_named: bool) -> Resource {
    let Service { version, role } = service;
    let builder = Resource::builder().with_attributes([
        KeyValue::new("service.version", version.to_owned()),
        KeyValue::new("service.instance.id", Ulid::generate().to_string()),
        KeyValue::new("logmill.role", role.to_owned()),
    ]);
    if is_named {
        builder.build()
    } else {
        builder.with_service_name("logmill").build()
    }
}

/// Exports traces. Endpoint, headers, sampler and the sizes of batches are as the environment says.
pub(crate) fn provider(
    target: TracesTarget,
    resource: Resource,
) -> Result<SdkTracerProvider, Error> {
    let client = CollectorClient::new(target.timeout)?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .build()?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_wanted = metadata.is_span() || *metadata.level() <= Level::WARN;
    target.starts_with("logmill") && target != UNTRACED && is_wanted
}

/// Logmill's own spans, and in them its warnings and errors.
pub(crate) fn layer(provider: &SdkTracerProvider) -> Box<dyn Layer<Registry> + Send + Sync> {
    // A span that every layer always wants would not ask them, and go by what the thread asked last, also where that was
    // only a question (`tracing::enabled!`, as the database's client puts it) and no span came of it.
    let once = |metadata: &Metadata<'_>| match is_ours(metadata) {
        true => Interest::sometimes(),
        false => Interest::never(),
    };
    let filter = DynFilterFn::new(|metadata, _| is_ours(metadata))
        .with_callsite_filter(once)
        .with_max_level_hint(LevelFilter::DEBUG);
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("logmill"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        // Nothing here looks for OpenTelemetry's own notion of a current span.
        .with_context_activation(false)
        .with_filter(filter)
        .boxed()
}

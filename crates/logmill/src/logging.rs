//! Logmill's own log, on standard error, and the traces that are made of the same spans.

use std::io::IsTerminal;

use anyhow::Context;
use logmill_telemetry::Telemetry;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::settings::{LogFormat, LogSettings};

/// Installs the subscriber: readable lines on a terminal, JSON otherwise, or as the settings say.
pub(crate) fn install(settings: &LogSettings, telemetry: &Telemetry) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.filter)
        .with_context(|| format!("log.filter {:?}", settings.filter))?;
    let registry = tracing_subscriber::registry();
    let installed = match telemetry.layer() {
        // What the log leaves out is then off altogether.
        None => registry.with(filter).with(lines(settings)).try_init(),
        Some(traces) => registry
            .with(traces)
            .with(lines(settings).with_filter(filter))
            .try_init(),
    };
    installed.map_err(|error| anyhow::anyhow!("installing the log: {error}"))
}

/// What writes the lines.
fn lines<S>(settings: &LogSettings) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if json {
        return lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed();
    }
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    lines.with_ansi(colour).with_target(false).compact().boxed()
}

//! The place of a piece of work in a trace, and how it goes from one process to the next.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, StatusCode};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Links of one span: a flush may bring thousands of entries into segments.
const LINKS_MAX: usize = 64;

static ON: AtomicBool = AtomicBool::new(false);

/// Whether spans become traces.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

pub(crate) fn turn_on() {
    ON.store(true, Ordering::Relaxed);
}

/// Names a span, here or in another process.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// The current span's; `None` where there is none, or nobody wants traces.
    pub fn current() -> Option<Self> {
        if !is_on() {
            return None;
        }
        let context = Span::current().context();
        let context = context.span().span_context().clone();
        context.is_valid().then_some(Self(context))
    }

    /// As text, in the form of W3C's `traceparent`: 55 characters.
    pub fn to_text(&self) -> String {
        let context = &self.0;
        let flags = context.trace_flags() & TraceFlags::SAMPLED;
        format!(
            "00-{}-{}-{flags:02x}",
            context.trace_id(),
            context.span_id()
        )
    }

    /// Reads [`TraceContext::to_text`]; `None` for what is no such text, or where nobody wants traces.
    pub fn parse(text: &str) -> Option<Self> {
        if !is_on() {
            return None;
        }
        let mut parts = text.split('-');
        let parts = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let [version, trace, span, flags] = parts;
        if version != "00" || trace.len() != 32 || span.len() != 16 {
            return None;
        }
        let context = SpanContext::new(
            TraceId::from_hex(trace).ok()?,
            SpanId::from_hex(span).ok()?,
            TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
            true,
            TraceState::default(),
        );
        context.is_valid().then_some(Self(context))
    }
}

/// Makes a span, before it is entered, a part of a trace that began elsewhere.
pub fn continue_from(span: &Span, context: &TraceContext) {
    if is_on() {
        let parent = opentelemetry::Context::new().with_remote_span_context(context.0.clone());
        // A span that the sampler or a filter leaves out has no parent to be set.
        let _ = span.set_parent(parent);
    }
}

/// Makes a span, before it is entered, a part of the trace that a request's `traceparent` names, if it names one.
pub fn continue_from_headers(span: &Span, headers: &HeaderMap) {
    if is_on() {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        if parent.span().span_context().is_valid() {
            let _ = span.set_parent(parent);
        }
    }
}

/// Links a span to others that led to it: to the first 64 of those that are recorded.
pub fn link<'a>(span: &Span, contexts: impl IntoIterator<Item = &'a TraceContext>) {
    if is_on() {
        let recorded = contexts
            .into_iter()
            .filter(|context| context.0.is_sampled());
        for context in recorded.take(LINKS_MAX) {
            span.add_link(context.0.clone());
        }
    }
}

/// Marks a span as failed.
pub fn failed(span: &Span, error: impl Display) {
    if is_on() {
        span.set_status(Status::error(error.to_string()));
    }
}

/// Gives the span of an HTTP request its name and its attributes; the id of its trace, for the log.
pub fn begin_request(span: &Span, method: &'static str, route: &str) -> Option<String> {
    if !is_on() {
        return None;
    }
    span.set_attribute("http.request.method", method);
    span.set_attribute("http.route", route.to_owned());
    let context = span.context();
    let active = context.span();
    active.update_name(format!("{method} {route}"));
    let context = active.span_context();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// Says in the current span whose request it is.
pub fn record_tenant(tenant: &str) {
    if is_on() {
        Span::current().set_attribute("logmill.tenant", tenant.to_owned());
    }
}

/// Says in the span of an HTTP request how it ended.
pub fn end_request(span: &Span, status: StatusCode) {
    if is_on() {
        span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_survives_as_text_and_nonsense_does_not() {
        turn_on();
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(TraceContext::parse(text).unwrap().to_text(), text);
        for nonsense in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c8031-b7ad6b7169203331-01",
            "00-zzf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(nonsense), None, "{nonsense}");
        }
    }
}

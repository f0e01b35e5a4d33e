//! What traces cost where nobody wants them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use logmill_telemetry::TraceContext;
use tracing::Instrument;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Counts what a thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[allow(unsafe_code, reason = "an allocator is unsafe by its nature")]
// SAFETY: everything is the system's allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from the system's allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The steps of a request's way, as the crates make them.
fn steps(path: &str) {
    let bytes = path.len();
    let span = tracing::debug_span!("append", otel.kind = "producer", bytes);
    let step = async { assert!(TraceContext::current().is_none()) };
    let mut step = std::pin::pin!(step.instrument(span.clone()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(step.as_mut().poll(&mut context).is_ready());
    logmill_telemetry::failed(&span, path);
    logmill_telemetry::record_tenant(path);
    tracing::debug_span!("put", path, bytes).in_scope(|| ());
    assert!(
        TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").is_none()
    );
}

#[test]
fn a_span_that_nobody_wants_costs_no_memory() {
    tracing_subscriber::registry()
        .with(EnvFilter::try_new("info").unwrap())
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::sink))
        .try_init()
        .unwrap();
    let request = tracing::info_span!("request", id = "x");
    let _entered = request.enter();
    // The first time, each place of a span is asked about.
    steps("some/path");
    let before = ALLOCATIONS.with(Cell::get);
    assert!(before > 0);
    for _ in 0..100 {
        steps("some/path");
    }
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
}

//! What the routes share.

use std::sync::Arc;

use logmill_ingest::Decoder;
use logmill_model::Clock;
use logmill_query_api::QueryEngine;
use logmill_store::Store;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::budget::Budget;
use crate::metrics::MetricsHandle;
use crate::options::ServerOptions;

/// The components that the routes call; built once, at start.
#[derive(Clone)]
pub struct AppState {
    pub(crate) store: Arc<Store>,
    pub(crate) engine: Arc<dyn QueryEngine>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: MetricsHandle,
    pub(crate) options: Arc<ServerOptions>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) workbenches: Arc<Workbenches>,
    stopping: CancellationToken,
}

impl AppState {
    /// The state of a server over a store and an engine. The store learns of the tenants' retention.
    pub fn new(
        store: Arc<Store>,
        engine: Arc<dyn QueryEngine>,
        clock: Arc<dyn Clock>,
        metrics: MetricsHandle,
        options: ServerOptions,
        auth: Arc<Auth>,
    ) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        store.set_access(auth.access.clone());
        Self {
            store,
            engine,
            clock,
            metrics,
            budget: Budget::new(options.inflight_max_bytes),
            options: Arc::new(options),
            auth,
            workbenches: Arc::new(Workbenches::new(processors)),
            stopping: CancellationToken::new(),
        }
    }

    /// From now on the server is not ready.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Is cancelled when the server stops: answers without an end end with it.
    pub(crate) fn stopped(&self) -> CancellationToken {
        self.stopping.clone()
    }
}

/// Buffers of a request's decoding, re-used from one to the next: fresh memory is slow.
#[derive(Debug, Default)]
pub(crate) struct Workbench {
    pub(crate) wire: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) decoder: Decoder,
}

/// Buffers that grew beyond this are given back instead of kept.
const KEPT_BYTES: usize = 8 << 20;
/// The same of a decoder, whose columns hold a body once more, and some of it in other shapes.
const DECODER_KEPT_BYTES: usize = 4 * KEPT_BYTES;

/// The workbenches that nobody uses now, and the right to decode: as many at once as there are processors.
#[derive(Debug)]
pub(crate) struct Workbenches {
    idle: Mutex<Vec<Workbench>>,
    kept: usize,
    decoding: Arc<Semaphore>,
}

impl Workbenches {
    fn new(processors: usize) -> Self {
        Self {
            idle: Mutex::default(),
            kept: processors * 2,
            decoding: Arc::new(Semaphore::new(processors)),
        }
    }

    pub(crate) fn take(&self) -> Workbench {
        self.idle.lock().pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&self, mut bench: Workbench) {
        for buffer in [&mut bench.wire, &mut bench.body] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
        if bench.decoder.capacity_bytes() > DECODER_KEPT_BYTES {
            bench.decoder = Decoder::new();
        }
        let mut idle = self.idle.lock();
        if idle.len() < self.kept {
            idle.push(bench);
        }
    }

    pub(crate) fn decoding(&self) -> Arc<Semaphore> {
        self.decoding.clone()
    }
}

#[cfg(test)]
mod tests {
    use logmill_ingest::{BodyFormat, DecodeLimits, DecodeOptions};

    use super::*;

    #[test]
    fn what_one_huge_body_took_is_given_back() {
        let options = DecodeOptions {
            format: BodyFormat::Ndjson,
            received_at_ns: 0,
            defaults: &[],
            limits: &DecodeLimits::default(),
            admit: &|_| true,
        };
        let benches = Workbenches::new(1);
        let mut bench = benches.take();
        let line = format!("{{\"message\":\"{}\"}}\n", "x".repeat(1_000));
        let used = |bench: &mut Workbench, lines: usize| {
            bench.wire = line.repeat(lines).into_bytes();
            bench.decoder.decode(&mut bench.wire, &options).unwrap();
        };
        used(&mut bench, 1_000);
        benches.give_back(bench);
        let mut bench = benches.take();
        assert!(
            bench.decoder.capacity_bytes() >= 1_000_000,
            "small ones are kept"
        );
        used(&mut bench, 50_000);
        assert!(bench.decoder.capacity_bytes() >= 50_000_000);
        benches.give_back(bench);
        let bench = benches.take();
        assert!(bench.decoder.capacity_bytes() <= DECODER_KEPT_BYTES);
        assert!(bench.wire.capacity() <= KEPT_BYTES);
    }
}

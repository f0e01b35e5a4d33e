//! What the fuzz targets do with their bytes: whatever these are, a decoder answers with an error or with something
//! that keeps its promises, and neither panics nor takes memory without a bound.
//!
//! The bodies are a library so that every build notices when one stops compiling, and so that the seeds in `seeds/` are
//! replayed without a fuzzer. `fuzz/` wraps each in a target of libFuzzer.
//!
//! Checksums would stop a fuzzer at the door. So the first byte of most inputs is [`Input::sealed`]: whether the
//! checksums of what follows are made right before it is read.

mod index;
mod ingest;
mod input;
mod log;
mod logsql;
mod payload;
mod rollup;
mod segment;

pub use index::token_index;
pub use ingest::{decompress, ingest_json, ingest_text};
pub use input::Input;
pub use log::wal;
pub use logsql::logsql;
pub use payload::payload;
pub use rollup::rollup;
pub use segment::segment;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of the folder of its seeds.
    pub name: &'static str,
    /// Takes any bytes; panics when something does not keep its promise.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "decompress",
        run: decompress,
    },
    Target {
        name: "ingest_json",
        run: ingest_json,
    },
    Target {
        name: "ingest_text",
        run: ingest_text,
    },
    Target {
        name: "logsql",
        run: logsql,
    },
    Target {
        name: "payload",
        run: payload,
    },
    Target {
        name: "rollup",
        run: rollup,
    },
    Target {
        name: "segment",
        run: segment,
    },
    Target {
        name: "token_index",
        run: token_index,
    },
    Target {
        name: "wal",
        run: wal,
    },
];

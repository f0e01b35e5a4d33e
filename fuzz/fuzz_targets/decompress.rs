//! Compressed bodies: never more than the bound. `cargo fuzz run decompress`
#![no_main]

use libfuzzer_sys::fuzz_target;
use logmill_ingest::{ContentEncoding, decompress};

fuzz_target!(|body: &[u8]| {
    const BOUND: usize = 1 << 16;
    let encodings = [
        ContentEncoding::Identity,
        ContentEncoding::Gzip,
        ContentEncoding::Zstd,
        ContentEncoding::Snappy,
        ContentEncoding::Deflate,
    ];
    let mut out = Vec::new();
    for encoding in encodings {
        if decompress(encoding, body, &mut out, BOUND).is_ok() {
            assert!(out.len() <= BOUND);
        }
    }
});

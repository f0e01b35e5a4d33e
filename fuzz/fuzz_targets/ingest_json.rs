//! JSON bodies: an array and lines. `cargo fuzz run ingest_json`
#![no_main]

use libfuzzer_sys::fuzz_target;
use logmill_ingest::{BodyFormat, DecodeLimits, DecodeOptions, Decoder};

fuzz_target!(|body: &[u8]| {
    let limits = DecodeLimits::default();
    let mut decoder = Decoder::new();
    for format in [BodyFormat::Json, BodyFormat::Ndjson] {
        let options = DecodeOptions {
            format,
            received_at_ns: 0,
            defaults: &[],
            limits: &limits,
            admit: &|name| name.len() % 2 == 0,
        };
        if let Ok(decoded) = decoder.decode(&mut body.to_vec(), &options) {
            let rows = decoded.batch.as_ref().map_or(0, |batch| batch.num_rows());
            assert_eq!(rows as u64, decoded.accepted);
        }
    }
});

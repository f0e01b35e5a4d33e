//! Text bodies in every format: `auto` and `raw` refuse nothing but what is not text. `cargo fuzz run ingest_text`
#![no_main]

use libfuzzer_sys::fuzz_target;
use logmill_ingest::{BodyFormat, DecodeLimits, DecodeOptions, Decoder, TextFormat};

fuzz_target!(|body: &[u8]| {
    let limits = DecodeLimits::default();
    let mut decoder = Decoder::new();
    let formats = [TextFormat::Auto, TextFormat::Raw, TextFormat::Syslog, TextFormat::Logfmt, TextFormat::Clf];
    for format in formats {
        let options = DecodeOptions {
            format: BodyFormat::Text(format),
            received_at_ns: 0,
            defaults: &[],
            limits: &limits,
            admit: &|_| true,
        };
        let _ = decoder.decode(&mut body.to_vec(), &options);
    }
});

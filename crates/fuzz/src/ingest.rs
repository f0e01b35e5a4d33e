//! Bodies of `POST /ingest`.

use logmill_ingest::{
    BodyFormat, ContentEncoding, DecodeLimits, DecodeOptions, Decoder, TextFormat,
    decompress as inflate,
};

/// JSON bodies, an array and lines: every record is either in the batch or refused.
pub fn ingest_json(body: &[u8]) {
    decode(body, &[BodyFormat::Json, BodyFormat::Ndjson]);
}

/// Text bodies in every format.
pub fn ingest_text(body: &[u8]) {
    let formats = [
        TextFormat::Auto,
        TextFormat::Raw,
        TextFormat::Syslog,
        TextFormat::Logfmt,
        TextFormat::Clf,
    ];
    decode(body, &formats.map(BodyFormat::Text));
}

fn decode(body: &[u8], formats: &[BodyFormat]) {
    let limits = DecodeLimits::default();
    let mut decoder = Decoder::new();
    for format in formats {
        let options = DecodeOptions {
            format: *format,
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
}

/// Compressed bodies: never more than the bound.
pub fn decompress(body: &[u8]) {
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
        if inflate(encoding, body, &mut out, BOUND).is_ok() {
            assert!(out.len() <= BOUND);
        }
    }
}

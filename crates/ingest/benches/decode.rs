//! Decoding NDJSON into a record batch, batches of 1 MB.
//!
//! `LOGMILL_BENCH_FILE` names the NDJSON; without it, made-up records are used.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use logmill_ingest::{BodyFormat, DecodeLimits, DecodeOptions, Decoder};

fn bodies() -> Vec<Vec<u8>> {
    let text = match std::env::var_os("LOGMILL_BENCH_FILE") {
        Some(path) => std::fs::read(path).expect("LOGMILL_BENCH_FILE is readable"),
        None => (0..100_000).fold(Vec::new(), |mut text, n| {
            let line = format!(
                "{{\"timestamp\":\"2026-11-20T10:00:00.{n:06}Z\",\"level\":\"info\",\"service\":\"s{}\",\"host\":\"h{}\",\
                 \"message\":\"request {n} took some time\",\"http\":{{\"status\":200,\"ms\":{}.5}}}}\n",
                n % 7,
                n % 31,
                n % 100
            );
            text.extend_from_slice(line.as_bytes());
            text
        }),
    };
    let mut bodies: Vec<Vec<u8>> = vec![Vec::new()];
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let last = bodies.last_mut().expect("there is one");
        if last.len() + line.len() > 1_000_000 {
            bodies.push(line.to_vec());
        } else {
            last.extend_from_slice(line);
        }
    }
    bodies
}

fn decode(criterion: &mut Criterion) {
    let bodies = bodies();
    let limits = DecodeLimits::default();
    let options = DecodeOptions {
        format: BodyFormat::Ndjson,
        received_at_ns: 0,
        defaults: &[],
        limits: &limits,
        admit: &|_| true,
    };
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group("decode");
    group
        .throughput(Throughput::Bytes(bytes as u64))
        .sample_size(10);
    let mut decoder = Decoder::new();
    let mut body = Vec::new();
    group.bench_function("ndjson", |bencher| {
        bencher.iter(|| {
            for source in &bodies {
                body.clear();
                body.extend_from_slice(source);
                decoder
                    .decode(&mut body, &options)
                    .expect("the records are good");
            }
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);

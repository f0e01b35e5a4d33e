//! Encoding record batches into a segment.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow_schema::Schema;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use logmill_schema::ColumnType;
use logmill_segment::{SegmentOptions, encode};

#[allow(clippy::cast_precision_loss, reason = "small numbers")]
fn batch(rows: i64, offset: i64) -> RecordBatch {
    let times = TimestampNanosecondArray::from_iter_values((0..rows).map(|n| (n + offset) * 1_037));
    let service: DictionaryArray<Int32Type> = (0..rows)
        .map(|n| Some(["a", "b", "c"][n as usize % 3]))
        .collect();
    let message = StringArray::from_iter_values((0..rows).map(|n| {
        format!(
            "request {} of user {} took a while",
            n + offset,
            n * 7919 % 1_000
        )
    }));
    let fields = vec![
        ColumnType::Timestamp.field("timestamp"),
        ColumnType::String.field("service"),
        ColumnType::String.field("message"),
        ColumnType::Integer.field("status"),
        ColumnType::Float.field("ms"),
    ];
    let columns: Vec<arrow_array::ArrayRef> = vec![
        Arc::new(times.with_timezone("UTC")),
        Arc::new(service),
        Arc::new(message),
        Arc::new(Int64Array::from_iter(
            (0..rows).map(|n| (n % 4 == 0).then_some(n % 7)),
        )),
        Arc::new(Float64Array::from_iter_values(
            (0..rows).map(|n| (n % 997) as f64 / 3.0),
        )),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns fit the schema")
}

fn encode_segment(criterion: &mut Criterion) {
    let batches: Vec<_> = (0..50).map(|n| batch(4_000, n * 4_000)).collect();
    let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
    let mut group = criterion.benchmark_group("segment");
    group
        .throughput(Throughput::Bytes(bytes as u64))
        .sample_size(10);
    let mut out = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            encode(&batches, &SegmentOptions::default(), &mut out).expect("rows are good")
        });
    });
    group.finish();
}

criterion_group!(benches, encode_segment);
criterion_main!(benches);

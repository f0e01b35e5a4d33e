//! Making segments: sorting and encoding rows, finding their tokens, merging; and looking tokens up.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow_schema::Schema;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use logmill_schema::ColumnType;
use logmill_segment::{
    Blocks, ColumnSeed, Newest, Rollup, RowGroupBytes, SegmentFile, SegmentOptions, SegmentWriter,
    TokenIndex, ValueCounts, encode, ordered, token_hash, token_hashes,
};

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

fn batches() -> Vec<RecordBatch> {
    (0..50).map(|n| batch(4_000, n * 4_000)).collect()
}

/// Bytes of the batches as they are in memory: what the throughput of all that encodes them is counted in.
fn bytes(batches: &[RecordBatch]) -> Throughput {
    let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
    Throughput::Bytes(bytes as u64)
}

fn encode_segment(criterion: &mut Criterion) {
    let batches = batches();
    let mut group = criterion.benchmark_group("segment");
    group.throughput(bytes(&batches)).sample_size(10);
    let mut out = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            encode(&batches, &SegmentOptions::default(), &mut out).expect("rows are good")
        });
    });
    group.bench_function("sort", |bencher| {
        bencher.iter(|| ordered(&batches).expect("rows are good"));
    });
    group.finish();
}

fn tokenise(criterion: &mut Criterion) {
    let batches = batches();
    let messages = || {
        let columns = batches.iter().filter_map(|b| b.column_by_name("message"));
        columns.flat_map(|column| column.as_string::<i32>().iter().flatten())
    };
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Bytes(
        messages().map(str::len).sum::<usize>() as u64
    ));
    group.bench_function("tokenise", |bencher| {
        bencher.iter(|| {
            let mut all = 0;
            token_hashes(ColumnSeed::of("message"), messages(), |hash| all ^= hash);
            all
        });
    });
    group.finish();
}

/// A segment in memory, and its index.
fn segment() -> (Bytes, SegmentFile, TokenIndex) {
    let mut out = Vec::new();
    encode(&batches(), &SegmentOptions::default(), &mut out).expect("rows are good");
    let bytes = Bytes::from(out);
    let file = SegmentFile::open(&bytes, bytes.len() as u64).expect("it is whole");
    let file = file.expect("all of it is there");
    let location = file.metadata().token_index.clone().expect("it has one");
    let range = TokenIndex::directory_range(&location).expect("it is possible");
    let directory = &bytes[range.start as usize..range.end as usize];
    let index = TokenIndex::open(location, directory).expect("it is whole");
    (bytes, file, index)
}

fn look_up(criterion: &mut Criterion) {
    let (bytes, _, index) = segment();
    let hashes: Vec<u32> = (0..1_000)
        .map(|n| token_hash(ColumnSeed::of("message"), &n.to_string()))
        .collect();
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Elements(hashes.len() as u64));
    group.bench_function("look up", |bencher| {
        bencher.iter(|| {
            let found = hashes.iter().map(|hash| {
                let range = index.block_range(*hash);
                let block = &bytes[range.start as usize..range.end as usize];
                index.look_up(*hash, block).expect("it is whole").len()
            });
            found.sum::<u32>()
        });
    });
    group.finish();
}

fn merge(criterion: &mut Criterion) {
    let (bytes, file, _) = segment();
    let range = file.index_range().expect("it has an index");
    let index = &bytes[range.start as usize..range.end as usize];
    let location = file.metadata().rollup.clone().expect("it has a rollup");
    let block = |range: Range<u64>| &bytes[range.start as usize..range.end as usize];
    let rollup = Rollup::read(&location, block(location.range()));
    let rollup = rollup.expect("it is whole");
    let location = file.metadata().newest.clone().expect("it has one");
    let newest = block(location.block.range());
    let newest = Newest::read(&location, newest).expect("it is whole");
    let location = file.metadata().values.clone().expect("it has them");
    let values = ValueCounts::read(&location, block(location.range()));
    let values = values.expect("it is whole");
    let blocks = Blocks {
        index,
        rollup: &rollup,
        newest: Some(&newest),
        values: Some(&values),
    };
    let sample = file.decode_row_group(
        0,
        &RowGroupBytes {
            offset: 0,
            bytes: bytes.clone(),
        },
    );
    let schema = sample.expect("it is whole")[0].schema();
    let mut group = criterion.benchmark_group("segment");
    group
        .throughput(Throughput::Bytes(8 * bytes.len() as u64))
        .sample_size(10);
    group.bench_function("merge eight", |bencher| {
        bencher.iter(|| {
            let options = SegmentOptions::default();
            let begun =
                SegmentWriter::new(Vec::new(), schema.clone(), file.time_unit(), &[], &options);
            let mut writer = begun.expect("it can begin");
            for _ in 0..8 {
                let row_group = |_| {
                    Ok(RowGroupBytes {
                        offset: 0,
                        bytes: bytes.clone(),
                    })
                };
                let copied = writer.copy(&file, &blocks, row_group);
                copied.expect("it is whole");
            }
            writer.finish().expect("it can end")
        });
    });
    group.finish();
}

criterion_group!(benches, encode_segment, tokenise, look_up, merge);
criterion_main!(benches);

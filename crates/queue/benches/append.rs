//! Appending to the write-ahead log with fdatasync, alone and in groups.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use logmill_queue::{LocalLog, LocalLogOptions, Sequence};

fn append(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let options = LocalLogOptions::default();
    let log = LocalLog::open(folder.path(), options, Sequence(0), &mut |_, _| Ok(()));
    let log = log.expect("an empty folder opens");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime can be built");
    let mut group = criterion.benchmark_group("append");
    group.sample_size(20);
    for bytes in [4 << 10, 256 << 10] {
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{}_KiB", bytes >> 10), |bencher| {
            bencher.iter(|| {
                let appended = runtime.block_on(log.append(vec![7; bytes], Box::new(|_| {})));
                let sequence = appended.expect("the disk has room");
                if sequence.0.is_multiple_of(64) {
                    log.truncate_before(sequence)
                        .expect("old files can be deleted");
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);

//! Merging segments and carrying deletes out: nothing is lost, doubled or kept, whatever fails and whenever.

use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_schema::Schema;
use bytes::Bytes;
use logmill_schema::ColumnType;
use logmill_segment::{ColumnSeed, Rollup, SegmentFile, TokenIndex, token_hash};
use logmill_store::{AppendRequest, Store};

use crate::harness::{DAY, Folder, delete_below, found, object, request, tenant};

fn numbers(range: std::ops::Range<i64>) -> Vec<i64> {
    range.collect()
}

/// Ten numbers a segment.
async fn flushes(store: &Store, owner: &str, segments: std::ops::Range<i64>) {
    for segment in segments {
        let mine = numbers(segment * 10..segment * 10 + 10);
        store.append(request(owner, &mine)).await.unwrap();
        store.flush().await.unwrap();
    }
}

/// Objects go with their last reader, a moment later.
async fn files_become(folder: &Folder, count: usize) {
    for _ in 0..200 {
        if folder.files().len() == count {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{count} files are expected: {:?}", folder.files());
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_merged_and_readers_keep_theirs() {
    let folder = Folder::new();
    let store = folder.open().await;
    flushes(&store, "a", 0..9).await;
    flushes(&store, "b", 0..3).await;
    assert_eq!(
        store.status().compaction_debt,
        6,
        "nine segments, of which three may stay"
    );
    let reader = store.snapshot(&tenant("a"));
    // Four become one; that one, small as it is, and three more become one.
    assert_eq!(store.compact().await.unwrap(), 2);
    assert_eq!(
        (store.status().segments, store.status().compaction_debt),
        (3 + 3, 0)
    );
    assert_eq!(found(&store, "a").await, numbers(0..90));
    assert_eq!(found(&store, "b").await, numbers(0..30));
    assert_eq!(reader.segments.len(), 9);
    // The reader still has what it began with; what came and went between the two merges is deleted in the background.
    files_become(&folder, 6 + 7).await;
    drop(reader);
    files_become(&folder, 6).await;
    let levels = |store: &Store| {
        let snapshot = store.snapshot(&tenant("a"));
        let mut levels: Vec<u32> = snapshot.segments.iter().map(|s| s.row().level).collect();
        levels.sort_unstable();
        levels
    };
    assert_eq!(levels(&store), [0, 0, 2]);
    drop(store);
    let store = folder.open().await;
    assert_eq!(found(&store, "a").await, numbers(0..90));
    assert_eq!(levels(&store), [0, 0, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_day_ends_as_one_segment() {
    let folder = Folder::new();
    let store = folder.open().await;
    flushes(&store, "a", 0..3).await;
    assert_eq!(store.compact().await.unwrap(), 0);
    folder.clock.advance_ns(11 * 60_000_000_000);
    assert_eq!(store.compact().await.unwrap(), 1);
    assert_eq!(store.status().segments, 1);
    assert_eq!(found(&store, "a").await, numbers(0..30));
    assert_eq!(store.compact().await.unwrap(), 0, "and that is all");
}

/// Records with a word each; enough of them that their row group is worth keeping.
fn words(first: i64, rows: i64) -> AppendRequest {
    let times = (first..first + rows).map(|n| DAY + n * 1_000);
    let times = TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC");
    let messages = (first..first + rows).map(|n| format!("Word{n} of many"));
    let fields = vec![
        ColumnType::Timestamp.field("timestamp"),
        ColumnType::String.field("message"),
    ];
    let batch = RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        vec![
            Arc::new(times),
            Arc::new(StringArray::from_iter_values(messages)),
        ],
    );
    AppendRequest {
        tenant: tenant("a"),
        batch: batch.unwrap(),
        received_at_ns: DAY,
        idempotency: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_row_groups_are_taken_over_with_their_index() {
    const ROWS: i64 = 70_000;
    let mut folder = Folder::new();
    let store = folder.open().await;
    for segment in 0..4 {
        store.append(words(segment * ROWS, ROWS)).await.unwrap();
        store.flush().await.unwrap();
    }
    // A small one of the same day, of other columns, is written anew beside them.
    assert_eq!(store.compact().await.unwrap(), 1);
    // From now on segments of any size are merged.
    drop(store);
    folder.options.compaction.fan_in = 1_000;
    let store = folder.open().await;
    store.append(request("a", &numbers(0..10))).await.unwrap();
    store.flush().await.unwrap();
    folder.clock.advance_ns(11 * 60_000_000_000);
    store.append(words(4 * ROWS, ROWS)).await.unwrap();
    store.flush().await.unwrap();
    folder.clock.advance_ns(11 * 60_000_000_000);
    while store.compact().await.unwrap() > 0 {}

    let snapshot = store.snapshot(&tenant("a"));
    let mut rows = 0;
    for handle in &snapshot.segments {
        rows += check_index(&object(&store, handle).await);
    }
    assert_eq!(rows, 5 * 70_000 + 10);
    assert!(snapshot.segments.len() < 3, "{:?}", snapshot.segments);
}

/// Every word is in the granule that the index says, the rollup counts every row; returns how many those are.
fn check_index(bytes: &Bytes) -> u64 {
    let slice = |range: std::ops::Range<u64>| {
        &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
    };
    let file = SegmentFile::open(bytes, bytes.len() as u64)
        .unwrap()
        .unwrap();
    let location = file.metadata().token_index.clone().unwrap();
    let directory = TokenIndex::directory_range(&location).unwrap();
    let index = TokenIndex::open(location, slice(directory)).unwrap();
    let seed = ColumnSeed::of("message");
    let mut granule = 0;
    for row_group in 0..file.row_groups() {
        let group = logmill_segment::RowGroupBytes {
            offset: 0,
            bytes: bytes.clone(),
        };
        for batch in file.decode_row_group(row_group, &group).unwrap() {
            use arrow_array::cast::AsArray;
            let messages = batch
                .column_by_name("message")
                .map(|m| m.as_string::<i32>().clone());
            for message in messages.iter().flatten().flatten().step_by(97) {
                let word = message.split(' ').next().unwrap();
                let hash = token_hash(seed, word);
                let granules = index.look_up(hash, slice(index.block_range(hash))).unwrap();
                assert!(granules.contains(granule), "{word} is in granule {granule}");
                assert!(granules.len() < 4, "and hardly anywhere else: {granules:?}");
            }
            granule += 1;
        }
    }
    let rollup = file.metadata().rollup.clone().unwrap();
    let end = rollup.offset + rollup.bytes;
    let rollup = Rollup::read(&rollup, slice(rollup.offset..end)).unwrap();
    assert_eq!(rollup.rows(), file.metadata().rows);
    rollup.rows()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_step_of_a_merge_loses_and_doubles_nothing() {
    let steps = [
        "a read",
        "a later read",
        "the put",
        "before the commit",
        "after the commit",
    ];
    for step in steps {
        for reopen in [false, true] {
            let folder = Folder::new();
            let mut store = folder.open().await;
            flushes(&store, "a", 0..4).await;
            let delete = delete_below(&store, "a", 5).await.unwrap();
            match step {
                "a read" => folder.gets.at(1),
                "a later read" => folder.gets.at(2),
                "the put" => folder.puts.at(1),
                "before the commit" => folder.commits_before.at(1),
                _ => folder.commits_after.at(1),
            }
            store.compact().await.unwrap_err();
            let context = format!("{step}, reopen: {reopen}");
            assert_eq!(
                found(&store, "a").await,
                numbers(5..40),
                "{context}: while it fails"
            );
            if reopen {
                drop(store);
                store = folder.open().await;
                assert_eq!(
                    found(&store, "a").await,
                    numbers(5..40),
                    "{context}: reopened"
                );
            }
            flushes(&store, "a", 4..5).await;
            while store.compact().await.unwrap() > 0 {}
            assert_eq!(found(&store, "a").await, numbers(5..50), "{context}: done");
            let status = &store.deletes(None).await.unwrap()[0];
            assert_eq!(status.id, delete.id);
            assert_eq!(
                (status.segments_left, status.rows_deleted),
                (0, 5),
                "{context}"
            );
            drop(store);
            let store = folder.open().await;
            assert_eq!(
                found(&store, "a").await,
                numbers(5..50),
                "{context}: in the end"
            );
            let segments = usize::try_from(store.status().segments).unwrap();
            assert_eq!(folder.files().len(), segments, "{context}: no orphans");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_is_at_once_and_for_good_and_spares_what_comes_later() {
    let folder = Folder::new();
    let mut store = folder.open().await;
    flushes(&store, "a", 0..2).await;
    flushes(&store, "b", 0..1).await;
    store.append(request("a", &numbers(20..25))).await.unwrap();
    let delete = delete_below(&store, "a", 23).await.unwrap();
    assert_eq!(
        (delete.segments, delete.finished_at_ns),
        (3, None),
        "the memtable was flushed"
    );
    assert_eq!(found(&store, "a").await, [23, 24]);
    store.append(request("a", &[1])).await.unwrap();
    assert_eq!(
        found(&store, "a").await,
        [1, 23, 24],
        "what comes later stays"
    );
    drop(store);
    store = folder.open().await;
    assert_eq!(found(&store, "a").await, [1, 23, 24]);
    assert_eq!(store.compact().await.unwrap(), 3);
    files_become(&folder, 2).await;
    let deletes = store.deletes(Some(&tenant("a"))).await.unwrap();
    assert_eq!((deletes[0].segments_left, deletes[0].rows_deleted), (0, 23));
    assert!(deletes[0].finished_at_ns.is_some());
    assert!(store.deletes(Some(&tenant("b"))).await.unwrap().is_empty());
    assert_eq!(found(&store, "a").await, [1, 23, 24]);
    assert_eq!(found(&store, "b").await, numbers(0..10));
    // A delete that finds nothing rewrites nothing.
    store.flush().await.unwrap();
    let before = folder.files();
    delete_below(&store, "a", 0).await.unwrap();
    while store.compact().await.unwrap() > 0 {}
    assert_eq!(folder.files(), before);
    let last = store.deletes(None).await.unwrap().pop().unwrap();
    assert_eq!((last.segments_left, last.rows_deleted), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_are_refused_while_too_many_segments_wait() {
    let mut folder = Folder::new();
    folder.options.compaction.debt_max_segments = 2;
    let store = folder.open().await;
    flushes(&store, "a", 0..5).await;
    flushes(&store, "a", 5..6).await;
    let error = store.append(request("a", &[1])).await.unwrap_err();
    assert!(
        matches!(
            error,
            logmill_store::Error::CompactionBehind { debt: 3, limit: 2 }
        ),
        "{error:?}"
    );
    assert_eq!(error.kind(), logmill_model::ErrorKind::Overloaded);
    while store.compact().await.unwrap() > 0 {}
    store.append(request("a", &[61])).await.unwrap();
    assert_eq!(found(&store, "a").await.len(), 61);
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_run_by_themselves_beside_writers() {
    let mut folder = Folder::new();
    folder.options.compaction.enabled = true;
    folder.options.flush_bytes = 1;
    let store = folder.open().await;
    for number in 0..60 {
        store.append(request("a", &[number])).await.unwrap();
        if number % 5 == 0 {
            store.flush().await.unwrap();
            assert_eq!(found(&store, "a").await, numbers(0..number + 1));
        }
    }
    store.flush().await.unwrap();
    for _ in 0..500 {
        if store.status().compaction_debt == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(store.status().segments < 10, "{:?}", store.status());
    assert_eq!(found(&store, "a").await, numbers(0..60));
}

/// Enough rows for a merge to take a segment over as it is.
const MANY: i64 = 70_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_or_rollup_is_mended_by_the_next_merge() {
    for damage_the_rollup in [false, true] {
        let mut folder = Folder::new();
        folder.options.compaction.fan_in = 2;
        let store = folder.open().await;
        for first in [0, MANY] {
            let mine = numbers(first..first + MANY);
            store.append(request("a", &mine)).await.unwrap();
            store.flush().await.unwrap();
        }
        let damaged = store.snapshot(&tenant("a")).segments[0].clone();
        let path = folder.objects().join(&damaged.row().path);
        let mut bytes = std::fs::read(&path).unwrap();
        let file = SegmentFile::open(&bytes.clone().into(), bytes.len() as u64).unwrap();
        let metadata = file.unwrap().metadata().clone();
        let offset = if damage_the_rollup {
            metadata.rollup.unwrap().offset
        } else {
            metadata.token_index.unwrap().offset
        };
        bytes[usize::try_from(offset).unwrap() + 5] ^= 0x55;
        std::fs::write(&path, bytes).unwrap();
        drop(damaged);

        assert_eq!(store.compact().await.unwrap(), 1);
        assert_eq!(found(&store, "a").await, numbers(0..2 * MANY));
        store.shutdown().await.unwrap();
        drop(store);
        let objects = object_store::local::LocalFileSystem::new_with_prefix(folder.objects());
        let catalog = folder.catalog().await;
        let report = logmill_store::verify(
            &catalog,
            Arc::new(objects.unwrap()),
            logmill_store::Depth::AllRows,
        );
        let report = report.await.unwrap();
        assert_eq!((report.segments, report.problems), (1, vec![]));
    }
}

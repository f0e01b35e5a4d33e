//! Objects that nobody knows are swept while the store runs, and no others.

use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Folder, found, request, tenant};

/// The tests' clock stands days before that of the file system: more than enough to make every file old.
const YEAR_NS: i64 = 366 * 86_400_000_000_000;

fn orphan(folder: &Folder, name: &str) -> std::path::PathBuf {
    let path = folder.objects().join("tenants/a/segments/2026-11-20");
    std::fs::create_dir_all(&path).unwrap();
    let path = path.join(name);
    std::fs::write(&path, "x").unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_goes_once_it_is_old_enough() {
    let folder = Folder::new();
    let store = folder.open().await;
    store.append(request("a", &[1])).await.unwrap();
    store.flush().await.unwrap();
    let path = orphan(&folder, "orphan.parquet");
    assert_eq!(store.sweep_orphans().await.unwrap(), 0, "it is young");
    folder.clock.advance_ns(YEAR_NS);
    assert_eq!(store.sweep_orphans().await.unwrap(), 1);
    assert!(!path.exists());
    assert_eq!(found(&store, "a").await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_keeps_what_a_merge_replaced() {
    let folder = Folder::new();
    let store = folder.open().await;
    for number in 0..4 {
        store.append(request("a", &[number])).await.unwrap();
        store.flush().await.unwrap();
    }
    let reader = store.snapshot(&tenant("a"));
    assert_eq!(store.compact().await.unwrap(), 1);
    folder.clock.advance_ns(YEAR_NS);
    assert_eq!(store.sweep_orphans().await.unwrap(), 0);
    assert_eq!(folder.files().len(), 5, "four are read, one is new");
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_flush_left_goes_and_what_the_next_writes_stays() {
    let folder = Folder::new();
    let store = folder.open().await;
    folder.clock.advance_ns(YEAR_NS);
    store.append(request("a", &[1, 2])).await.unwrap();
    folder.commits_before.at(1);
    store.flush().await.unwrap_err();
    assert_eq!(folder.files().len(), 1);
    assert_eq!(store.sweep_orphans().await.unwrap(), 1);
    store.flush().await.unwrap();
    assert_eq!(store.sweep_orphans().await.unwrap(), 0);
    assert_eq!(found(&store, "a").await, [1, 2]);
}

/// Every file counts as old, so only what the store knows of its own work keeps the sweep from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sweeps_beside_flushes_and_merges_take_nothing_away() {
    const FLUSHES: i64 = 60;
    let mut folder = Folder::new();
    folder.options.orphan_check_interval_ms = 1;
    folder.options.compaction.enabled = true;
    let store = folder.open().await;
    folder.clock.advance_ns(YEAR_NS);
    let sweeper = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            loop {
                store.sweep_orphans().await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    for number in 0..FLUSHES {
        store.append(request("a", &[number])).await.unwrap();
        store.flush().await.unwrap();
    }
    store.compact().await.unwrap();
    assert_eq!(found(&store, "a").await, (0..FLUSHES).collect::<Vec<_>>());
    assert!(!sweeper.is_finished(), "no sweep failed");
    sweeper.abort();
    let path = orphan(&folder, "orphan.parquet");
    for _ in 0..500 {
        if !path.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!path.exists(), "the background sweep runs");
    assert_eq!(found(&store, "a").await.len(), 60);
}

//! The process dies, or a part fails, at every step of a flush: each record is found once afterwards.

use logmill_store::{Depth, IdempotencyKey, IdempotencyOutcome};

use crate::harness::{Folder, found, request, tenant};

fn numbers(range: std::ops::Range<i64>) -> Vec<i64> {
    range.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_what_was_in_memory() {
    let folder = Folder::new();
    let store = folder.open().await;
    store.append(request("a", &numbers(0..5))).await.unwrap();
    store.append(request("b", &numbers(5..8))).await.unwrap();
    drop(store);
    let store = folder.open().await;
    assert_eq!(found(&store, "a").await, numbers(0..5));
    assert_eq!(found(&store, "b").await, numbers(5..8));
    assert_eq!(store.status().memtable_rows, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_step_of_a_flush_loses_and_doubles_nothing() {
    for step in [
        "first put",
        "second put",
        "before the commit",
        "after the commit",
    ] {
        for reopen in [false, true] {
            let folder = Folder::new();
            let mut store = folder.open().await;
            store.append(request("a", &numbers(0..5))).await.unwrap();
            store.append(request("b", &numbers(5..8))).await.unwrap();
            match step {
                "first put" => folder.puts.at(1),
                "second put" => folder.puts.at(2),
                "before the commit" => folder.commits_before.at(1),
                _ => folder.commits_after.at(1),
            }
            store.flush().await.unwrap_err();
            let health = store.health().await;
            assert!(
                health.iter().any(|part| part.failure.is_some()),
                "{step}: {health:?}"
            );
            assert_eq!(
                found(&store, "a").await,
                numbers(0..5),
                "{step}: while it fails"
            );
            store.append(request("a", &numbers(8..10))).await.unwrap();
            if reopen {
                drop(store);
                store = folder.open().await;
            }
            let expected = [numbers(0..5), numbers(8..10)].concat();
            assert_eq!(
                found(&store, "a").await,
                expected,
                "{step}, reopen: {reopen}"
            );
            store.flush().await.unwrap();
            assert!(
                store
                    .health()
                    .await
                    .iter()
                    .all(|part| part.failure.is_none())
            );
            assert_eq!(store.status().memtable_rows, 0, "{step}");
            for _ in 0..2 {
                assert_eq!(
                    found(&store, "a").await,
                    expected,
                    "{step}, reopen: {reopen}"
                );
                assert_eq!(
                    found(&store, "b").await,
                    numbers(5..8),
                    "{step}, reopen: {reopen}"
                );
                drop(store);
                store = folder.open().await;
            }
            let known = folder.catalog().await;
            let known = logmill_catalog::Catalog::segments(&known)
                .await
                .unwrap()
                .len();
            assert_eq!(
                folder.files().len(),
                known,
                "{step}: orphans are gone after a restart"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_remembered_by_the_log_and_by_the_catalog() {
    let folder = Folder::new();
    let mut store = folder.open().await;
    let key = IdempotencyKey {
        key: "k".to_owned(),
        fingerprint: [1; 16],
    };
    let begin = store
        .begin_idempotent(&tenant("a"), key.clone())
        .await
        .unwrap();
    let IdempotencyOutcome::New(permit) = begin else {
        panic!("{begin:?}")
    };
    let mut first = request("a", &[1]);
    first.idempotency = Some((permit, b"answer".to_vec()));
    store.append(first).await.unwrap();
    for flush in [false, true, false] {
        if flush {
            store.flush().await.unwrap();
        }
        let again = store
            .begin_idempotent(&tenant("a"), key.clone())
            .await
            .unwrap();
        assert!(matches!(again, IdempotencyOutcome::Replay(answer) if answer == b"answer"));
        drop(store);
        store = folder.open().await;
    }
    assert_eq!(found(&store, "a").await, [1]);
    // Past its time to live it is forgotten.
    folder.clock.advance_ns(25 * 3_600_000_000_000);
    drop(store);
    let store = folder.open().await;
    let again = store.begin_idempotent(&tenant("a"), key).await.unwrap();
    assert!(matches!(again, IdempotencyOutcome::New(_)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_nobody_knows_are_deleted_at_the_start() {
    let folder = Folder::new();
    let store = folder.open().await;
    store.append(request("a", &[1])).await.unwrap();
    store.flush().await.unwrap();
    drop(store);
    let orphan = folder
        .objects()
        .join("tenants/a/segments/2026-11-20/orphan.parquet");
    std::fs::write(&orphan, "x").unwrap();
    let report = {
        let objects = object_store::local::LocalFileSystem::new_with_prefix(folder.objects());
        let catalog = folder.catalog().await;
        logmill_store::verify(
            &catalog,
            std::sync::Arc::new(objects.unwrap()),
            Depth::Sample,
        )
        .await
        .unwrap()
    };
    assert_eq!(
        report.orphans,
        ["tenants/a/segments/2026-11-20/orphan.parquet"]
    );
    assert_eq!((report.segments, report.problems.len()), (1, 0));
    let store = folder.open().await;
    assert!(!orphan.exists());
    assert_eq!(found(&store, "a").await, [1]);
}

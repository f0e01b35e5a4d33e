//! The catalog's contract, over every implementation, and what is special to each.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod access;

use std::path::Path;

use logmill_catalog::{
    Catalog, DeleteId, DeleteRow, Error, FlushCommit, IdempotencyRow, MigrationState, Replacement,
    SegmentColumn, SegmentId, SegmentRow, SqliteCatalog,
};
use logmill_model::TenantId;
use logmill_schema::ColumnType;

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn segment(id: &str, owner: &str) -> SegmentRow {
    SegmentRow {
        id: SegmentId(id.to_owned()),
        tenant: tenant(owner),
        path: format!("tenants/{owner}/segments/2026-11-20/{id}.parquet"),
        rows: 7,
        bytes: 900,
        min_timestamp_ns: -5,
        max_timestamp_ns: i64::MAX,
        columns: vec![
            SegmentColumn {
                name: "timestamp".to_owned(),
                column_type: ColumnType::Timestamp,
            },
            SegmentColumn {
                name: "a \"b\"".to_owned(),
                column_type: ColumnType::WideInteger,
            },
        ],
        checksum: u64::MAX - 1,
        level: 0,
        created_at_ns: 3,
    }
}

fn key(key: &str, received_at_ns: i64) -> IdempotencyRow {
    IdempotencyRow {
        tenant: tenant("acme"),
        key: key.to_owned(),
        fingerprint: [7; 16],
        answer: b"{}".to_vec(),
        received_at_ns,
    }
}

fn commit(from: u64, to: u64, segments: Vec<SegmentRow>, keys: Vec<IdempotencyRow>) -> FlushCommit {
    FlushCommit {
        partition: "local".to_owned(),
        expected_watermark: from,
        new_watermark: to,
        segments,
        idempotency: keys,
    }
}

/// What every catalog holds; `catalog` is empty.
async fn contract(catalog: &dyn Catalog) {
    catalog.ping().await.unwrap();
    assert_eq!(catalog.watermark("local").await.unwrap(), 0);
    assert!(catalog.segments().await.unwrap().is_empty());

    let (first, second) = (segment("01A", "acme"), segment("01B", "beta"));
    let both = vec![second.clone(), first.clone()];
    catalog
        .commit_flush(commit(0, 10, both, vec![key("k1", 100), key("k2", 200)]))
        .await
        .unwrap();
    assert_eq!(catalog.watermark("local").await.unwrap(), 10);
    assert_eq!(catalog.watermark("other").await.unwrap(), 0);
    assert_eq!(
        catalog.segments().await.unwrap(),
        [first.clone(), second.clone()]
    );
    assert_eq!(
        catalog.tenants().await.unwrap(),
        [tenant("acme"), tenant("beta")]
    );

    // All or nothing: a watermark that moved, a segment that is there already.
    let stale = commit(0, 20, vec![segment("01C", "acme")], vec![key("k3", 300)]);
    let error = catalog.commit_flush(stale).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::WatermarkMoved {
                expected: 0,
                found: 10,
                ..
            }
        ),
        "{error:?}"
    );
    let twice = commit(
        10,
        20,
        vec![segment("01C", "acme"), first.clone()],
        vec![key("k3", 300)],
    );
    assert!(catalog.commit_flush(twice).await.is_err());
    assert_eq!(catalog.watermark("local").await.unwrap(), 10);
    assert_eq!(catalog.segments().await.unwrap().len(), 2);
    assert_eq!(catalog.idempotency_since(0).await.unwrap().len(), 2);

    assert_eq!(
        catalog.idempotency_since(150).await.unwrap(),
        [key("k2", 200)]
    );
    assert_eq!(catalog.expire_idempotency(150).await.unwrap(), 1);
    assert_eq!(
        catalog.idempotency_since(0).await.unwrap(),
        [key("k2", 200)]
    );

    let gone = [first.id.clone(), SegmentId("nowhere".to_owned())];
    assert_eq!(catalog.remove_segments(&gone, 9).await.unwrap(), 1);
    assert_eq!(
        catalog.segments().await.unwrap(),
        std::slice::from_ref(&second)
    );

    replacements_and_deletes(catalog, &second).await;

    assert_eq!(catalog.setting("key", b"first").await.unwrap(), b"first");
    assert_eq!(catalog.setting("key", b"second").await.unwrap(), b"first");
}

/// A delete of one segment, as it is asked for.
fn delete_of_one(id: &str) -> DeleteRow {
    DeleteRow {
        id: DeleteId(id.to_owned()),
        tenant: tenant("beta"),
        predicate: "{\"text\":\"x\"}".to_owned(),
        requested_at_ns: 50,
        finished_at_ns: None,
        segments: 1,
        segments_left: 1,
        rows_deleted: 0,
    }
}

/// A tenant finds its own deletes (these two), by their names too, and no other's.
async fn deletes_are_their_tenants(catalog: &dyn Catalog, one: &DeleteRow, two: &DeleteRow) {
    let (own, other) = (&one.tenant, tenant("other"));
    assert_eq!(
        catalog.deletes(Some(own)).await.unwrap(),
        [one.clone(), two.clone()]
    );
    assert!(catalog.deletes(Some(&other)).await.unwrap().is_empty());
    let found = catalog.delete(own, &two.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(two));
    assert_eq!(catalog.delete(&other, &two.id).await.unwrap(), None);
    let unknown = DeleteId("D9".to_owned());
    assert_eq!(catalog.delete(own, &unknown).await.unwrap(), None);
}

/// Segments change places all or nothing, and a delete is finished when its last segment was rewritten. `there` is the
/// only segment, before and after.
async fn replacements_and_deletes(catalog: &dyn Catalog, there: &SegmentRow) {
    let replace = |removed: &[&SegmentRow], added: &[&SegmentRow]| Replacement {
        removed: removed.iter().map(|row| row.id.clone()).collect(),
        added: added.iter().map(|row| (*row).clone()).collect(),
        now_ns: 70,
        ..Replacement::default()
    };
    let (one, two) = (delete_of_one("D1"), delete_of_one("D2"));
    for delete in [&one, &two] {
        let begun = catalog.begin_delete(delete.clone(), std::slice::from_ref(&there.id));
        begun.await.unwrap();
    }
    assert_eq!(
        catalog.deletes(None).await.unwrap(),
        [one.clone(), two.clone()]
    );

    deletes_are_their_tenants(catalog, &one, &two).await;

    // A replacement of what is not there changes nothing.
    let (merged, stranger) = (segment("01M", "beta"), segment("01X", "beta"));
    let wrong = catalog.replace_segments(replace(&[there, &stranger], &[&merged]));
    let error = wrong.await.unwrap_err();
    assert!(
        matches!(&error, Error::SegmentGone(id) if id == "01X"),
        "{error:?}"
    );
    assert_eq!(
        catalog.segments().await.unwrap(),
        std::slice::from_ref(there)
    );

    // The first delete is applied, the second is inherited.
    let replacement = Replacement {
        settled: vec![(there.id.clone(), one.id.clone())],
        deleted_rows: vec![(one.id.clone(), 3)],
        ..replace(&[there], &[&merged])
    };
    catalog.replace_segments(replacement).await.unwrap();
    assert_eq!(
        catalog.segments().await.unwrap(),
        std::slice::from_ref(&merged)
    );
    let pending = catalog.pending_deletes().await.unwrap();
    assert_eq!(pending, [(merged.id.clone(), two.id.clone())]);
    let found = catalog.deletes(None).await.unwrap();
    assert_eq!(
        (
            found[0].finished_at_ns,
            found[0].rows_deleted,
            found[0].segments_left
        ),
        (Some(70), 3, 0)
    );
    assert_eq!((found[1].finished_at_ns, found[1].segments_left), (None, 1));

    // A segment that goes for good takes its deletes along.
    catalog
        .replace_segments(replace(&[], &[there]))
        .await
        .unwrap();
    catalog
        .remove_segments(std::slice::from_ref(&merged.id), 90)
        .await
        .unwrap();
    assert!(catalog.pending_deletes().await.unwrap().is_empty());
    assert_eq!(
        catalog.deletes(None).await.unwrap()[1].finished_at_ns,
        Some(90)
    );

    a_delete_of_nothing_is_finished_at_once(catalog, delete_of_one("D3")).await;
    finished_deletes_are_forgotten(catalog, delete_of_one("D4"), there).await;
}

async fn a_delete_of_nothing_is_finished_at_once(catalog: &dyn Catalog, delete: DeleteRow) {
    let nothing = DeleteRow {
        segments: 0,
        segments_left: 0,
        ..delete
    };
    catalog.begin_delete(nothing, &[]).await.unwrap();
    let all = catalog.deletes(None).await.unwrap();
    assert_eq!(all[2].finished_at_ns, Some(50));
}

/// Three deletes finished at 50, 70 and 90.
async fn finished_deletes_are_forgotten(
    catalog: &dyn Catalog,
    running: DeleteRow,
    segment: &SegmentRow,
) {
    let begun = catalog.begin_delete(running, std::slice::from_ref(&segment.id));
    begun.await.unwrap();
    assert_eq!(catalog.expire_deletes(50).await.unwrap(), 0);
    assert_eq!(catalog.expire_deletes(71).await.unwrap(), 2);
    let left = catalog.deletes(None).await.unwrap();
    let left: Vec<_> = left.iter().map(|row| row.id.0.as_str()).collect();
    assert_eq!(left, ["D2", "D4"]);
    assert_eq!(catalog.expire_deletes(i64::MAX).await.unwrap(), 1);
    let left = catalog.deletes(None).await.unwrap();
    let left: Vec<_> = left.iter().map(|row| row.id.0.as_str()).collect();
    assert_eq!(left, ["D4"]);
}

async fn open(path: &Path) -> SqliteCatalog {
    SqliteCatalog::open(path).await.unwrap()
}

#[tokio::test]
async fn sqlite_holds_the_contract_and_keeps_it_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    contract(&open(&path).await).await;
    let again = open(&path).await;
    assert_eq!(again.watermark("local").await.unwrap(), 10);
    assert_eq!(again.segments().await.unwrap(), [segment("01B", "beta")]);
    assert_eq!(again.setting("key", b"third").await.unwrap(), b"first");
}

#[tokio::test]
async fn of_two_flushes_from_one_watermark_one_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let (one, other) = (open(&path).await, open(&path).await);
    let (first, second) = tokio::join!(
        one.commit_flush(commit(0, 5, vec![segment("01A", "acme")], vec![])),
        other.commit_flush(commit(0, 6, vec![segment("01B", "acme")], vec![])),
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    assert_eq!(one.segments().await.unwrap().len(), 1);
}

#[tokio::test]
async fn migrations_are_told_without_making_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let states = |status: Vec<logmill_catalog::MigrationStatus>| {
        status
            .into_iter()
            .map(|migration| migration.state)
            .collect::<Vec<_>>()
    };
    let before = SqliteCatalog::migration_status(&path).await.unwrap();
    assert_eq!(before[0].description, "initial");
    assert_eq!(states(before), [MigrationState::Pending; 3]);
    assert!(!path.exists());
    open(&path).await;
    let after = SqliteCatalog::migration_status(&path).await.unwrap();
    assert_eq!(states(after), [MigrationState::Applied; 3]);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    open(&path).await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    let newer = "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, execution_time \
                 FROM _sqlx_migrations LIMIT 1";
    sqlx::query(newer).execute(&pool).await.unwrap();
    pool.close().await;
    let error = SqliteCatalog::open(&path).await.unwrap_err();
    assert!(
        matches!(error, Error::TooNew { found: 9999, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("upgrade logmill"), "{error}");
}

#[tokio::test]
async fn what_is_no_catalog_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    std::fs::write(
        &path,
        "this is a diary, not a database, and long enough to be looked at",
    )
    .unwrap();
    assert!(SqliteCatalog::open(&path).await.is_err());
    assert!(SqliteCatalog::open(folder.path()).await.is_err());
}

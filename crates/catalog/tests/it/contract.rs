//! What every catalog holds.

use logmill_catalog::{
    Catalog, DeleteId, DeleteRow, Error, FlushCommit, IdempotencyRow, Replacement, SegmentColumn,
    SegmentId, SegmentRow,
};
use logmill_model::ErrorKind;
use logmill_schema::ColumnType;

use crate::site::{Site, commit, delete_of_one, key, segment, tenant};

pub(crate) async fn the_contract_holds_and_is_kept_across_a_restart(site: Site) {
    contract(site.open().await.as_ref()).await;
    let again = site.open().await;
    assert_eq!(again.watermark("local").await.unwrap(), 10);
    assert_eq!(again.segments().await.unwrap(), [segment("01B", "beta")]);
    assert_eq!(again.setting("key", b"third").await.unwrap(), b"first");
}

pub(crate) async fn of_two_flushes_from_one_watermark_one_commits(site: Site) {
    let (one, other) = (site.open().await, site.open().await);
    let (first, second) = tokio::join!(
        one.commit_flush(commit(0, 5, vec![segment("01A", "acme")], vec![])),
        other.commit_flush(commit(0, 6, vec![segment("01B", "acme")], vec![])),
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    let error = first.err().or(second.err()).unwrap();
    assert!(matches!(error, Error::WatermarkMoved { .. }), "{error:?}");
    assert!(!error.is_retryable());
    assert_eq!(one.segments().await.unwrap().len(), 1);
}

pub(crate) async fn partitions_have_their_own_watermarks(site: Site) {
    let catalog = site.open().await;
    // As large as a packed id of Redis gets for some thousand years.
    let large = 1 << 62;
    for (partition, to) in [("3", 5), ("10", large), ("3", 6)] {
        let flush = FlushCommit {
            partition: partition.to_owned(),
            ..commit(
                catalog.watermark(partition).await.unwrap(),
                to,
                vec![],
                vec![],
            )
        };
        catalog.commit_flush(flush).await.unwrap();
    }
    let expected = [("10".to_owned(), large), ("3".to_owned(), 6)];
    assert_eq!(catalog.watermarks().await.unwrap(), expected);
}

pub(crate) async fn any_name_and_number_comes_back(site: Site) {
    let catalog = site.open().await;
    let odd = SegmentRow {
        columns: vec![SegmentColumn {
            name: "nul \0, quote ', emoji 🪵, $1 {now} ?".to_owned(),
            column_type: ColumnType::WideInteger,
        }],
        rows: u64::try_from(i64::MAX).unwrap(),
        min_timestamp_ns: i64::MIN,
        checksum: u64::MAX,
        level: u32::MAX,
        ..segment("01A", "acme")
    };
    let key = IdempotencyRow {
        key: "it's {now} $1".to_owned(),
        answer: (0..=255).collect(),
        ..key("", i64::MIN)
    };
    let flush = commit(0, 1, vec![odd.clone()], vec![key.clone()]);
    catalog.commit_flush(flush).await.unwrap();
    assert_eq!(
        catalog.segments().await.unwrap(),
        std::slice::from_ref(&odd)
    );
    assert_eq!(catalog.idempotency_since(i64::MIN).await.unwrap(), [key]);

    let again = commit(1, 2, vec![odd.clone()], vec![]);
    let error = catalog.commit_flush(again).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let too_large = SegmentRow {
        rows: u64::MAX,
        ..segment("01B", "acme")
    };
    let error = catalog.commit_flush(commit(1, 2, vec![too_large], vec![]));
    let error = error.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
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
    assert_eq!(catalog.remove_segments(&gone, 9, false).await.unwrap(), 1);
    assert_eq!(
        catalog.segments().await.unwrap(),
        std::slice::from_ref(&second)
    );

    replacements_and_deletes(catalog, &second).await;

    assert_eq!(catalog.setting("key", b"first").await.unwrap(), b"first");
    assert_eq!(catalog.setting("key", b"second").await.unwrap(), b"first");
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
        .remove_segments(std::slice::from_ref(&merged.id), 90, false)
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

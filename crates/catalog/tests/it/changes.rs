//! Following the catalog.

use std::collections::BTreeMap;
use std::time::Duration;

use logmill_catalog::{Catalog, Changes, FlushCommit, Replacement, SegmentId, SegmentRow};

use crate::site::{Site, commit, delete_of_one, segment};

fn ids(segments: &[SegmentRow]) -> Vec<&str> {
    segments.iter().map(|row| row.id.0.as_str()).collect()
}

fn replace(removed: &[&SegmentRow], added: &[&SegmentRow]) -> Replacement {
    Replacement {
        removed: removed.iter().map(|row| row.id.clone()).collect(),
        added: added.iter().map(|row| (*row).clone()).collect(),
        ..Replacement::default()
    }
}

pub(crate) async fn followers_get_what_changed(site: Site) {
    let catalog = site.open().await;
    let empty = catalog.changes(0).await.unwrap();
    assert!(
        empty.complete && empty.segments_added.is_empty(),
        "{empty:?}"
    );
    assert_eq!(empty.version, catalog.version().await.unwrap());

    let (a, b, c) = (
        segment("01A", "acme"),
        segment("01B", "acme"),
        segment("01C", "beta"),
    );
    let flush = commit(0, 5, vec![a.clone(), b.clone()], vec![]);
    catalog.commit_flush(flush).await.unwrap();
    let first = catalog.changes(empty.version).await.unwrap();
    let expected = Changes {
        version: first.version,
        segments_added: vec![a.clone(), b.clone()],
        watermarks: vec![("local".to_owned(), 5)],
        ..Changes::default()
    };
    assert_eq!(first, expected);
    assert!(first.version > empty.version);

    // Nothing since: nothing to say.
    let same = catalog.changes(first.version).await.unwrap();
    assert_eq!(
        same,
        Changes {
            version: first.version,
            ..Changes::default()
        }
    );

    // What came and went in between is only gone.
    catalog
        .replace_segments(replace(&[&a], &[&c]))
        .await
        .unwrap();
    let other = FlushCommit {
        partition: "other".to_owned(),
        ..commit(0, 3, vec![segment("01D", "acme")], vec![])
    };
    catalog.commit_flush(other).await.unwrap();
    let gone = [SegmentId("01D".to_owned()), SegmentId("unknown".to_owned())];
    assert_eq!(catalog.remove_segments(&gone, 1, false).await.unwrap(), 1);
    let second = catalog.changes(first.version).await.unwrap();
    let expected = Changes {
        version: second.version,
        segments_added: vec![c.clone()],
        segments_removed: vec![a.id.clone(), SegmentId("01D".to_owned())],
        watermarks: vec![("other".to_owned(), 3)],
        ..Changes::default()
    };
    assert_eq!(second, expected);
    assert_eq!(second.version, first.version + 3);

    // From the beginning: all there is.
    let all = catalog.changes(0).await.unwrap();
    assert!(all.complete && all.segments_removed.is_empty(), "{all:?}");
    assert_eq!(ids(&all.segments_added), ["01B", "01C"]);
    let watermarks = [("local".to_owned(), 5), ("other".to_owned(), 3)];
    assert_eq!(all.watermarks, watermarks);
    // So is what is asked about a state that this catalog never had.
    let future = catalog.changes(second.version + 1).await.unwrap();
    assert_eq!(future, all);

    // What failed changed nothing.
    let failed = catalog.replace_segments(replace(&[&a], &[])).await;
    assert!(failed.is_err());
    assert_eq!(catalog.version().await.unwrap(), second.version);
}

pub(crate) async fn a_follower_that_was_away_too_long_gets_all(site: Site) {
    let catalog = site.open().await;
    let (a, b) = (segment("01A", "acme"), segment("01B", "acme"));
    let flush = commit(0, 5, vec![a.clone(), b.clone()], vec![]);
    catalog.commit_flush(flush).await.unwrap();
    let before = catalog.version().await.unwrap();
    let remove = |id: &SegmentId| {
        let ids = [id.clone()];
        let catalog = catalog.clone();
        async move { catalog.remove_segments(&ids, 1, false).await.unwrap() }
    };
    remove(&a.id).await;
    let between = catalog.version().await.unwrap();
    // A bit more than a day ago.
    site.sql("UPDATE removed_segments SET removed_at_ms = removed_at_ms - 86401000")
        .await;
    assert!(!catalog.changes(before).await.unwrap().complete);
    remove(&b.id).await;

    let away = catalog.changes(before).await.unwrap();
    assert!(away.complete, "{away:?}");
    assert!(away.segments_added.is_empty() && away.segments_removed.is_empty());
    assert_eq!(away.watermarks, [("local".to_owned(), 5)]);
    let there = catalog.changes(between).await.unwrap();
    assert!(!there.complete, "{there:?}");
    assert_eq!(there.segments_removed, [b.id]);
}

/// Applies changes as a query process would.
fn apply(segments: &mut BTreeMap<String, SegmentRow>, changes: &Changes) {
    if changes.complete {
        segments.clear();
    }
    for id in &changes.segments_removed {
        segments.remove(&id.0);
    }
    for row in &changes.segments_added {
        segments.insert(row.id.0.clone(), row.clone());
    }
}

pub(crate) async fn followers_and_writers_at_once_agree(site: Site) {
    const WRITERS: u64 = 3;
    const FLUSHES: u64 = 20;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let catalog = site.open().await;
        writers.push(tokio::spawn(async move {
            let row = |number: u64| segment(&format!("{writer}-{number:03}"), "acme");
            for number in 0..FLUSHES {
                let flush = FlushCommit {
                    partition: writer.to_string(),
                    ..commit(number, number + 1, vec![row(number)], vec![])
                };
                catalog.commit_flush(flush).await.unwrap();
                if number % 4 == 3 {
                    let merged = segment(&format!("{writer}-m{number:03}"), "acme");
                    let inputs = [&row(number - 1), &row(number)];
                    catalog
                        .replace_segments(replace(&inputs, &[&merged]))
                        .await
                        .unwrap();
                }
            }
        }));
    }
    let follower = site.open().await;
    let mut segments = BTreeMap::new();
    let mut watermarks = BTreeMap::new();
    let mut version = 0;
    loop {
        let finished = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let changes = follower.changes(version).await.unwrap();
        assert!(changes.version >= version);
        assert_eq!(changes.complete, version == 0);
        version = changes.version;
        apply(&mut segments, &changes);
        watermarks.extend(changes.watermarks.iter().cloned());
        // One state: the segments up to the watermark, merged or not, are there, and no others.
        for (partition, watermark) in &watermarks {
            let own = segments
                .keys()
                .filter(|id| id.starts_with(partition.as_str()));
            let rows: u64 = own.map(|id| if id.contains('m') { 2 } else { 1 }).sum();
            assert_eq!(rows, *watermark, "partition {partition} in {segments:?}");
        }
        if finished {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(watermarks.len() as u64, WRITERS);
    assert!(watermarks.values().all(|watermark| *watermark == FLUSHES));
    let all: Vec<_> = segments.into_values().collect();
    assert_eq!(follower.segments().await.unwrap(), all);
}

pub(crate) async fn pending_deletes_are_told_when_they_change(site: Site) {
    let catalog = site.open().await;
    let (a, b) = (segment("01A", "beta"), segment("01B", "beta"));
    let flush = commit(0, 5, vec![a.clone(), b.clone()], vec![]);
    catalog.commit_flush(flush).await.unwrap();
    let mut version = catalog.changes(0).await.unwrap().version;
    let mut pending = async |catalog: &dyn Catalog| {
        let changes = catalog.changes(version).await.unwrap();
        version = changes.version;
        let pending = changes.pending_deletes?;
        let pairs = pending.segments.into_iter();
        let pairs: Vec<_> = pairs
            .map(|(segment, delete)| (segment.0, delete.0))
            .collect();
        let deletes = pending.deletes.into_iter();
        Some((deletes.map(|delete| delete.id.0).collect::<Vec<_>>(), pairs))
    };
    let pair = |segment: &str, delete: &str| (segment.to_owned(), delete.to_owned());

    let delete = delete_of_one("D1");
    let both = [a.id.clone(), b.id.clone()];
    catalog.begin_delete(delete.clone(), &both).await.unwrap();
    let told = pending(&*catalog).await.unwrap();
    assert_eq!(told.0, ["D1"]);
    assert_eq!(told.1, [pair("01A", "D1"), pair("01B", "D1")]);

    // What does not touch deletes does not repeat them.
    let flush = commit(5, 6, vec![segment("01C", "beta")], vec![]);
    catalog.commit_flush(flush).await.unwrap();
    assert_eq!(pending(&*catalog).await, None);

    let merged = segment("01M", "beta");
    let settled = [(a.id.clone(), delete.id.clone()), (b.id.clone(), delete.id)];
    let half = Replacement {
        settled: settled[..1].to_vec(),
        ..Replacement::default()
    };
    catalog.replace_segments(half).await.unwrap();
    let told = pending(&*catalog).await.unwrap();
    assert_eq!(told.1, [pair("01B", "D1")]);
    // Inherited.
    catalog
        .replace_segments(replace(&[&b], &[&merged]))
        .await
        .unwrap();
    let told = pending(&*catalog).await.unwrap();
    assert_eq!(told.1, [pair("01M", "D1")]);
    catalog
        .remove_segments(&[merged.id], 9, false)
        .await
        .unwrap();
    assert_eq!(pending(&*catalog).await.unwrap(), (vec![], vec![]));
}

pub(crate) async fn objects_are_kept_until_they_are_forgotten(site: Site) {
    let catalog = site.open().await;
    let (a, b, c) = (
        segment("01A", "acme"),
        segment("01B", "acme"),
        segment("01C", "acme"),
    );
    let flush = commit(0, 5, vec![a.clone(), b.clone()], vec![]);
    catalog.commit_flush(flush).await.unwrap();
    let obsolete = |older_than| catalog.obsolete_objects(older_than);

    let kept = Replacement {
        keep_objects: true,
        ..replace(&[&a], &[&c])
    };
    catalog.replace_segments(kept).await.unwrap();
    assert_eq!(
        obsolete(Duration::ZERO).await.unwrap(),
        std::slice::from_ref(&a.path)
    );
    assert!(obsolete(Duration::from_secs(60)).await.unwrap().is_empty());
    // A replacement that fails keeps nothing.
    let failing = Replacement {
        keep_objects: true,
        ..replace(&[&b, &a], &[])
    };
    assert!(catalog.replace_segments(failing).await.is_err());
    catalog.remove_segments(&[b.id], 1, true).await.unwrap();
    catalog.remove_segments(&[c.id], 1, false).await.unwrap();
    let all = obsolete(Duration::ZERO).await.unwrap();
    assert_eq!(all, [a.path.clone(), b.path.clone()]);
    site.sql("UPDATE obsolete_objects SET since_ms = since_ms - 60000 WHERE path LIKE '%01B%'")
        .await;
    assert_eq!(
        obsolete(Duration::from_secs(59)).await.unwrap(),
        std::slice::from_ref(&b.path)
    );
    assert_eq!(obsolete(Duration::ZERO).await.unwrap()[0], b.path);
    catalog
        .forget_objects(&[a.path, "nowhere".to_owned()])
        .await
        .unwrap();
    assert_eq!(obsolete(Duration::ZERO).await.unwrap(), [b.path]);
}

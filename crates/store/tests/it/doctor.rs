//! What the doctor says of damaged segments, each part by itself.

use std::sync::Arc;

use logmill_catalog::{Catalog, Replacement};
use logmill_segment::SegmentFile;
use logmill_store::{Depth, Remedy, SegmentProblem};
use object_store::local::LocalFileSystem;

use crate::harness::{Folder, request};

/// A folder with one segment of a hundred records.
async fn one_segment() -> Folder {
    let folder = Folder::new();
    let store = folder.open().await;
    let numbers: Vec<i64> = (0..100).collect();
    store.append(request("a", &numbers)).await.unwrap();
    store.flush().await.unwrap();
    drop(store);
    folder
}

async fn problems(folder: &Folder) -> Vec<SegmentProblem> {
    let objects = LocalFileSystem::new_with_prefix(folder.objects()).unwrap();
    let catalog = folder.catalog().await;
    let report = logmill_store::verify(&catalog, Arc::new(objects), Depth::AllRows);
    let report = report.await.unwrap();
    assert_eq!((report.segments, report.rows), (1, 100));
    report.problems
}

fn said(problems: &[SegmentProblem]) -> Vec<(&'static str, Remedy)> {
    problems
        .iter()
        .map(|problem| (problem.part, problem.remedy))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_damage_is_named_with_what_helps() {
    let folder = one_segment().await;
    assert_eq!(problems(&folder).await, []);
    let path = folder.files().remove(0);
    let good = std::fs::read(&path).unwrap();
    let file = SegmentFile::open(&good.clone().into(), good.len() as u64)
        .unwrap()
        .unwrap();
    let metadata = file.metadata().clone();
    let (index, rollup) = (metadata.token_index.unwrap(), metadata.rollup.unwrap());
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let whole = ("object", Remedy::RestoreObject);
    let cases = [
        (
            at(index.offset + index.blocks_bytes + 1),
            ("index", Remedy::WriteAnew),
        ),
        (
            at(rollup.offset + rollup.bytes - 1),
            ("rollup", Remedy::WriteAnew),
        ),
        (
            at(file.row_group_range(0).start + 30),
            ("rows", Remedy::RestoreObject),
        ),
        (good.len() - 6, ("footer", Remedy::RestoreObject)),
    ];
    for (offset, expected) in cases {
        let mut bytes = good.clone();
        bytes[offset] ^= 0x55;
        std::fs::write(&path, bytes).unwrap();
        let found = problems(&folder).await;
        assert_eq!(said(&found)[..2], [whole, expected], "{found:?}");
        assert!(found[0].detail.contains("checksum"), "{found:?}");
    }
    std::fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert_eq!(
        said(&problems(&folder).await),
        [whole, ("footer", Remedy::RestoreObject)]
    );
    std::fs::remove_file(&path).unwrap();
    assert_eq!(said(&problems(&folder).await), [whole]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_says_something_else_is_named() {
    let folder = one_segment().await;
    let catalog = folder.catalog().await;
    let mut row = catalog.segments().await.unwrap().remove(0);
    let removed = vec![row.id.clone()];
    row.id.0.push('x');
    row.max_timestamp_ns += 1;
    row.columns.pop();
    // Two transactions, for both have the same object.
    let steps = [(removed, vec![]), (vec![], vec![row])];
    for (removed, added) in steps {
        let replacement = Replacement {
            removed,
            added,
            ..Replacement::default()
        };
        catalog.replace_segments(replacement).await.unwrap();
    }
    drop(catalog);
    let found = problems(&folder).await;
    assert_eq!(
        said(&found),
        [("catalog", Remedy::RestoreCatalog); 2],
        "{found:?}"
    );
}

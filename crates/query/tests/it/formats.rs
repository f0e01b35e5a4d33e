//! Segments of every released format answer questions, alone and merged with those of today.

use std::path::PathBuf;

use bytes::Bytes;
use logmill_catalog::{Catalog, Replacement, SegmentColumn, SegmentId, SegmentRow, SqliteCatalog};
use logmill_query_api::QueryLimits;
use logmill_segment::{FORMAT_VERSION, SegmentFile};
use logmill_store::{CompactionOptions, StoreOptions};
use tempfile::TempDir;

use crate::harness::{Row, Served, tenant};

const PATH: &str = "tenants/default/segments/1970-01-01/golden.parquet";

/// A folder whose one segment is a golden file.
async fn folder_with_golden(version: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../segment/testdata/v{version}/sample.parquet"));
    let bytes = Bytes::from(std::fs::read(golden).unwrap());
    let object = folder.path().join("objects").join(PATH);
    std::fs::create_dir_all(object.parent().unwrap()).unwrap();
    std::fs::write(object, &bytes).unwrap();
    let file = SegmentFile::open(&bytes, bytes.len() as u64)
        .unwrap()
        .unwrap();
    let metadata = file.metadata();
    let row = SegmentRow {
        id: SegmentId("golden".to_owned()),
        tenant: tenant(),
        path: PATH.to_owned(),
        rows: metadata.rows,
        bytes: bytes.len() as u64,
        min_timestamp_ns: metadata.min_timestamp_ns,
        max_timestamp_ns: metadata.max_timestamp_ns,
        columns: metadata
            .columns
            .iter()
            .map(|(name, column_type)| SegmentColumn {
                name: name.clone(),
                column_type: *column_type,
            })
            .collect(),
        checksum: 0,
        level: 0,
        created_at_ns: 0,
    };
    let catalog = SqliteCatalog::open(&folder.path().join("catalog.db"))
        .await
        .unwrap();
    let replacement = Replacement {
        added: vec![row],
        ..Replacement::default()
    };
    catalog.replace_segments(replacement).await.unwrap();
    folder
}

async fn questions_are_answered(served: &Served, more: usize) {
    let rows = |condition: &'static str| async move {
        served
            .rows(&format!("SELECT message FROM logs WHERE {condition}"))
            .await
    };
    assert_eq!(rows("true").await, 100 + more);
    assert_eq!(rows("has_token(message, '57')").await, 1);
    assert_eq!(rows("message = 'message number 57'").await, 1);
    assert_eq!(rows("message LIKE '%number 5_'").await, 10);
    assert_eq!(rows("has_phrase(message, 'number 1000')").await, 0);
    assert_eq!(rows("service = 'api'").await, 33);
    assert_eq!(rows("\"http.status\" >= 200").await, 80);
    assert_eq!(rows("timestamp < to_timestamp_nanos(10000)").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn golden_segments_answer_and_are_merged_into_the_format_of_today() {
    for version in 1..=FORMAT_VERSION {
        let folder = folder_with_golden(version).await;
        let options = StoreOptions {
            compaction: CompactionOptions {
                enabled: false,
                fan_in: 2,
                ..CompactionOptions::default()
            },
            ..StoreOptions::default()
        };
        let served = Served::over(folder, options, QueryLimits::default(), false).await;
        questions_are_answered(&served, 0).await;
        let row = |n| Row {
            t_ns: 1_000_000 + n,
            n,
            message: Some("of today".to_owned()),
            tag: None,
        };
        served.append(&(0..7).map(row).collect::<Vec<_>>()).await;
        served.store.flush().await.unwrap();
        assert_eq!(served.store.compact().await.unwrap(), 1);
        questions_are_answered(&served, 7).await;
        let (of_today, stats) = served.sql("has_phrase(message, 'of today')").await;
        assert_eq!((of_today.len(), stats.granules_total), (7, 1));
    }
}

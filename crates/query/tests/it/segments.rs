//! Segments of several row groups, in a remote store, with a cache too small for them, with attributes in the overflow
//! column: answers are those of a look at every row, and little is read for them.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_schema::Schema;
use futures::StreamExt;
use logmill_model::{ErrorKind, TimeRange, field};
use logmill_query_api::{Error, LogQuery, Order, QueryEngine, QueryLimits, Selection, SqlQuery};
use logmill_schema::ColumnType;
use logmill_segment::SegmentFile;
use logmill_store::{CompactionOptions, StoreOptions};

use crate::harness::{DAY, Row, Served, tenant};

/// Rows of a row group: enough for a merge to take it over as it is, and no multiple of a granule's.
const ROW_GROUP_ROWS: i64 = 70_000;
const GRANULES: u64 = 3 * 9;

fn row(n: i64) -> Row {
    Row {
        t_ns: DAY + n * 1_000,
        n,
        message: Some(format!("request w{n} of {}", n % 7)),
        tag: (n % 3 == 0).then(|| format!("t{}", n / 10_000)),
    }
}

/// One segment of three row groups, one after the other in time.
async fn three_row_groups(limits: QueryLimits, remote: bool) -> Served {
    let options = StoreOptions {
        compaction: CompactionOptions {
            enabled: false,
            fan_in: 3,
            ..CompactionOptions::default()
        },
        ..StoreOptions::default()
    };
    let served = Served::with(options, limits, remote).await;
    for part in 0..3 {
        let numbers = part * ROW_GROUP_ROWS..(part + 1) * ROW_GROUP_ROWS;
        served.append(&numbers.map(row).collect::<Vec<_>>()).await;
        served.store.flush().await.unwrap();
    }
    assert_eq!(served.store.compact().await.unwrap(), 1);
    assert_eq!(served.store.snapshot(&tenant()).segments.len(), 1);
    served
}

async fn look_ups_find_their_row(served: &Served) {
    for n in [
        0,
        8_191,
        8_192,
        ROW_GROUP_ROWS - 1,
        ROW_GROUP_ROWS,
        ROW_GROUP_ROWS + 8_192,
        2 * ROW_GROUP_ROWS,
        3 * ROW_GROUP_ROWS - 1,
    ] {
        let (found, stats) = served.sql(&format!("has_token(message, 'w{n}')")).await;
        assert_eq!(found, [n]);
        assert_eq!(stats.granules_total, GRANULES);
        // The token, and what else may have its hash.
        assert!(stats.granules_read <= 2, "{n}: {stats:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn granules_are_numbered_across_row_groups() {
    let served = three_row_groups(QueryLimits::default(), false).await;
    look_ups_find_their_row(&served).await;
    let in_two = 2 * ROW_GROUP_ROWS - 30..2 * ROW_GROUP_ROWS + 30;
    let (start, end) = (DAY + in_two.start * 1_000, DAY + in_two.end * 1_000);
    let condition = format!(
        "timestamp >= to_timestamp_nanos({start}) AND timestamp < to_timestamp_nanos({end})"
    );
    let (found, _) = served.sql(&condition).await;
    assert_eq!(found, in_two.collect::<Vec<_>>());
    let (found, _) = served.sql("tag = 't14'").await;
    let tagged = (140_000..150_000).filter(|n| n % 3 == 0);
    assert_eq!(found, tagged.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_newest_does_not_read_the_oldest() {
    let served = three_row_groups(QueryLimits::default(), false).await;
    let query = LogQuery {
        selection: Selection::all(tenant(), TimeRange::ALL),
        fields: Some(vec!["n".to_owned()]),
        order: Order::Desc,
        limit: 10,
        cursor: None,
        timeout_ms: None,
    };
    let newest: Vec<i64> = (0..10).map(|back| 3 * ROW_GROUP_ROWS - 1 - back).collect();
    assert_eq!(served.page(query.clone()).await, newest);
    let stats = served.engine.query(query).await.unwrap().stats;
    assert!(stats.granules_read < GRANULES, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_a_remote_store_are_read_through_it() {
    let served = three_row_groups(QueryLimits::default(), true).await;
    look_ups_find_their_row(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_too_small_for_any_segment_changes_no_answer() {
    for metadata_cache_bytes in [0, 40_000] {
        let limits = QueryLimits {
            metadata_cache_bytes,
            ..QueryLimits::default()
        };
        let served = Served::with(StoreOptions::default(), limits, false).await;
        for part in 0..20 {
            let rows: Vec<Row> = (part * 100..part * 100 + 100).map(row).collect();
            served.append(&rows).await;
            served.store.flush().await.unwrap();
        }
        for round in 0..3 {
            for n in [0, 999, 1_500, 1_999] {
                let (found, _) = served.sql(&format!("has_token(message, 'w{n}')")).await;
                assert_eq!(found, [n], "{metadata_cache_bytes} bytes, round {round}");
            }
            let (found, _) = served.sql("true").await;
            assert_eq!(found, (0..2_000).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_in_the_overflow_column_are_found_by_its_tokens() {
    let served = Served::start().await;
    let numbers = 0..30_000_i64;
    let times = numbers.clone().map(|n| DAY + n * 1_000);
    let times = TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC");
    let overflow = numbers
        .clone()
        .map(|n| (n % 2 == 0).then(|| format!(r#"{{"session":"s{n}","kind":"k{}"}}"#, n % 5)));
    let overflow: StringArray = overflow.collect();
    let ids = Int64Array::from_iter_values(numbers.clone());
    let fields = [
        ColumnType::Timestamp.field(field::TIMESTAMP),
        ColumnType::Integer.field("n"),
        ColumnType::String.field(field::OVERFLOW),
    ];
    let columns: [ArrayRef; 3] = [Arc::new(times), Arc::new(ids), Arc::new(overflow)];
    let columns = columns.iter().zip(&fields).map(|(column, field)| {
        logmill_schema::promote(column, field.name(), field.data_type()).unwrap()
    });
    let columns = columns.collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).unwrap();
    served.append_batch(batch).await;
    served.store.flush().await.unwrap();

    let (found, stats) = served
        .sql("overflow_get(_overflow, 'session') = 's12346'")
        .await;
    assert_eq!(found, [12_346]);
    assert!(stats.granules_read < stats.granules_total, "{stats:?}");
    let (found, stats) = served
        .sql("overflow_get(_overflow, 'session') = 's12347'")
        .await;
    assert_eq!(found, [0; 0]);
    assert!(stats.granules_read < stats.granules_total, "{stats:?}");
    let (found, _) = served.sql("overflow_get(_overflow, 'kind') = 'k3'").await;
    let of_kind = numbers.filter(|n| n % 2 == 0 && n % 5 == 3);
    assert_eq!(found, of_kind.collect::<Vec<_>>());
    let (found, _) = served.sql("overflow_get(_overflow, 'kinds') = 'k3'").await;
    assert_eq!(found, [0; 0]);
}

/// A page that is not what was written is told with the segment's name; what is beside it is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_is_named_and_others_are_read() {
    for remote in [false, true] {
        let served = Served::with(StoreOptions::default(), QueryLimits::default(), remote).await;
        let rows: Vec<Row> = (0..20_000).map(row).collect();
        served.append(&rows).await;
        served.store.flush().await.unwrap();
        let path = served.store.snapshot(&tenant()).segments[0]
            .row()
            .path
            .clone();
        let on_disk = served.objects_folder().join(&path);
        let bytes = bytes::Bytes::from(std::fs::read(&on_disk).unwrap());
        let file = SegmentFile::open(&bytes, bytes.len() as u64);
        let file = file.unwrap().unwrap();
        let page = file.column(0, "message").unwrap().unwrap();
        let page = page.page_range(1).unwrap();
        let disk = std::fs::OpenOptions::new().write(true).open(&on_disk);
        let damage = [0x55; 100];
        disk.unwrap().write_all_at(&damage, page.start).unwrap();
        let ask = |sql: &str| {
            let sql = sql.to_owned();
            served.engine.sql(SqlQuery {
                tenant: tenant(),
                sql,
                timeout_ms: None,
            })
        };
        let mut answer = ask("SELECT length(message) FROM logs").await.unwrap();
        let mut last = None;
        while let Some(batch) = answer.batches.next().await {
            last = Some(batch);
        }
        let error = last.unwrap().unwrap_err();
        let Error::Engine { kind, message } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*kind, ErrorKind::Corrupt, "{message}");
        assert!(message.contains(&path), "{message}");
        assert!(message.contains("column message: page 1: "), "{message}");
        let (numbers, _) = served.sql("n % 2 = 0").await;
        assert_eq!(numbers.len(), 10_000);
    }
}

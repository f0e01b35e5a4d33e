//! Answers that are read slowly.

use std::time::Duration;

use futures::StreamExt;
use logmill_query_api::{Error, QueryEngine, QueryLimits, SqlQuery};
use logmill_store::StoreOptions;

use crate::harness::{DAY, Row, Served, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalls_loses_its_place_when_the_time_is_over() {
    let limits = QueryLimits {
        max_concurrent: 1,
        timeout_ms: 3_000,
        ..QueryLimits::default()
    };
    let served = Served::with(StoreOptions::default(), limits, false).await;
    let rows = (0..100_000).map(|n| Row {
        t_ns: DAY + n,
        n,
        message: None,
        tag: None,
    });
    served.append(&rows.collect::<Vec<_>>()).await;
    served.store.flush().await.unwrap();
    let ask = || {
        served.engine.sql(SqlQuery {
            tenant: tenant(),
            sql: "SELECT n FROM logs".to_owned(),
            timeout_ms: None,
        })
    };
    let mut stalled = ask().await.unwrap();
    assert!(matches!(ask().await, Err(Error::TooManyQueries { .. })));
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let (found, _) = served.sql("n = 77777").await;
    assert_eq!(found, [77_777]);
    let mut last = None;
    while let Some(batch) = stalled.batches.next().await {
        last = Some(batch);
    }
    let last = last.unwrap();
    assert!(matches!(last, Err(Error::Timeout { .. })), "{last:?}");
}

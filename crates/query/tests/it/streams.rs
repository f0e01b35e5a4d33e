//! Answers that are read slowly, and places to run in.

use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use futures::StreamExt;
use logmill_query_api::{Error, QueryEngine, QueryLimits, SqlQuery};
use logmill_store::StoreOptions;

use crate::harness::{DAY, Row, Served, tenant};
use crate::logsql::asked;

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalls_loses_its_place_when_the_time_is_over() {
    let limits = QueryLimits {
        max_concurrent: 1,
        max_queued: 1,
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
    let ask = |timeout_ms: Option<u64>| {
        served.engine.sql(SqlQuery {
            tenant: tenant(),
            sql: "SELECT n FROM logs".to_owned(),
            timeout_ms,
        })
    };
    let mut stalled = ask(None).await.unwrap();
    assert!(matches!(
        ask(Some(100)).await,
        Err(Error::NeverRan { limit_ms: 100 })
    ));
    // What is asked later has time left when the place is free.
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let ((found, _), refused) = futures::join!(served.sql("n = 77777"), ask(None));
    assert_eq!(found, [77_777]);
    assert!(matches!(refused, Err(Error::TooManyQueries { .. })));
    let mut last = None;
    while let Some(batch) = stalled.batches.next().await {
        last = Some(batch);
    }
    let last = last.unwrap();
    assert!(matches!(last, Err(Error::Timeout { .. })), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn subqueries_run_in_the_place_of_their_query() {
    let limits = QueryLimits {
        max_concurrent: 1,
        max_queued: 0,
        ..QueryLimits::default()
    };
    let served = Served::with(StoreOptions::default(), limits, false).await;
    let rows = (0..10).map(|n| Row {
        t_ns: DAY + n,
        n,
        message: None,
        tag: None,
    });
    served.append(&rows.collect::<Vec<_>>()).await;
    let query = "n:in(n:<3 | fields n) | union (n:in(n:>4 | fields n)) | count() rows";
    for _ in 0..3 {
        let mut answer = served.engine.logsql(asked(query)).await.unwrap();
        let batch = answer.batches.next().await.unwrap().unwrap();
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[8]);
        while answer.batches.next().await.is_some() {}
    }
}

/// A query gives its thread up between granules: another one is answered meanwhile, and there it can be stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_gives_its_thread_up_between_granules() {
    let limits = QueryLimits {
        threads: 1,
        ..QueryLimits::default()
    };
    let served = Served::with(StoreOptions::default(), limits, false).await;
    let rows = (0..250_000).map(|n| Row {
        t_ns: DAY + n,
        n,
        message: Some(format!("a slow expression looks at every character of {n}")),
        tag: None,
    });
    served.append(&rows.collect::<Vec<_>>()).await;
    served.store.flush().await.unwrap();
    let ask = |sql: &str| {
        served.engine.sql(SqlQuery {
            tenant: tenant(),
            sql: sql.to_owned(),
            timeout_ms: None,
        })
    };
    // No row satisfies it, so that the first answer is the last one.
    let nothing = "SELECT n FROM logs WHERE regexp_like(message, '(a.*b.*c.*d|[0-9]+y.*q).*w$')";
    let mut long = ask(nothing).await.unwrap();
    let mut short = ask("SELECT count(*) FROM logs").await.unwrap();
    let batch = short.batches.next().await.unwrap().unwrap();
    let count = batch.column(0).as_primitive::<Int64Type>().value(0);
    assert_eq!(count, 250_000);
    assert!(futures::poll!(long.batches.next()).is_pending());
    while let Some(batch) = long.batches.next().await {
        assert_eq!(batch.unwrap().num_rows(), 0);
    }
}

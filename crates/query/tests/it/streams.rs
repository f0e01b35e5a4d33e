//! Answers that are read slowly, and places to run in.

use std::time::{Duration, Instant};

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

/// A predicate is asked of all granules of a unit before the first row is there: between two of them it can be stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_nobody_waits_for_stops_between_granules() {
    let limits = QueryLimits {
        max_concurrent: 1,
        threads: 1,
        match_cache_bytes: 0,
        ..QueryLimits::default()
    };
    let served = Served::with(StoreOptions::default(), limits, false).await;
    let message = "a slow expression looks at every character ".repeat(8);
    let rows = (0..100_000).map(|n| Row {
        t_ns: DAY + n,
        n,
        message: Some(format!("{message}{n}")),
        tag: None,
    });
    served.append(&rows.collect::<Vec<_>>()).await;
    served.store.flush().await.unwrap();
    let slow = || {
        served.engine.sql(SqlQuery {
            tenant: tenant(),
            sql: "SELECT n FROM logs WHERE regexp_like(message, '(a.*b.*c.*d|[0-9]+y.*q).*w$')"
                .to_owned(),
            timeout_ms: None,
        })
    };
    let begun = Instant::now();
    let mut whole = slow().await.unwrap();
    while whole.batches.next().await.is_some() {}
    let whole = begun.elapsed();
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let answer = slow().await.unwrap();
        tokio::time::sleep(whole / 10).await;
        drop(answer);
        let begun = Instant::now();
        // There is one thread to run on.
        served.sql("n = 77777").await;
        longest = longest.max(begun.elapsed());
    }
    assert!(longest < whole / 3, "{longest:?} of {whole:?}");
}

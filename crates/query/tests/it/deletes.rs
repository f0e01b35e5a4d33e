//! Deleted records are gone from answers at once.

use logmill_model::TimeRange;
use logmill_query_api::DeletePredicate;
use serde_json::json;

use crate::harness::{DAY, Row, Served, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_are_gone_before_compaction() {
    let served = Served::start().await;
    let rows: Vec<Row> = (0..20_000)
        .map(|n| Row {
            t_ns: DAY + n * 1_000,
            n,
            message: (n % 7 > 0).then(|| format!("Order {} of İstanbul", n % 5)),
            tag: (n % 2 == 0).then(|| format!("t{}", n % 3)),
        })
        .collect();
    served.append(&rows).await;
    let range = TimeRange {
        start_ns: DAY + 500,
        end_ns: DAY + 15_000_000,
    };
    let predicate = DeletePredicate {
        tenant: tenant(),
        from_ns: range.start_ns,
        to_ns: range.end_ns,
        text: Some("İSTANBUL \"order 3\"".to_owned()),
        filters: Some(json!({"tag": {"ne": "t1"}})),
    };
    let json = predicate.to_json().unwrap();
    served
        .store
        .begin_delete(&tenant(), json, range)
        .await
        .unwrap();
    // What comes later is not deleted.
    served.append(&rows[..10]).await;
    let deleted = |row: &&Row| {
        row.t_ns >= range.start_ns
            && row.t_ns < range.end_ns
            && row.n % 7 > 0
            && row.n % 5 == 3
            && row.tag.as_deref() != Some("t1")
    };
    let kept = |row: &&Row| !deleted(row);
    let all = || rows.iter().filter(kept).chain(&rows[..10]);
    for (sql, holds) in [
        ("true", (|_row| true) as fn(&Row) -> bool),
        ("has_token(message, '3')", |row| {
            row.n % 5 == 3 && row.n % 7 > 0
        }),
        ("tag = 't2'", |row| row.tag.as_deref() == Some("t2")),
    ] {
        let mut expected: Vec<i64> = all().filter(|row| holds(row)).map(|row| row.n).collect();
        expected.sort_unstable();
        let (found, _) = served.sql(sql).await;
        assert_eq!(found, expected, "{sql}");
    }
}

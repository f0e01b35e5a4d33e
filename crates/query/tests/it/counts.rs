//! Counts from rollups, first records by time, distinct texts and remembered matches: each answer is that of a look at
//! every row, whether records are in segments, under a delete, or in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampNanosecondType};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_cast::cast;
use arrow_schema::{DataType, Schema};
use futures::StreamExt;
use logmill_model::TimeRange;
use logmill_query_api::{DeletePredicate, QueryEngine, QueryStats, SqlQuery};
use logmill_schema::ColumnType;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::harness::{DAY, Served, tenant};

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) t_ns: i64,
    pub(crate) n: i64,
    pub(crate) level: Option<&'static str>,
    pub(crate) service: Option<&'static str>,
}

type Holds = fn(&Record) -> bool;

pub(crate) fn batch(records: &[Record]) -> RecordBatch {
    let times = records.iter().map(|record| record.t_ns);
    let times = TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC");
    let text = |of: fn(&Record) -> Option<String>| -> ArrayRef {
        Arc::new(records.iter().map(of).collect::<StringArray>())
    };
    let columns: Vec<(&str, ColumnType, ArrayRef)> = vec![
        ("timestamp", ColumnType::Timestamp, Arc::new(times)),
        (
            "level",
            ColumnType::String,
            text(|record| record.level.map(str::to_owned)),
        ),
        (
            "service",
            ColumnType::String,
            text(|record| record.service.map(str::to_owned)),
        ),
        (
            "message",
            ColumnType::String,
            text(|record| Some(format!("word{} of {}", record.n % 10, record.n))),
        ),
        (
            "n",
            ColumnType::Integer,
            Arc::new(
                records
                    .iter()
                    .map(|record| Some(record.n))
                    .collect::<Int64Array>(),
            ),
        ),
    ];
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, kind, _)| kind.field(name))
        .collect();
    let columns = columns.iter().zip(&fields).map(|((_, _, column), field)| {
        logmill_schema::promote(column, field.name(), field.data_type()).unwrap()
    });
    let columns = columns.collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Two segments, of one of which a delete took something, and memory; and what is left of all.
async fn served() -> (Served, Vec<Record>) {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut records = |range: std::ops::Range<i64>| -> Vec<Record> {
        range
            .map(|n| Record {
                // Three hours for each part, one after the other and a little into each other.
                t_ns: DAY + n * 2 * SECOND + random.random_range(0..90 * SECOND),
                n,
                level: [None, Some("info"), Some("warn"), Some("error")][random.random_range(0..4)],
                service: [None, Some("pay"), Some("web")][random.random_range(0..3)],
            })
            .collect()
    };
    let served = Served::start().await;
    let (first, second, third) = (
        records(0..5_000),
        records(5_000..10_000),
        records(10_000..12_000),
    );
    served.append_batch(batch(&first)).await;
    served.store.flush().await.unwrap();
    let deleted = DeletePredicate {
        tenant: tenant(),
        from_ns: DAY,
        to_ns: DAY + 30 * MINUTE,
        text: None,
        filters: Some(json!({"service": "pay"})),
    };
    let range = TimeRange {
        start_ns: deleted.from_ns,
        end_ns: deleted.to_ns,
    };
    let predicate = deleted.to_json().unwrap();
    served
        .store
        .begin_delete(&tenant(), predicate, range)
        .await
        .unwrap();
    served.append_batch(batch(&second)).await;
    served.store.flush().await.unwrap();
    served.append_batch(batch(&third)).await;
    let is_deleted = |record: &Record| record.t_ns < range.end_ns && record.service == Some("pay");
    let mut left: Vec<Record> = first
        .into_iter()
        .filter(|record| !is_deleted(record))
        .collect();
    left.extend(second);
    left.extend(third);
    (served, left)
}

pub(crate) async fn ask(served: &Served, sql: &str) -> (Vec<RecordBatch>, QueryStats) {
    let query = SqlQuery {
        tenant: tenant(),
        sql: sql.to_owned(),
        timeout_ms: None,
    };
    let mut answer = match served.engine.sql(query).await {
        Ok(answer) => answer,
        Err(error) => panic!("{sql}: {error}"),
    };
    let mut batches = Vec::new();
    while let Some(batch) = answer.batches.next().await {
        batches.push(batch.unwrap_or_else(|error| panic!("{sql}: {error}")));
    }
    (batches, answer.stats.get())
}

pub(crate) fn times(column: &ArrayRef) -> Vec<i64> {
    column
        .as_primitive::<TimestampNanosecondType>()
        .values()
        .to_vec()
}

fn texts(column: &ArrayRef) -> Vec<Option<String>> {
    let column = cast(column, &DataType::Utf8).unwrap();
    let column = column.as_string::<i32>();
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

pub(crate) fn time(t_ns: i64) -> String {
    format!("arrow_cast({t_ns}, 'Timestamp(Nanosecond, Some(\"UTC\"))')")
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_by_time_level_and_service_are_those_of_the_rows() {
    let (served, records) = served().await;
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let all = TimeRange {
        start_ns: DAY - MINUTE,
        end_ns: DAY + 10 * 60 * MINUTE,
    };
    for round in 0..60 {
        let mut cut = || match random.random_range(0..3) {
            0 => DAY + random.random_range(0..400) * MINUTE,
            1 => DAY + random.random_range(0..7) * 60 * MINUTE,
            _ => DAY + random.random_range(0..24_000) * SECOND + 123,
        };
        let (one, other) = (cut(), cut());
        let range = match round % 4 {
            0 => all,
            _ => TimeRange {
                start_ns: one.min(other),
                end_ns: one.max(other),
            },
        };
        let step = [1, 7, 60, 180][random.random_range(0..4)] * MINUTE;
        let only_errors = random.random_bool(0.5);
        let sql = format!(
            "SELECT date_bin(INTERVAL '{} minutes', l.timestamp) AS bucket, level, service, count(*) AS all_of_them, \
             count(*) FILTER (WHERE level = 'warn') AS warnings FROM logs AS l \
             WHERE timestamp >= {} AND timestamp < {}{} GROUP BY 1, 2, 3",
            step / MINUTE,
            time(range.start_ns),
            time(range.end_ns),
            if only_errors {
                " AND level IN ('error', 'warn')"
            } else {
                ""
            },
        );
        let mut expected: BTreeMap<_, (i64, i64)> = BTreeMap::new();
        for record in &records {
            let counts = range.contains(record.t_ns)
                && (!only_errors || matches!(record.level, Some("error" | "warn")));
            if counts {
                let bucket = record.t_ns.div_euclid(step) * step;
                let names = (
                    record.level.map(str::to_owned),
                    record.service.map(str::to_owned),
                );
                let cell = expected.entry((bucket, names)).or_default();
                cell.0 += 1;
                cell.1 += i64::from(record.level == Some("warn"));
            }
        }
        let (batches, _) = ask(&served, &sql).await;
        let mut found = BTreeMap::new();
        for batch in &batches {
            let numbers = |at: usize| {
                batch
                    .column(at)
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            };
            let names = texts(batch.column(1))
                .into_iter()
                .zip(texts(batch.column(2)));
            let keys = times(batch.column(0)).into_iter().zip(names);
            let counts = numbers(3).into_iter().zip(numbers(4));
            for (key, count) in keys.zip(counts) {
                assert!(found.insert(key, count).is_none(), "{sql}: a group twice");
            }
        }
        assert_eq!(found, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_read_only_what_no_rollup_knows() {
    let (served, records) = served().await;
    let one = |batches: &[RecordBatch]| batches[0].column(0).as_primitive::<Int64Type>().value(0);
    // The second segment alone, in whole minutes.
    let range = TimeRange {
        start_ns: DAY + 200 * MINUTE,
        end_ns: DAY + 300 * MINUTE,
    };
    let condition = format!(
        "timestamp >= {} AND timestamp < {}",
        time(range.start_ns),
        time(range.end_ns)
    );
    let sql = format!("SELECT count(*) FROM logs WHERE {condition} AND service = 'web'");
    let expected = records.iter().filter(|record| range.contains(record.t_ns));
    let expected = expected
        .filter(|record| record.service == Some("web"))
        .count();
    let (batches, stats) = ask(&served, &sql).await;
    assert_eq!(one(&batches), expected as i64);
    // No segment is looked at, and of memory it is known that it has nothing of that time.
    assert_eq!(stats.granules_read, 0, "{stats:?}");
    // Nothing at all is a count of zero, and no row.
    let none = "SELECT count(*) FROM logs WHERE timestamp < CAST(5 AS TIMESTAMP)";
    assert_eq!(one(&ask(&served, none).await.0), 0);
    // What a cell does not tell is counted by rows.
    let sql = "SELECT count(*) FROM logs WHERE n % 2 = 0 AND level = 'warn'";
    let expected = records
        .iter()
        .filter(|record| record.n % 2 == 0 && record.level == Some("warn"));
    assert_eq!(one(&ask(&served, sql).await.0), expected.count() as i64);
    let sql = "SELECT count(*) FROM (SELECT level FROM logs LIMIT 10)";
    assert_eq!(one(&ask(&served, sql).await.0), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_by_time_are_the_first_of_all_rows() {
    let (served, records) = served().await;
    let conditions: [(&str, Holds); 4] = [
        ("true", |_record| true),
        ("service = 'pay'", |record| record.service == Some("pay")),
        ("n < 5200", |record| record.n < 5_200),
        ("n < 0", |record| record.n < 0),
    ];
    for (condition, holds) in conditions {
        for (order, limit) in [
            ("ASC", 1),
            ("DESC", 1),
            ("ASC", 700),
            ("DESC", 700),
            ("DESC", 11_000),
        ] {
            let mut expected: Vec<i64> = records
                .iter()
                .filter(|record| holds(record))
                .map(|record| record.t_ns)
                .collect();
            expected.sort_unstable();
            if order == "DESC" {
                expected.reverse();
            }
            expected.truncate(limit);
            // Asked twice: the second time it is known which rows satisfy the condition.
            for _time in 0..2 {
                let sql = format!(
                    "SELECT t, m FROM (SELECT timestamp AS t, message AS m FROM logs WHERE {condition}) AS x ORDER BY t {order} LIMIT {limit}"
                );
                let (batches, _) = ask(&served, &sql).await;
                let found: Vec<i64> = batches
                    .iter()
                    .flat_map(|batch| times(batch.column(0)))
                    .collect();
                assert_eq!(found, expected, "{sql}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn matches_that_are_known_are_not_looked_for_again() {
    let (served, records) = served().await;
    let expected: BTreeSet<i64> = records
        .iter()
        .map(|record| record.n)
        .filter(|n| n % 10 == 3)
        .collect();
    let mut read = Vec::new();
    for _time in 0..2 {
        let (found, stats) = served.sql("has_token(message, 'word3')").await;
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
        let (batches, count) = ask(
            &served,
            "SELECT count(*) FROM logs WHERE has_token(message, 'word3')",
        )
        .await;
        let count_found = batches[0].column(0).as_primitive::<Int64Type>().value(0);
        assert_eq!(count_found, expected.len() as i64);
        read.push((stats.granules_read, count.granules_read));
    }
    // The count needs no row of a segment; one granule is memory.
    assert_eq!(read[1].1, 1, "{read:?}");
    // Another delete is another question.
    let deleted = DeletePredicate {
        tenant: tenant(),
        from_ns: DAY,
        to_ns: DAY + 300 * MINUTE,
        text: Some("word3".to_owned()),
        filters: None,
    };
    let range = TimeRange {
        start_ns: deleted.from_ns,
        end_ns: deleted.to_ns,
    };
    let predicate = deleted.to_json().unwrap();
    served
        .store
        .begin_delete(&tenant(), predicate, range)
        .await
        .unwrap();
    let (found, _) = served.sql("has_token(message, 'word3')").await;
    let left = records
        .iter()
        .filter(|record| record.n % 10 == 3 && record.t_ns >= range.end_ns);
    assert_eq!(found, left.map(|record| record.n).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn different_texts_are_counted() {
    let (served, records) = served().await;
    let sql = "SELECT service, count(DISTINCT message), count(DISTINCT level), count(DISTINCT n), count(*) FROM logs GROUP BY service";
    let (batches, _) = ask(&served, sql).await;
    let mut found = BTreeMap::new();
    for batch in &batches {
        let numbers = |at: usize| {
            batch
                .column(at)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        };
        let (messages, levels, ns, all) = (numbers(1), numbers(2), numbers(3), numbers(4));
        for (row, service) in texts(batch.column(0)).into_iter().enumerate() {
            found.insert(service, (messages[row], levels[row], ns[row], all[row]));
        }
    }
    let mut expected = BTreeMap::new();
    for service in [None, Some("pay"), Some("web")] {
        let count = records
            .iter()
            .filter(|record| record.service == service)
            .count() as i64;
        expected.insert(service.map(str::to_owned), (count, 3, count, count));
    }
    assert_eq!(found, expected);
    let none = "SELECT count(DISTINCT message) FROM logs WHERE n < 0";
    let (batches, _) = ask(&served, none).await;
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_counted_by_text_however_many_texts_there_are() {
    for distinct in [3, 20_000] {
        let served = Served::start().await;
        let records: Vec<Record> = (0..60_000)
            .map(|n| Record {
                t_ns: DAY + n * SECOND,
                n: n % distinct,
                level: None,
                service: (n % 3 > 0).then_some("api"),
            })
            .collect();
        let (old, new) = records.split_at(45_000);
        served.append_batch(batch(old)).await;
        served.store.flush().await.unwrap();
        served.append_batch(batch(new)).await;
        let mut expected: BTreeMap<Vec<String>, i64> = BTreeMap::new();
        for record in &records {
            let message = format!("word{} of {}", record.n % 10, record.n);
            *expected.entry(vec![message]).or_default() += 1;
        }
        let ask = |sql: &'static str| {
            served.engine.sql(SqlQuery {
                tenant: tenant(),
                sql: sql.to_owned(),
                timeout_ms: None,
            })
        };
        let counts = "SELECT message, count(*) FROM logs GROUP BY message";
        let mut answer = ask(counts).await.unwrap();
        let mut found = BTreeMap::new();
        while let Some(batch) = answer.batches.next().await {
            let batch = batch.unwrap();
            let counts = batch.column(1).as_primitive::<Int64Type>().values();
            for (text, count) in batch.column(0).as_string_view().iter().zip(counts) {
                assert!(
                    found
                        .insert(vec![text.unwrap().to_owned()], *count)
                        .is_none()
                );
            }
        }
        assert!(found == expected, "{distinct}");
        let of_service = "SELECT service, count(*) FROM logs WHERE n >= 0 GROUP BY 1 ORDER BY 1";
        let mut answer = ask(of_service).await.unwrap();
        let batch = answer.batches.next().await.unwrap().unwrap();
        let services = batch.column(0).as_string_view().iter();
        assert_eq!(services.collect::<Vec<_>>(), [Some("api"), None]);
        let counts = batch.column(1).as_primitive::<Int64Type>().values();
        assert_eq!(counts, &[40_000, 20_000]);
        for (sql, by_text) in [
            (
                "EXPLAIN SELECT message, count(*) FROM logs GROUP BY message",
                true,
            ),
            (
                "EXPLAIN SELECT message, max(n) FROM logs GROUP BY message",
                false,
            ),
        ] {
            let mut answer = ask(sql).await.unwrap();
            let batch = answer.batches.next().await.unwrap().unwrap();
            let plans = cast(batch.column(1), &DataType::Utf8View).unwrap();
            let plan = plans.as_string_view().iter().flatten().collect::<String>();
            assert_eq!(plan.contains("CountByTextExec"), by_text, "{plan}");
        }
    }
}

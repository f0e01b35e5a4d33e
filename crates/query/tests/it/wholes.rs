//! What large segments and memory say of their rows, their newest ones and their values: each answer is that of a look at
//! every row.

use std::collections::BTreeMap;

use logmill_model::TimeRange;
use logmill_query_api::{FacetsQuery, LeftOutReason, QueryEngine, Selection};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::counts::{MINUTE, Record, SECOND, ask, batch, time, times};
use crate::harness::{DAY, Served, tenant};

/// So many that a segment says more of them than their rows.
const MANY: i64 = 70_000;

/// Two segments, the second in part as old as the first, and memory.
async fn served() -> (Served, Vec<Record>) {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let served = Served::start().await;
    let mut all = Vec::new();
    for (part, rows) in [MANY, MANY, 3_000].into_iter().enumerate() {
        let base = DAY + part as i64 * 40 * MINUTE;
        let records: Vec<Record> = (0..rows)
            .map(|n| Record {
                // Whole seconds: many records have the same time.
                t_ns: base + random.random_range(0..3_600) * SECOND,
                n,
                level: [None, Some("info"), Some("error")][random.random_range(0..3)],
                service: [Some("pay"), Some("web")][random.random_range(0..2)],
            })
            .collect();
        for records in records.chunks(10_000) {
            served.append_batch(batch(records)).await;
        }
        if part < 2 {
            served.store.flush().await.unwrap();
        }
        all.extend(records);
    }
    (served, all)
}

fn ranges() -> [TimeRange; 5] {
    let range = |start_ns, end_ns| TimeRange { start_ns, end_ns };
    [
        range(DAY - SECOND, DAY + 600 * MINUTE),
        // The first segment whole, the second cut.
        range(DAY, DAY + 95 * MINUTE + 1),
        // Inside of the first segment's newest records.
        range(DAY, DAY + 60 * MINUTE - 5 * SECOND),
        range(DAY + 10 * MINUTE + 1, DAY + 50 * MINUTE),
        // Memory alone.
        range(DAY + 105 * MINUTE, DAY + 600 * MINUTE),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_are_the_latest_of_all_rows() {
    let (served, records) = served().await;
    for range in ranges() {
        for (condition, service) in [("true", None), ("service = 'pay'", Some("pay"))] {
            for limit in [1, 100, 1_500, 5_000] {
                let mut expected: Vec<i64> = records
                    .iter()
                    .filter(|record| range.contains(record.t_ns))
                    .filter(|record| service.is_none() || record.service == service)
                    .map(|record| record.t_ns)
                    .collect();
                expected.sort_unstable_by(|one, other| other.cmp(one));
                expected.truncate(limit);
                let sql = format!(
                    "SELECT timestamp, n FROM logs WHERE {condition} AND timestamp >= {} AND timestamp < {} \
                     ORDER BY timestamp DESC LIMIT {limit}",
                    time(range.start_ns),
                    time(range.end_ns),
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
    // Without memory the second segment's own block has most of them: what is read is the granule of the third, and those
    // that are looked into together with both.
    served.store.flush().await.unwrap();
    let sql = format!(
        "SELECT timestamp, message FROM logs WHERE timestamp < {} ORDER BY timestamp DESC LIMIT 100",
        time(DAY + 100 * MINUTE)
    );
    let (_, stats) = ask(&served, &sql).await;
    assert!(stats.granules_read < 10, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn facets_are_the_counts_of_all_rows() {
    let (served, records) = served().await;
    for range in ranges() {
        let query = FacetsQuery {
            selection: Selection::all(tenant(), range),
            fields: Some(
                ["level", "service", "n", "message", "none"]
                    .map(str::to_owned)
                    .into(),
            ),
            limit: 10,
            timeout_ms: None,
        };
        let facets = served.engine.facets(query).await.unwrap();
        let selected = || records.iter().filter(|record| range.contains(record.t_ns));
        assert_eq!(facets.total, selected().count() as u64, "{range:?}");
        let values: [fn(&Record) -> Option<&str>; 2] =
            [|record| record.level, |record| record.service];
        for (facet, value) in facets.facets.iter().zip(values) {
            let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
            for value in selected().filter_map(value) {
                *expected.entry(value).or_default() += 1;
            }
            let found = facet.values.iter();
            let found: BTreeMap<&str, u64> = found
                .map(|value| (value.value.as_str(), value.count))
                .collect();
            assert_eq!(found, expected, "{range:?} {}", facet.field);
            assert_eq!(facet.records, expected.values().sum::<u64>());
        }
        let names: Vec<_> = facets
            .facets
            .iter()
            .map(|facet| facet.field.as_str())
            .collect();
        let left_out = facets.left_out.iter();
        let left_out: Vec<_> = left_out
            .map(|left| (left.field.as_str(), left.reason))
            .collect();
        assert_eq!(names, ["level", "service"]);
        let too_many = LeftOutReason::TooManyValues;
        let none = LeftOutReason::NoValues;
        assert_eq!(
            left_out,
            [("none", none), ("n", too_many), ("message", too_many)]
        );
    }
    // Everything is known but the minutes that are cut.
    served.store.flush().await.unwrap();
    let query = |range| FacetsQuery {
        selection: Selection::all(tenant(), range),
        fields: None,
        limit: 10,
        timeout_ms: None,
    };
    let [all, cut, ..] = ranges();
    let read = served.engine.facets(query(all)).await.unwrap().stats;
    // The third segment is small.
    assert_eq!(read.granules_read, 1, "{read:?}");
    let read = served.engine.facets(query(cut)).await.unwrap().stats;
    assert!(read.granules_read > 1, "{read:?}");
}

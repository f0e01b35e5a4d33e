//! LogsQL on the engine gives what the naive interpreter gives.

mod compare;
mod data;
mod generate;
mod page;

use futures::StreamExt;
use logmill_interpreter::{Interpreter, Row};
use logmill_lang::Query;
use logmill_lang::ast::Pipe;
use logmill_lang::value::order::compare as compare_values;
use logmill_model::TimeRange;
use logmill_query_api::{Error, LogsQlQuery, QueryEngine};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use crate::harness::{DAY, tenant};
use data::Dataset;

/// When all queries are asked.
const NOW_NS: i64 = DAY + 43_200_000_000_000;

async fn ask(dataset: &Dataset, query: &Query, range: TimeRange) -> Result<Vec<Row>, Error> {
    let asked = LogsQlQuery {
        tenant: tenant(),
        query: query.clone(),
        range,
        now_ns: NOW_NS,
        limit: None,
        timeout_ms: None,
    };
    let mut answer = dataset.served.engine.logsql(asked).await?;
    let mut rows = Vec::new();
    while let Some(batch) = answer.batches.next().await {
        rows.extend(compare::rows(&batch?));
    }
    Ok(rows)
}

/// Why the engine's answer is wrong, if it is.
async fn disagreement(dataset: &Dataset, query: &Query, range: TimeRange) -> Option<String> {
    let interpreter = Interpreter {
        records: &dataset.rows,
        now_ns: NOW_NS,
        range,
    };
    let expected = interpreter.run(query);
    let found = ask(dataset, query, range).await;
    match (found, expected) {
        (Ok(found), Ok(expected)) => {
            compare::difference(&found, &expected).or_else(|| disorder(query, &found))
        }
        (Err(_), Err(_)) => None,
        (Err(error), Ok(_)) => Some(format!("the engine fails: {error}")),
        (Ok(_), Err(error)) => Some(format!("the engine answers, though {error}")),
    }
}

/// Whether rows that a query sorts are in another order.
fn disorder(query: &Query, rows: &[Row]) -> Option<String> {
    let Some(Pipe::Sort(sort)) = query.pipes.last() else {
        return None;
    };
    if !sort.partition_by.is_empty() || sort.by.iter().any(|by| is_computed(&by.field)) {
        return None;
    }
    let get = |row: &Row, name: &str| row.get(name).cloned().unwrap_or_default();
    let is_after = |pair: &[Row]| {
        let order = sort.by.iter().map(|by| {
            let order = compare_values(&get(&pair[0], &by.field), &get(&pair[1], &by.field));
            if by.descending == sort.descending {
                order
            } else {
                order.reverse()
            }
        });
        order
            .into_iter()
            .find(|order| order.is_ne())
            .is_some_and(std::cmp::Ordering::is_gt)
    };
    let wrong = rows.windows(2).find(|pair| is_after(pair))?;
    Some(format!("not in order: {wrong:?}"))
}

/// Fields that records have without showing them.
fn is_computed(name: &str) -> bool {
    matches!(name, "_stream_id" | "message" | "timestamp")
}

fn ranges() -> impl Strategy<Value = TimeRange> {
    prop_oneof![
        3 => Just(TimeRange::ALL),
        1 => (0_i64..24, 1_i64..24).prop_map(|(start, hours)| {
            let start_ns = DAY + start * 3_600_000_000_000;
            TimeRange { start_ns, end_ns: start_ns + hours * 3_600_000_000_000 }
        }),
    ]
}

/// Queries that the engine's planner took for others once.
const ONCE_WRONG: [&str; 20] = [
    // What is no number among texts.
    "* | math -level as r1 | stats by (id) max(r*) as s0",
    "* | math -level as r1 | stats min(r*) as low, median(r*, level) as middle",
    // Filters that match the empty text, in segments: pruning took their description for a regular expression.
    "level:contains_all()",
    "_msg:~\"(GET)?\"",
    "host:len_range(0, 2)",
    // Two windows of one name.
    "* | first 1 by (absent, gone) rank as a | first 1 by (absent, gone) rank as b | count()",
    "* | sort by (id) rank as a | sort by (id) rank as b | fields id, a, b",
    "* | sort by (gone) rank as a | sort by (gone) rank as b | count()",
    // Two columns of one name.
    "* | copy id as copied | union (*) | extract \"GET <path> <status>\" | fields id, copied, path, status",
    "* | copy n as copied | join by (id) (* | fields id, level) | extract \"GET <path> <status>\" | fields id, copied, path",
    "* | join by (host, host) (*)",
    "* | top 1 by (n) hits as hits | extract \"<r1> <r2>\" from id",
    // Conditions of constants below aggregates without groups.
    "* | union (* | stats count_uniq(id) as s0) | filter id:=error*",
    "* | union (* | stats count() s0) | filter id:\"\"",
    "* | stats count() n | format \"x\" as c | filter c:=y",
    "* | field_names | format \"x\" as c | filter c:=y",
    // Orders below limits that only skip.
    "* | sort by (level, id) offset 1 | sort by (id)",
    "* | sort by (level, id) | offset 3 | sort by (id) | fields id",
    "* | first 5 by (level, id) rank as r | offset 1 | sort by (id) | fields id, r",
    "* | sort by (id) limit 18446744073709551615 offset 18446744073709551615",
];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn queries_that_were_wrong_once_are_right() {
    runtime().block_on(async {
        let mut wrong = Vec::new();
        for dataset in data::datasets().await {
            for text in ONCE_WRONG {
                let query = logmill_lang::parse(text).unwrap();
                if let Some(problem) = disagreement(&dataset, &query, TimeRange::ALL).await {
                    wrong.push(format!("{text}, records {}: {problem}", dataset.name));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn the_engine_agrees_with_the_interpreter() {
    let runtime = runtime();
    let datasets = runtime.block_on(data::datasets());
    let strategy = (0..datasets.len(), generate::query(), ranges());
    // The same cases each time, so that the suite means the same each time; PROPTEST_CASES and PROPTEST_RNG_SEED ask others.
    let asked = Config::default();
    let rng_seed = match asked.rng_seed {
        RngSeed::Random => RngSeed::Fixed(5),
        given => given,
    };
    let config = Config {
        rng_seed,
        failure_persistence: None,
        max_shrink_time: 60_000,
        ..asked
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&strategy, |(dataset, query, range)| {
        let dataset = &datasets[dataset];
        match runtime.block_on(disagreement(dataset, &query, range)) {
            None => Ok(()),
            Some(problem) => Err(TestCaseError::fail(format!(
                "{query}\nrecords {}, {range:?}\n{problem}",
                dataset.name
            ))),
        }
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

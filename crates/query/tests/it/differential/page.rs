//! The examples of docs/logsql.md.

use logmill_interpreter::Row;
use logmill_model::TimeRange;
use logmill_query_api::QueryLimits;
use logmill_store::StoreOptions;

use super::data::{Dataset, decoded};
use super::{ask, compare};
use crate::harness::Served;

const PAGE: &str = include_str!("../../../../../docs/logsql.md");

/// The fenced blocks of a page: what each is, and its text.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    // Every second part is inside of fences.
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced
        .map(|block| block.split_once('\n').unwrap_or((block, "")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_of_the_page_give_the_rows_below_them() {
    let mut blocks = blocks(PAGE).into_iter().peekable();
    let (kind, records) = blocks.next().unwrap();
    assert_eq!(kind, "records");
    let served = Served::with(StoreOptions::default(), QueryLimits::default(), false).await;
    let batch = decoded(records.as_bytes().to_vec(), &|_| true);
    served.append_batch(batch).await;
    let dataset = Dataset {
        served,
        rows: Vec::new(),
        name: "of the page",
    };
    let mut examples = 0;
    while let Some((kind, query)) = blocks.next() {
        assert_eq!(kind, "logsql", "{query}");
        let (kind, expected) = blocks.next().unwrap();
        assert_eq!(kind, "rows", "{query}");
        let lines = expected.lines().filter(|line| !line.is_empty());
        let expected: Vec<Row> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let parsed = logmill_lang::parse(query).unwrap();
        let found = ask(&dataset, &parsed, TimeRange::ALL).await.unwrap();
        if let Some(difference) = compare::difference(&found, &expected) {
            panic!("{query}: {difference}");
        }
        if query.contains("| sort by") {
            assert_eq!(found, expected, "{query}");
        }
        examples += 1;
    }
    assert!(examples >= 15, "the page has examples");
}

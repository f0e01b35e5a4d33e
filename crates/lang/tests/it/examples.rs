//! Queries as people write them, by the sections of the documentation of LogsQL, and how they are printed. The
//! snapshot is read line by line whenever it changes.

use std::fmt::Write as _;

use logmill_lang::parse;

#[track_caller]
fn printed(queries: &str) -> String {
    let mut lines = String::new();
    for text in queries.split("\n\n").map(str::trim) {
        let query = parse(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        let canonical = query.to_string();
        assert_eq!(parse(&canonical).as_ref(), Ok(&query), "{text}");
        writeln!(lines, "{text}\n    {canonical}").unwrap();
    }
    lines
}

#[test]
fn filters() {
    insta::assert_snapshot!(printed(include_str!("queries/filters.txt")));
}

#[test]
fn pipes() {
    insta::assert_snapshot!(printed(include_str!("queries/pipes.txt")));
}

#[test]
fn stats() {
    insta::assert_snapshot!(printed(include_str!("queries/stats.txt")));
}

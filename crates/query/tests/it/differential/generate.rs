//! Queries, made of every filter, pipe and function.

mod filters;
mod functions;
mod pipes;
mod tame;

use logmill_lang::Query;
use logmill_lang::ast::{Duration, FieldPattern, Number};
use logmill_lang::value::duration::parse_duration;
use logmill_lang::value::number::parse_value;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::data::NAMES;

/// A query whose answer nothing is left to chance in.
pub(crate) fn query() -> impl Strategy<Value = Query> {
    (filters::filter(), vec(pipes::pipe(), 0..4)).prop_map(|(filter, pipes)| {
        let mut query = Query::new(filter);
        query.pipes = pipes;
        tame::tame(&mut query);
        query
    })
}

/// The name of a field that records may have.
fn name() -> impl Strategy<Value = String> {
    let names = NAMES.into_iter();
    let special = [
        "_msg",
        "_msg",
        "_time",
        "_stream",
        "_stream_id",
        "message",
        "absent",
        "s0",
        "r1",
        "r2",
    ];
    select(names.chain(special).map(str::to_owned).collect::<Vec<_>>())
}

/// One or two names.
fn different_names() -> impl Strategy<Value = Vec<String>> {
    vec(name(), 1..3).prop_map(|mut names| {
        names.dedup();
        names
    })
}

/// The name of a field that a pipe writes.
fn result_name() -> impl Strategy<Value = String> {
    select(
        ["r1", "r2", "r1", "r2", "n", "host", "_msg"]
            .map(str::to_owned)
            .to_vec(),
    )
}

fn pattern() -> impl Strategy<Value = FieldPattern> {
    prop_oneof![
        6 => name().prop_map(FieldPattern::Name),
        1 => select(["e", "u", "f", "_", "r"].to_vec())
            .prop_map(|prefix| FieldPattern::Prefix(prefix.to_owned())),
    ]
}

fn patterns() -> impl Strategy<Value = Vec<FieldPattern>> {
    prop_oneof![
        6 => vec(pattern(), 1..4),
        1 => Just(vec![FieldPattern::all()]),
    ]
}

/// A text that values may have, or be part of.
fn text() -> impl Strategy<Value = String> {
    const TEXTS: [&str; 34] = [
        "error",
        "Error",
        "err",
        "GET",
        "users",
        "foo/bar",
        "/api",
        "10",
        "200",
        "12ms",
        "a",
        "b",
        "two",
        "τιμή",
        "été",
        "api",
        "h1",
        "info",
        "42",
        "x",
        "deep",
        "past the",
        "10.0.0",
        "",
        " ",
        "user=\"bob",
        "abc",
        "true",
        "2.5",
        "e1",
        "2024",
        "cannot open",
        "spaces",
        "字",
    ];
    select(TEXTS.map(str::to_owned).to_vec())
}

/// A number as it may be written.
fn number() -> impl Strategy<Value = Number> {
    const NUMBERS: [&str; 18] = [
        "0",
        "-7",
        "3",
        "5",
        "10",
        "42",
        "2.5",
        "0.001",
        "10KiB",
        "1MB",
        "1s",
        "12ms",
        "10.0.0.7",
        "127.0.0.1",
        "2024-05-15T12:00:00Z",
        "inf",
        "-inf",
        "9007199254740993",
    ];
    select(NUMBERS.to_vec()).prop_map(written)
}

fn written(text: &str) -> Number {
    Number {
        text: text.to_owned(),
        value: parse_value(text).unwrap(),
    }
}

fn duration() -> impl Strategy<Value = Duration> {
    select(["30m", "1h", "5h30m", "1d", "-2h"].to_vec()).prop_map(|text| Duration {
        text: text.to_owned(),
        ns: parse_duration(text).unwrap(),
    })
}

/// A regular expression that does not match in the middle of a character of several bytes.
fn regexp() -> impl Strategy<Value = String> {
    const REGEXPS: [&str; 12] = [
        "err|warn",
        "(?i)error",
        "^GET",
        "[0-9]+ms",
        "(?P<r1>[a-z]+)=(?P<r2>[^ ]*)",
        "o+",
        "\\d{3}",
        "",
        "a.b",
        "É|字",
        "^$",
        "/(?P<r1>v1|foo)",
    ];
    select(REGEXPS.map(str::to_owned).to_vec())
}

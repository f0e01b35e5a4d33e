//! Random conditions, checked against every row.

use logmill_model::TimeRange;
use logmill_model::token::{Phrase, folded_tokens};
use logmill_query_api::{LogQuery, Order, Selection, TextQuery};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use regex::Regex;

use crate::harness::{DAY, Row, Served, tenant};

const WORDS: [&str; 20] = [
    "disk",
    "Disk",
    "diſk",
    "DISK",
    "\u{212a}elvin",
    "kelvin",
    "İstanbul",
    "istanbul",
    "Straße",
    "STRASSE",
    "ΟΔΟΣ",
    "οδος",
    "x_y",
    "x½",
    "10",
    "disks",
    "full",
    "字",
    "é",
    "É",
];
const SEPARATORS: [&str; 7] = [" ", "-", "\n", ".", "%", "\u{301}", " = "];

type Check = Box<dyn Fn(&Row) -> bool>;

fn text(random: &mut ChaCha8Rng, most: usize, words: &[&str]) -> String {
    let mut text = String::new();
    for _ in 0..random.random_range(0..=most) {
        text.push_str(words.choose(random).unwrap());
        text.push_str(SEPARATORS.choose(random).unwrap());
    }
    text.push_str(words.choose(random).unwrap());
    text
}

/// Records of a segment: long runs of few words, so that granules differ.
fn rows(random: &mut ChaCha8Rng, segment: i64, count: i64, step_ns: i64, first: i64) -> Vec<Row> {
    let mut all = Vec::new();
    let mut words = WORDS
        .choose_multiple(random, 4)
        .copied()
        .collect::<Vec<_>>();
    for number in 0..count {
        if number % 5_000 == 0 {
            words = WORDS.choose_multiple(random, 4).copied().collect();
        }
        let rare = random.random_ratio(1, 4_000);
        let words = if rare { &WORDS[..] } else { &words };
        all.push(Row {
            t_ns: DAY + segment * 10_000_000_000 + number * step_ns,
            n: first + number,
            message: random.random_ratio(19, 20).then(|| text(random, 3, words)),
            tag: (segment % 2 == 0 && random.random_ratio(1, 2)).then(|| text(random, 1, words)),
        });
    }
    all
}

fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

fn escaped_like(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('%', r"\%")
        .replace('_', r"\_")
}

fn on(column: &'static str, check: impl Fn(&str) -> bool + 'static) -> Check {
    Box::new(move |row| {
        let value = if column == "tag" {
            &row.tag
        } else {
            &row.message
        };
        value.as_deref().is_some_and(&check)
    })
}

#[allow(clippy::too_many_lines, reason = "an arm for each form of condition")]
fn leaf(random: &mut ChaCha8Rng, all: &[Row]) -> (String, Check) {
    let column = if random.random_ratio(1, 4) {
        "tag"
    } else {
        "message"
    };
    // Half of the texts are there, the others mostly not.
    let some = all.choose(random).unwrap().message.clone();
    let wanted = match some {
        Some(some) if random.random_ratio(1, 2) => some,
        _ => text(random, 2, &WORDS),
    };
    let word = *WORDS.choose(random).unwrap();
    let sql = quoted(&wanted);
    match random.random_range(0..10) {
        0 => {
            let tokens = folded_tokens(word);
            let whole = format!("has_phrase({column}, '{word}')");
            (
                whole,
                on(column, move |value| {
                    Phrase::new(tokens.clone()).is_in(value)
                }),
            )
        }
        1 => {
            let tokens = folded_tokens(&wanted);
            let whole = format!("has_phrase({column}, '{sql}')");
            (
                whole,
                on(column, move |value| {
                    Phrase::new(tokens.clone()).is_in(value)
                }),
            )
        }
        2 => (
            format!("{column} = '{sql}'"),
            on(column, move |value| value == wanted),
        ),
        3 => {
            let other = text(random, 1, &WORDS);
            let whole = format!(
                "{column} IN ('{sql}', '{}', 'never', 'a', 'b')",
                quoted(&other)
            );
            (
                whole,
                on(column, move |value| value == wanted || value == other),
            )
        }
        4 => (
            format!("starts_with({column}, '{sql}')"),
            on(column, move |value| value.starts_with(&wanted)),
        ),
        5 => (
            format!("strpos({column}, '{sql}') > 0"),
            on(column, move |value| value.contains(&wanted)),
        ),
        6 | 7 => {
            let any_case = random.random_ratio(1, 2);
            let (front, back) = (random.random_ratio(1, 2), random.random_ratio(1, 2));
            let wild = |wild: bool| if wild { "%" } else { "" };
            let operator = if any_case { "ILIKE" } else { "LIKE" };
            let whole = format!(
                "{column} {operator} '{}{}{}'",
                wild(front),
                quoted(&escaped_like(&wanted)),
                wild(back)
            );
            let flags = if any_case { "(?is)" } else { "(?s)" };
            let pattern = format!(
                "{flags}{}{}{}",
                if front { "" } else { "^" },
                regex::escape(&wanted),
                if back { "" } else { "$" }
            );
            let regex = Regex::new(&pattern).unwrap();
            (whole, on(column, move |value| regex.is_match(value)))
        }
        8 => {
            let parts = [
                "^",
                "$",
                "[ .-]+",
                r"\s",
                r"\b",
                "s?",
                ".*",
                "(disk|full)",
                "(?i:disk) ",
                "(?i)kelvin",
                " ",
                "(é|İstanbul) ",
                "[Dd]isk",
                "(ab)*",
                "-",
            ];
            let mut pattern = String::new();
            for _ in 0..random.random_range(1..5) {
                pattern.push_str(parts.choose(random).unwrap());
                if random.random_ratio(1, 3) {
                    pattern.push_str(&regex::escape(word));
                }
            }
            let flags = *["", "i", "m", "s"].choose(random).unwrap();
            let (whole, with_flags) = if flags.is_empty() {
                (format!("matches({column}, '{pattern}')"), pattern)
            } else {
                let whole = format!("regexp_like({column}, '{pattern}', '{flags}')");
                (whole, format!("(?{flags}){pattern}"))
            };
            let regex = Regex::new(&with_flags).unwrap();
            (whole, on(column, move |value| regex.is_match(value)))
        }
        _ => {
            let bound = all.choose(random).unwrap().t_ns + random.random_range(-600..600);
            let time = format!("arrow_cast({bound}, 'Timestamp(Nanosecond, Some(\"UTC\"))')");
            let operator = *["<", "<=", ">", ">=", "=", "<>"].choose(random).unwrap();
            let check = move |row: &Row| match operator {
                "<" => row.t_ns < bound,
                "<=" => row.t_ns <= bound,
                ">" => row.t_ns > bound,
                ">=" => row.t_ns >= bound,
                "=" => row.t_ns == bound,
                _ => row.t_ns != bound,
            };
            (format!("timestamp {operator} {time}"), Box::new(check))
        }
    }
}

fn condition(random: &mut ChaCha8Rng, all: &[Row], depth: u32) -> (String, Check) {
    if depth == 0 || random.random_ratio(1, 3) {
        return leaf(random, all);
    }
    let (left, holds_left) = condition(random, all, depth - 1);
    let (right, holds_right) = condition(random, all, depth - 1);
    match random.random_range(0..7) {
        0..3 => (
            format!("({left} AND {right})"),
            Box::new(move |row| holds_left(row) && holds_right(row)),
        ),
        3..6 => (
            format!("({left} OR {right})"),
            Box::new(move |row| holds_left(row) || holds_right(row)),
        ),
        // Null and false are the same to `IS NOT TRUE`.
        _ => (
            format!("(({left}) IS NOT TRUE)"),
            Box::new(move |row| !holds_left(row)),
        ),
    }
}

async fn served(random: &mut ChaCha8Rng) -> (Served, Vec<Row>) {
    let served = Served::start().await;
    let mut all = Vec::new();
    // Whole microseconds, and others.
    for (segment, step_ns) in [(0, 1_000), (1, 300), (2, 250_000), (3, 1_000)] {
        let rows = rows(random, segment, 20_000, step_ns, all.len() as i64);
        served.append(&rows).await;
        all.extend(rows);
        if segment < 3 {
            served.store.flush().await.unwrap();
        }
    }
    (served, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn pruned_answers_are_those_of_a_look_at_every_row() {
    let random = &mut ChaCha8Rng::seed_from_u64(3);
    let (served, all) = served(random).await;
    let mut pruned = 0;
    for _ in 0..400 {
        let (sql, holds) = condition(random, &all, 2);
        let (found, stats) = served.sql(&sql).await;
        let expected: Vec<i64> = all
            .iter()
            .filter(|row| holds(row))
            .map(|row| row.n)
            .collect();
        assert_eq!(found.len(), expected.len(), "{sql}");
        assert_eq!(found, expected, "{sql}");
        assert!(
            stats.granules_read <= stats.granules_total,
            "{sql}: {stats:?}"
        );
        pruned += usize::from(stats.granules_read < stats.granules_total);
    }
    assert!(pruned > 100, "{pruned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_find_words_as_they_are_written_within_nanoseconds() {
    let random = &mut ChaCha8Rng::seed_from_u64(5);
    let (served, all) = served(random).await;
    for _ in 0..60 {
        let word = *["İstanbul", "disk", "DISK", "ΟΔΟΣ", "x½"]
            .choose(random)
            .unwrap();
        let at = all.choose(random).unwrap().t_ns + random.random_range(-600..600);
        let other = all.choose(random).unwrap().t_ns + random.random_range(-600..600);
        let range = TimeRange {
            start_ns: at.min(other),
            end_ns: at.max(other),
        };
        let order = if random.random() {
            Order::Asc
        } else {
            Order::Desc
        };
        let query = LogQuery {
            selection: Selection {
                text: Some(TextQuery::parse(word).unwrap()),
                ..Selection::all(tenant(), range)
            },
            fields: Some(vec!["n".to_owned()]),
            order,
            limit: 50,
            cursor: None,
            timeout_ms: None,
        };
        let tokens = folded_tokens(word);
        let tokens = if word == "İstanbul" {
            vec!["İstanbul".to_lowercase()]
        } else {
            tokens
        };
        let matches = |row: &&Row| {
            row.t_ns >= range.start_ns
                && row.t_ns < range.end_ns
                && row
                    .message
                    .as_deref()
                    .is_some_and(|text| Phrase::new(tokens.clone()).is_in(text))
        };
        let mut expected: Vec<i64> = all.iter().filter(matches).map(|row| row.n).collect();
        if order == Order::Desc {
            expected.reverse();
        }
        expected.truncate(50);
        assert_eq!(
            served.page(query).await,
            expected,
            "{word} {range:?} {order:?}"
        );
    }
}

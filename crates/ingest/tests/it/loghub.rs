//! Sixteen systems' real logs: every line accounted for, times and levels as the structured tables have them.
//!
//! The logs are not part of the project. `LOGMILL_LOGHUB` names their folder; when it is set, a missing file fails.

use std::path::{Path, PathBuf};

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampNanosecondType};
use logmill_ingest::text::{TextRecord, split_records};
use logmill_ingest::{BodyFormat, DecodeLimits, DecodeOptions, Decoder, TextFormat};
use logmill_model::{Level, time};

/// A system, and how its table tells the time: text that the parsed time, written as RFC 3339, must contain.
type ExpectedTime = fn(&dyn Fn(&str) -> String) -> String;

fn two(text: &str) -> String {
    format!("{text:0>2}")
}

fn month(name: &str) -> String {
    two(&time::month_number(name.as_bytes()).unwrap().to_string())
}

const SYSTEMS: [(&str, ExpectedTime); 16] = [
    ("Android", |column| {
        format!("-{}T{}", column("Date"), column("Time"))
    }),
    ("Apache", |column| {
        let parts: Vec<String> = column("Time")
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        format!(
            "{}-{}-{}T{}",
            parts[4],
            month(&parts[1]),
            two(&parts[2]),
            parts[3]
        )
    }),
    ("BGL", |column| {
        let micros = column("Time")
            .rsplit('.')
            .next()
            .unwrap()
            .trim_end_matches('0')
            .to_owned();
        epoch(&column("Timestamp")) + if micros.is_empty() { "" } else { "." } + &micros
    }),
    ("HDFS", |column| {
        let (date, clock) = (
            format!("{:0>6}", column("Date")),
            format!("{:0>6}", column("Time")),
        );
        format!(
            "20{}-{}-{}T{}:{}:{}",
            &date[..2],
            &date[2..4],
            &date[4..],
            &clock[..2],
            &clock[2..4],
            &clock[4..]
        )
    }),
    ("HPC", |column| epoch(&column("Time"))),
    ("Hadoop", |column| {
        format!("{}T{}", column("Date"), column("Time").replace(',', "."))
    }),
    ("HealthApp", |column| {
        let text = column("Time");
        let (date, clock) = text.split_once('-').unwrap();
        let parts: Vec<String> = clock.split(':').map(str::to_owned).collect();
        format!(
            "{}-{}-{}T{}:{}:{}",
            &date[..4],
            &date[4..6],
            &date[6..],
            two(&parts[0]),
            two(&parts[1]),
            two(&parts[2])
        )
    }),
    ("Linux", |column| {
        format!(
            "-{}-{}T{}",
            month(&column("Month")),
            two(&column("Date")),
            column("Time")
        )
    }),
    ("Mac", |column| {
        format!(
            "-{}-{}T{}",
            month(&column("Month")),
            two(&column("Date")),
            column("Time")
        )
    }),
    ("OpenSSH", |column| {
        format!(
            "-{}-{}T{}",
            month(&column("Date")),
            two(&column("Day")),
            column("Time")
        )
    }),
    ("OpenStack", |column| {
        format!("{}T{}", column("Date"), column("Time"))
    }),
    ("Proxifier", |column| {
        column("Time").replace('.', "-").replace(' ', "T")
    }),
    ("Spark", |column| {
        format!("20{}T{}", column("Date").replace('/', "-"), column("Time"))
    }),
    ("Thunderbird", |column| epoch(&column("Timestamp"))),
    ("Windows", |column| {
        format!("{}T{}", column("Date"), column("Time"))
    }),
    ("Zookeeper", |column| {
        format!("{}T{}", column("Date"), column("Time").replace(',', "."))
    }),
];

/// In these tables the column `Level` holds a host.
const LEVEL_IS_HOST: [&str; 3] = ["Linux", "OpenSSH", "Mac"];

fn epoch(seconds: &str) -> String {
    let mut text = Vec::new();
    time::format_rfc3339(seconds.parse::<i64>().unwrap() * time::SECOND_NS, &mut text);
    String::from_utf8(text)
        .unwrap()
        .trim_end_matches('Z')
        .to_owned()
}

struct Outcome {
    lines: usize,
    records: usize,
    joined: u64,
    times: (usize, usize),
    levels: Option<(usize, usize)>,
}

fn examine(folder: &Path, system: &str, expected_time: ExpectedTime) -> Outcome {
    let base = folder.join(system);
    let read = |name: String| {
        let path = base.join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let body = read(format!("{system}_2k.log"));
    let table = read(format!("{system}_2k.log_structured.csv"));
    let lines = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .count();
    let limits = DecodeLimits::default();
    let options = DecodeOptions {
        format: BodyFormat::Text(TextFormat::Auto),
        received_at_ns: 1_795_564_800_000_000_000,
        defaults: &[],
        limits: &limits,
        admit: &|_| true,
    };
    let decoded = Decoder::new().decode(&mut body.clone(), &options).unwrap();
    assert_eq!(decoded.rejected, 0, "{system}: {:?}", decoded.errors);
    let batch = decoded.batch.unwrap();
    assert_eq!(
        decoded.accepted + decoded.continuation_lines,
        lines as u64,
        "{system}: every line is accounted for"
    );
    let times = batch
        .column_by_name("timestamp")
        .unwrap()
        .as_primitive::<TimestampNanosecondType>();
    let levels = batch
        .column_by_name("level")
        .map(|column| column.as_dictionary::<Int32Type>());
    // Row i of the table is line i of the log; a record is compared by its first line.
    let mut reader = csv::Reader::from_reader(&table[..]);
    let header = reader.headers().unwrap().clone();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let has_levels = header.iter().any(|name| name == "Level") && !LEVEL_IS_HOST.contains(&system);
    let mut outcome = Outcome {
        lines,
        records: batch.num_rows(),
        joined: decoded.continuation_lines,
        times: (0, 0),
        levels: has_levels.then_some((0, 0)),
    };
    let records: Vec<TextRecord<'_>> = split_records(&body, TextFormat::Auto).collect();
    for (row, record) in records.iter().enumerate() {
        let Some(expected) = rows.get(usize::try_from(record.index).unwrap()) else {
            continue;
        };
        let column = |name: &str| {
            let index = header.iter().position(|other| other == name);
            expected[index.unwrap_or_else(|| panic!("{system} has no column {name}"))].to_owned()
        };
        let mut found = Vec::new();
        time::format_rfc3339(times.value(row), &mut found);
        let found = String::from_utf8(found).unwrap();
        outcome.times.1 += 1;
        let wanted = expected_time(&column);
        let wanted = wanted.strip_suffix(".000").unwrap_or(&wanted);
        outcome.times.0 += usize::from(found.contains(wanted));
        if let Some((right, all)) = &mut outcome.levels {
            *all += 1;
            let wanted = Level::parse(&column("Level")).map(Level::as_str);
            let found = levels.filter(|levels| levels.is_valid(row)).map(|levels| {
                levels
                    .values()
                    .as_string::<i32>()
                    .value(usize::try_from(levels.keys().value(row)).unwrap())
            });
            *right += usize::from(wanted == found);
        }
    }
    outcome
}

#[test]
fn real_logs_get_their_times_and_levels() {
    let Some(folder) = std::env::var_os("LOGMILL_LOGHUB").map(PathBuf::from) else {
        println!("LOGMILL_LOGHUB is not set: nothing to read");
        return;
    };
    let mut right = 0;
    let mut table = String::from(
        "| system | lines | records | joined | right times | right levels |\n|---|---|---|---|---|---|\n",
    );
    for (system, expected_time) in SYSTEMS {
        let outcome = examine(&folder, system, expected_time);
        let (times, of) = outcome.times;
        let levels = outcome
            .levels
            .map_or("–".to_owned(), |(right, all)| format!("{right} of {all}"));
        table.push_str(&format!(
            "| {system} | {} | {} | {} | {times} of {of} | {levels} |\n",
            outcome.lines, outcome.records, outcome.joined
        ));
        right += usize::from(times == of && outcome.levels.is_none_or(|(right, all)| right == all));
    }
    println!("{table}");
    assert!(
        right >= 15,
        "{right} of 16 systems have all times and levels right:\n{table}"
    );
}

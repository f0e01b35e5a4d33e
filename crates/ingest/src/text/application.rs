//! Application logs: a time, mostly a level, perhaps a thread and a logger, then text.

use logmill_model::{Level, time};

use super::scan::{Clock, Scanner};
use crate::FieldSink;

/// How a line begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `2026-11-20 12:00:00,123 INFO [main] com.acme.Foo: text`, with `T` or `/` too.
    Iso,
    /// `api.log.1 2026-11-20 12:00:00.123 25746 INFO api.server text`: a file's name before it.
    FileThenIso,
    /// `[Fri Nov 20 12:00:00 2026] [core:error] [pid 7] text` (Apache's error log).
    ApacheError,
    /// `26/11/20 12:00:00 INFO executor.Foo: text` (Spark).
    ShortYear,
    /// `261120 120000 148 INFO dfs.Foo: text` (HDFS).
    Compact,
    /// `11-20 12:00:00.123  1702  2395 D Tag: text` (Android).
    Logcat,
    /// `I1120 12:00:00.123456 1 file.go:12] text` (glog, klog).
    Klog,
    /// `- 1795176000 2026.11.20 node 2026-11-20-12.00.00.123456 node RAS KERNEL INFO text` (Blue Gene).
    BlueGene,
    /// `- 1795176000 2026.11.20 node Nov 20 12:00:00 node/node crond[2915]: text` (Thunderbird).
    Thunderbird,
    /// `134681 node-246 unix.hw state_change 1795176000 1 text` (an HPC cluster).
    Cluster,
    /// `20261120-12:00:00:123|Component|30002312|text`.
    Bars,
    /// `[11.20 12:00:00] program - text` (Proxifier).
    Proxifier,
}

impl Layout {
    pub(crate) fn parse<S: FieldSink>(
        self,
        text: &str,
        received_at_ns: i64,
        sink: &mut S,
    ) -> Option<()> {
        match self {
            Self::Iso => {
                let (timestamp_ns, rest) = iso(text)?;
                sink.timestamp_ns(timestamp_ns);
                header(rest, sink);
                Some(())
            }
            Self::FileThenIso => {
                let (file, rest) = text.split_once(' ')?;
                let (timestamp_ns, rest) = iso(rest).filter(|_| file.contains(".log"))?;
                sink.timestamp_ns(timestamp_ns);
                sink.attribute_str("file", file);
                header(rest, sink);
                Some(())
            }
            Self::ApacheError => apache_error(text, sink),
            Self::ShortYear => short_year(text, sink),
            Self::Compact => compact(text, sink),
            Self::Logcat => logcat(text, received_at_ns, sink),
            Self::Klog => klog(text, received_at_ns, sink),
            Self::BlueGene => blue_gene(text, sink),
            Self::Thunderbird => thunderbird(text, sink),
            Self::Cluster => cluster(text, sink),
            Self::Bars => bars(text, sink),
            Self::Proxifier => proxifier(text, received_at_ns, sink),
        }
    }
}

/// The time at the front, with date, time of day and perhaps an offset, and what follows it.
fn iso(text: &str) -> Option<(i64, &str)> {
    let text = text.strip_prefix('[').unwrap_or(text);
    let bytes = text.as_bytes();
    if !bytes.first()?.is_ascii_digit() || !matches!(bytes.get(4), Some(b'-' | b'/')) {
        return None;
    }
    let mut scanner = Scanner(text.get(10..)?);
    scanner.eat("T").or_else(|| scanner.eat(" "))?;
    scanner.clock()?;
    let before = scanner;
    let offset = match scanner.0.as_bytes() {
        [b'Z', ..] => 1,
        [
            b'+' | b'-',
            b'0'..=b'9',
            b'0'..=b'9',
            b':',
            b'0'..=b'9',
            b'0'..=b'9',
            ..,
        ] => 6,
        [
            b'+' | b'-',
            b'0'..=b'9',
            b'0'..=b'9',
            b'0'..=b'9',
            b'0'..=b'9',
            ..,
        ] => 5,
        _ => 0,
    };
    let end = text.len() - before.0.len() + offset;
    let timestamp_ns = time::parse_timestamp(text.get(..end)?)?;
    let rest = text.get(end..)?;
    let rest = rest.strip_prefix(']').unwrap_or(rest);
    (rest.is_empty() || rest.starts_with([' ', '\t', ',', '|', ':', '-']))
        .then_some((timestamp_ns, rest))
}

/// A level's name as programs write it in a header: in brackets or not, at least three letters.
fn level(word: &str) -> Option<Level> {
    let name = word.trim_matches(['[', ']', '<', '>', ':', ',', '|', '(', ')']);
    if name.len() < 3 || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    Level::parse(name)
}

/// What follows the time: process, level, thread, logger, as far as they are there; then the text.
fn header<S: FieldSink>(rest: &str, sink: &mut S) {
    let rest = rest.trim_start_matches([' ', '\t', ',', '|']);
    let rest = rest.strip_prefix("- ").unwrap_or(rest).trim_start();
    if python_style(rest, sink).is_some() {
        return;
    }
    let mut scanner = Scanner(rest);
    let mut before_level = Vec::new();
    // The level is among the first words: after a process id, a thread in brackets.
    let mut looking = scanner;
    for _ in 0..3 {
        let bracketed = looking.0.starts_with('[')
            && level(looking.0.split(' ').next().unwrap_or("")).is_none();
        let word = if bracketed {
            bracket(&mut looking)
        } else {
            looking.word()
        };
        let Some(word) = word else { break };
        if !bracketed && let Some(level) = level(word) {
            sink.level(level);
            for (is_thread, word) in before_level {
                process_or_thread(is_thread, word, sink);
            }
            scanner = looking;
            let rest = scanner
                .0
                .strip_prefix("- ")
                .unwrap_or(scanner.0)
                .trim_start();
            after_level(rest, sink);
            return;
        }
        let is_process = word.bytes().all(|byte| byte.is_ascii_digit());
        if !bracketed && !is_process {
            break;
        }
        before_level.push((bracketed, word));
    }
    sink.message(scanner.0);
}

fn process_or_thread<S: FieldSink>(is_thread: bool, word: &str, sink: &mut S) {
    match word.parse() {
        Ok(process) if !is_thread => sink.attribute_i64("pid", process),
        _ => sink.attribute_str("thread", word),
    }
}

/// Takes `[…]`, brackets inside included, and the blanks after it.
fn bracket<'a>(scanner: &mut Scanner<'a>) -> Option<&'a str> {
    let mut depth = 0_u32;
    for (at, character) in scanner.0.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    let inside = scanner.0.get(1..at)?;
                    *scanner = Scanner(scanner.0.get(at + 1..)?.trim_start());
                    return Some(inside);
                }
            }
            _ => {}
        }
    }
    None
}

/// `name - LEVEL - text`.
fn python_style<S: FieldSink>(rest: &str, sink: &mut S) -> Option<()> {
    let (name, after) = rest.split_once(" - ")?;
    let (word, message) = after.split_once(" - ")?;
    let level = level(word.trim())?;
    if name.contains(' ') {
        return None;
    }
    sink.level(level);
    sink.attribute_str("logger", name);
    sink.message(message);
    Some(())
}

/// `[thread] logger: text`, `logger - text`, `COMPONENT    text`, or text alone.
fn after_level<S: FieldSink>(rest: &str, sink: &mut S) {
    let mut scanner = Scanner(rest);
    if scanner.0.starts_with('[')
        && let Some(thread) = bracket(&mut scanner)
    {
        sink.attribute_str("thread", thread);
    }
    let rest = scanner.0.strip_prefix("- ").unwrap_or(scanner.0);
    let rest = rest.strip_prefix(": ").unwrap_or(rest);
    let end = rest.find([' ', '\t']).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    let name = word.strip_suffix(':').unwrap_or(word);
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '$' | '-' | '/' | ':' | '@'))
        && name.starts_with(char::is_alphabetic);
    let (logger, message) = if !is_name {
        (None, rest)
    } else if word.ends_with(':') {
        (Some(name), after.trim_start())
    } else if let Some(message) = after
        .strip_prefix(" - ")
        .or_else(|| after.strip_prefix(" : "))
    {
        (Some(name), message)
    } else if after.starts_with("  ")
        || name.contains('.') && !name.ends_with('.') && after.starts_with(" [")
    {
        (Some(name), after.trim_start())
    } else {
        (None, rest)
    };
    if let Some(logger) = logger {
        sink.attribute_str("logger", logger);
    }
    sink.message(message);
}

fn apache_error<S: FieldSink>(text: &str, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    scanner.eat("[")?;
    // The day of the week.
    let weekday = scanner.word()?;
    if weekday.len() != 3 {
        return None;
    }
    let month = scanner.month()?;
    scanner.blanks()?;
    let day = scanner.one_or_two()?;
    scanner.blanks()?;
    let clock = scanner.clock()?;
    scanner.blanks()?;
    let year = i32::try_from(scanner.digits(4, 4)?).ok()?;
    scanner.eat("] ")?;
    let timestamp_ns = clock.on(year, month, day)?;
    let name = bracket(&mut scanner)?;
    let (module, severity) = match name.split_once(':') {
        Some((module, severity)) => (Some(module), severity),
        None => (None, name),
    };
    let level = Level::parse(severity)?;
    sink.timestamp_ns(timestamp_ns);
    sink.level(level);
    if let Some(module) = module.filter(|module| !module.is_empty()) {
        sink.attribute_str("logger", module);
    }
    for (beginning, attribute) in [("[pid ", "pid"), ("[client ", "client")] {
        if scanner.0.starts_with(beginning)
            && let Some(inside) = bracket(&mut scanner)
        {
            sink.attribute_str(
                attribute,
                inside.split_once(' ').map_or(inside, |(_, value)| value),
            );
        }
    }
    sink.message(scanner.0);
    Some(())
}

/// A year of two digits is of this century.
fn century(year: u8) -> i32 {
    2_000 + i32::from(year)
}

fn short_year<S: FieldSink>(text: &str, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    let year = scanner.two()?;
    scanner.eat("/")?;
    let month = scanner.two()?;
    scanner.eat("/")?;
    let day = scanner.two()?;
    scanner.eat(" ")?;
    let timestamp_ns = scanner.clock()?.on(century(year), month, day)?;
    sink.timestamp_ns(timestamp_ns);
    header(scanner.0, sink);
    Some(())
}

fn compact<S: FieldSink>(text: &str, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    let (year, month, day) = (scanner.two()?, scanner.two()?, scanner.two()?);
    scanner.eat(" ")?;
    let (hour, minute, second) = (scanner.two()?, scanner.two()?, scanner.two()?);
    scanner.eat(" ")?;
    let clock = Clock {
        hour,
        minute,
        second,
        nanosecond: 0,
    };
    let timestamp_ns = clock.on(century(year), month, day)?;
    // Digits alone are a weak mark: a level must follow.
    let mut words = scanner.0.split_whitespace();
    words.by_ref().take(2).find_map(level)?;
    sink.timestamp_ns(timestamp_ns);
    header(scanner.0, sink);
    Some(())
}

fn logcat<S: FieldSink>(text: &str, received_at_ns: i64, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    let month = scanner.two()?;
    scanner.eat("-")?;
    let day = scanner.two()?;
    scanner.eat(" ")?;
    let timestamp_ns = scanner.clock()?.on_recent(month, day, received_at_ns)?;
    scanner.blanks()?;
    let process: i64 = scanner.word()?.parse().ok()?;
    let thread: i64 = scanner.word()?.parse().ok()?;
    let level = Level::parse(scanner.word().filter(|word| word.len() == 1)?)?;
    let (tag, message) = scanner
        .0
        .split_once(": ")
        .or_else(|| Some((scanner.0.strip_suffix(':')?, "")))?;
    sink.timestamp_ns(timestamp_ns);
    sink.level(level);
    sink.attribute_i64("pid", process);
    sink.attribute_i64("tid", thread);
    sink.attribute_str("logger", tag.trim_end());
    sink.message(message);
    Some(())
}

fn klog<S: FieldSink>(text: &str, received_at_ns: i64, sink: &mut S) -> Option<()> {
    let level = match text.bytes().next()? {
        b'I' => Level::Info,
        b'W' => Level::Warn,
        b'E' => Level::Error,
        b'F' => Level::Fatal,
        _ => return None,
    };
    let mut scanner = Scanner(text.get(1..)?);
    let (month, day) = (scanner.two()?, scanner.two()?);
    scanner.eat(" ")?;
    let timestamp_ns = scanner.clock()?.on_recent(month, day, received_at_ns)?;
    scanner.blanks()?;
    let thread: i64 = scanner.word()?.parse().ok()?;
    let source = scanner.until("] ")?;
    sink.timestamp_ns(timestamp_ns);
    sink.level(level);
    sink.attribute_i64("tid", thread);
    sink.attribute_str("source", source);
    sink.message(scanner.0);
    Some(())
}

/// `- 1795176000 2026.11.20 node `: the label, the time, the node.
fn supercomputer<'a>(scanner: &mut Scanner<'a>) -> Option<(&'a str, i64, &'a str)> {
    let label = scanner.word()?;
    let seconds = scanner.word()?;
    let timestamp_ns = time::parse_epoch_i64(seconds.parse().ok()?)?;
    let date = scanner.word()?;
    if date.len() != 10 || date.as_bytes().get(4) != Some(&b'.') {
        return None;
    }
    Some((label, timestamp_ns, scanner.word()?))
}

fn labelled<S: FieldSink>(label: &str, sink: &mut S) {
    if label != "-" {
        sink.attribute_str("label", label);
    }
}

fn blue_gene<S: FieldSink>(text: &str, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    let (label, timestamp_ns, node) = supercomputer(&mut scanner)?;
    // The local time repeats the instant, and has its microseconds.
    let local = scanner.word()?;
    let micros = local.rsplit_once('.').filter(|_| local.len() == 26)?.1;
    let nanosecond = micros.parse::<i64>().ok()? * 1_000;
    let repeated = scanner.word()?;
    let (kind, component) = (scanner.word()?, scanner.word()?);
    let level = level(scanner.word()?)?;
    sink.timestamp_ns(timestamp_ns + nanosecond);
    sink.level(level);
    sink.host(node);
    labelled(label, sink);
    if repeated != node {
        sink.attribute_str("location", repeated);
    }
    sink.attribute_str("type", kind);
    sink.attribute_str("logger", component);
    sink.message(scanner.0);
    Some(())
}

fn thunderbird<S: FieldSink>(text: &str, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    let (label, timestamp_ns, node) = supercomputer(&mut scanner)?;
    scanner.month()?;
    scanner.blanks()?;
    scanner.one_or_two()?;
    scanner.blanks()?;
    scanner.clock()?;
    scanner.blanks()?;
    let location = scanner.word()?;
    sink.timestamp_ns(timestamp_ns);
    sink.host(node);
    labelled(label, sink);
    sink.attribute_str("location", location);
    match scanner.0.split_once(": ") {
        Some((tag, message)) if !tag.contains(' ') => {
            let (program, process) = tag.split_once('[').map_or((tag, None), |(program, rest)| {
                (
                    program,
                    rest.strip_suffix(']')
                        .and_then(|digits| digits.parse().ok()),
                )
            });
            sink.service(program);
            if let Some(process) = process {
                sink.attribute_i64("pid", process);
            }
            sink.message(message);
        }
        _ => sink.message(scanner.0),
    }
    Some(())
}

fn cluster<S: FieldSink>(text: &str, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    let id: i64 = scanner.word()?.parse().ok()?;
    let (node, component, state) = (scanner.word()?, scanner.word()?, scanner.word()?);
    let seconds = scanner.word().filter(|word| word.len() == 10)?;
    let timestamp_ns = time::parse_epoch_i64(seconds.parse().ok()?)?;
    let flag: i64 = scanner.word()?.parse().ok()?;
    sink.timestamp_ns(timestamp_ns);
    sink.host(node);
    sink.attribute_i64("log_id", id);
    sink.attribute_str("logger", component);
    sink.attribute_str("state", state);
    sink.attribute_i64("flag", flag);
    sink.message(scanner.0);
    Some(())
}

fn bars<S: FieldSink>(text: &str, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    let year = i32::try_from(scanner.digits(4, 4)?).ok()?;
    let (month, day) = (scanner.two()?, scanner.two()?);
    scanner.eat("-")?;
    let hour = scanner.one_or_two()?;
    scanner.eat(":")?;
    let minute = scanner.one_or_two()?;
    scanner.eat(":")?;
    let second = scanner.one_or_two()?;
    scanner.eat(":")?;
    let millisecond = scanner.digits(1, 3)?;
    scanner.eat("|")?;
    let clock = Clock {
        hour,
        minute,
        second,
        nanosecond: millisecond * 1_000_000,
    };
    let timestamp_ns = clock.on(year, month, day)?;
    let component = scanner.until("|")?;
    let process: i64 = scanner.until("|")?.parse().ok()?;
    sink.timestamp_ns(timestamp_ns);
    sink.attribute_str("logger", component);
    sink.attribute_i64("pid", process);
    sink.message(scanner.0);
    Some(())
}

fn proxifier<S: FieldSink>(text: &str, received_at_ns: i64, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    scanner.eat("[")?;
    let month = scanner.two()?;
    scanner.eat(".")?;
    let day = scanner.two()?;
    scanner.eat(" ")?;
    let timestamp_ns = scanner.clock()?.on_recent(month, day, received_at_ns)?;
    scanner.eat("] ")?;
    sink.timestamp_ns(timestamp_ns);
    match scanner.0.split_once(" - ") {
        Some((program, message)) => {
            sink.service(program);
            sink.message(message);
        }
        None => sink.message(scanner.0),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::text::testing::check;

    const AT: &str = "2026-11-20T12:00:00.123Z";

    #[test]
    fn iso_stamped_lines_in_their_variants() {
        let full = json!({"timestamp": AT, "level": "info", "thread": "main", "logger": "com.acme.Foo", "message": "text: x"});
        check(
            "2026-11-20 12:00:00,123 INFO [main] com.acme.Foo: text: x",
            full.clone(),
        );
        check(
            "2026-11-20T12:00:00.123Z [main] INFO  com.acme.Foo - text: x",
            full.clone(),
        );
        check(
            "[2026-11-20 14:00:00.123+02:00] INFO [main] com.acme.Foo: text: x",
            full,
        );
        check(
            "2026-11-20 12:00:00,123 - WARN  [Peer[id=1]/0:0:2181:Election@774] - timed out",
            json!({"timestamp": AT, "level": "warn", "thread": "Peer[id=1]/0:0:2181:Election@774", "message": "timed out"}),
        );
        check(
            "2026-11-20 12:00:00,123 - app.db - ERROR - no - connection",
            json!({"timestamp": AT, "level": "error", "logger": "app.db", "message": "no - connection"}),
        );
        check(
            "2026-11-20 12:00:00.123, Info                  CBS    Loaded stack",
            json!({"timestamp": AT, "level": "info", "logger": "CBS", "message": "Loaded stack"}),
        );
        check(
            "api.log.1.2026 2026-11-20 12:00:00.123 25746 INFO api.wsgi.server [req-1 - -] 192.0.2.1 \"GET /\"",
            json!({"timestamp": AT, "file": "api.log.1.2026", "pid": 25746, "level": "info", "logger": "api.wsgi.server",
                   "message": "[req-1 - -] 192.0.2.1 \"GET /\""}),
        );
        check(
            "2026/11/20 12:00:00.123 [error] 12#34: *5 connect() failed",
            json!({"timestamp": AT, "level": "error", "message": "12#34: *5 connect() failed"}),
        );
        check(
            "2026/11/20 12:00:00.123 listening on :80",
            json!({"timestamp": AT, "message": "listening on :80"}),
        );
        check(
            "2026-11-20 12:00:00,123 ERROR",
            json!({"timestamp": AT, "level": "error", "message": ""}),
        );
    }

    #[test]
    fn lines_of_particular_systems() {
        check(
            "26/11/20 12:00:00 INFO executor.Backend: Registered",
            json!({"timestamp": "2026-11-20T12:00:00Z", "level": "info", "logger": "executor.Backend", "message": "Registered"}),
        );
        check(
            "261120 120000 148 WARN dfs.Node$Responder: gone",
            json!({"timestamp": "2026-11-20T12:00:00Z", "pid": 148, "level": "warn", "logger": "dfs.Node$Responder", "message": "gone"}),
        );
        check(
            "11-20 12:00:00.123  1702  2395 D Window : a: b",
            json!({"timestamp": AT, "level": "debug", "pid": 1702, "tid": 2395, "logger": "Window", "message": "a: b"}),
        );
        check(
            "W1120 12:00:00.123000    1 file.go:12] slow",
            json!({"timestamp": AT, "level": "warn", "tid": 1, "source": "file.go:12", "message": "slow"}),
        );
        check(
            "[Fri Nov 20 12:00:00.123 2026] [core:error] [pid 7:tid 8] [client 192.0.2.1:99] AH1: no",
            json!({"timestamp": AT, "level": "error", "logger": "core", "pid": "7:tid 8", "client": "192.0.2.1:99", "message": "AH1: no"}),
        );
        check(
            "- 1795176000 2026.11.20 R02-M1 2026-11-20-04.00.00.123000 R02-M1 RAS KERNEL FATAL parity error",
            json!({"timestamp": AT, "level": "fatal", "host": "R02-M1", "type": "RAS", "logger": "KERNEL", "message": "parity error"}),
        );
        check(
            "CPU 1795176000 2026.11.20 dn228 Nov 20 04:00:00 dn228/dn228 crond(pam)[29]: opened",
            json!({"timestamp": "2026-11-20T12:00:00Z", "host": "dn228", "label": "CPU", "location": "dn228/dn228",
                   "service": "crond(pam)", "pid": 29, "message": "opened"}),
        );
        check(
            "134681 node-246 unix.hw net.niff.up 1795176000 1 NIFF: up",
            json!({"timestamp": "2026-11-20T12:00:00Z", "host": "node-246", "log_id": 134681, "logger": "unix.hw",
                   "state": "net.niff.up", "flag": 1, "message": "NIFF: up"}),
        );
        check(
            "20261120-12:0:0:123|Step|300|a|b",
            json!({"timestamp": AT, "logger": "Step", "pid": 300, "message": "a|b"}),
        );
        check(
            "[11.20 12:00:00] a.exe *64 - b:80 open",
            json!({"timestamp": "2026-11-20T12:00:00Z", "service": "a.exe *64", "message": "b:80 open"}),
        );
    }
}

//! Syslog: RFC 5424, and RFC 3164 as it is found in files and on the wire.

use logmill_model::{Level, time};

use super::scan::Scanner;
use crate::FieldSink;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// Takes `<34>`.
fn priority(scanner: &mut Scanner<'_>) -> Option<(Level, &'static str)> {
    scanner.eat("<")?;
    let value = scanner.digits(1, 3)?;
    scanner.eat(">")?;
    let facility = FACILITIES.get(usize::try_from(value / 8).ok()?)?;
    Some((Level::from_syslog(u8::try_from(value % 8).ok()?)?, facility))
}

/// `<34>1 2026-11-20T10:00:00.5Z host app 77 ID47 [id name="value"] text` (RFC 5424, section 6).
pub(crate) fn rfc5424<S: FieldSink>(text: &str, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    let (level, facility) = priority(&mut scanner)?;
    scanner.eat("1 ")?;
    let stamp = scanner.word()?;
    let timestamp_ns = if stamp == "-" {
        None
    } else {
        Some(time::parse_timestamp(stamp)?)
    };
    let header = [
        scanner.word()?,
        scanner.word()?,
        scanner.word()?,
        scanner.word()?,
    ];
    let parameters = structured_data(&mut scanner)?;
    let message = scanner.0.trim_start().trim_start_matches('\u{feff}');

    sink.level(level);
    sink.attribute_str("facility", facility);
    if let Some(timestamp_ns) = timestamp_ns {
        sink.timestamp_ns(timestamp_ns);
    }
    let [host, application, process, id] = header.map(|part| (part != "-").then_some(part));
    if let Some(host) = host {
        sink.host(host);
    }
    if let Some(application) = application {
        sink.service(application);
    }
    if let Some(process) = process {
        number_or_text("procid", process, sink);
    }
    if let Some(id) = id {
        sink.attribute_str("msgid", id);
    }
    for (name, value) in parameters {
        sink.attribute_str(&name, &value);
    }
    if !message.is_empty() {
        sink.message(message);
    }
    Some(())
}

/// Takes `-` or `[id name="value" …][…]` as `id.name` and value; in values `\"`, `\\` and `\]` are escapes.
fn structured_data(scanner: &mut Scanner<'_>) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    if scanner.eat("-").is_some() {
        return Some(parameters);
    }
    while scanner.eat("[").is_some() {
        let end = scanner.0.find([' ', ']'])?;
        let (id, rest) = scanner.0.split_at(end);
        *scanner = Scanner(rest);
        loop {
            scanner.blanks();
            if scanner.eat("]").is_some() {
                break;
            }
            let name = scanner.until("=\"")?;
            let mut value = String::new();
            let mut characters = scanner.0.char_indices();
            loop {
                match characters.next()? {
                    (at, '"') => {
                        *scanner = Scanner(&scanner.0[at + 1..]);
                        break;
                    }
                    (_, '\\') => match characters.next()?.1 {
                        escaped @ ('"' | '\\' | ']') => value.push(escaped),
                        other => value.extend(['\\', other]),
                    },
                    (_, other) => value.push(other),
                }
            }
            parameters.push((format!("{id}.{name}"), value));
        }
    }
    (!parameters.is_empty() || scanner.0.is_empty() || scanner.0.starts_with(' '))
        .then_some(parameters)
}

/// `<34>Nov 20 10:00:00 host tag[pid]: text`; the priority may be missing, and the time may be RFC 3339 as rsyslog writes it.
pub(crate) fn rfc3164<S: FieldSink>(text: &str, received_at_ns: i64, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    let priority = if text.starts_with('<') {
        Some(priority(&mut scanner)?)
    } else {
        None
    };
    let timestamp_ns = stamp(&mut scanner, received_at_ns)?;
    let host = scanner.word()?;
    let named = tag(scanner);
    // Without a priority the mark of syslog is `host tag:`; an application's line may have a level where the host is.
    let iso = text.starts_with(|first: char| first.is_ascii_digit());
    let looks_like_host =
        !host.ends_with(':') && !host.starts_with('[') && Level::parse(host).is_none();
    if priority.is_none()
        && !(looks_like_host && (named.is_some() || !iso && scanner.0.contains(": ")))
    {
        return None;
    }
    sink.timestamp_ns(timestamp_ns);
    sink.host(host);
    if let Some((level, facility)) = priority {
        sink.level(level);
        sink.attribute_str("facility", facility);
    }
    match named {
        Some(Tag {
            program,
            process,
            message,
        }) => {
            sink.service(program);
            if let Some(process) = process {
                number_or_text("pid", process, sink);
            }
            sink.message(message);
        }
        None => sink.message(scanner.0),
    }
    Some(())
}

/// Takes the time and the blanks after it.
fn stamp(scanner: &mut Scanner<'_>, received_at_ns: i64) -> Option<i64> {
    if scanner.0.starts_with(|first: char| first.is_ascii_digit()) {
        let word = scanner.word()?;
        // A date alone is no time, and a date with a blank is another format's.
        return if word.contains('T') {
            time::parse_timestamp(word)
        } else {
            None
        };
    }
    let month = scanner.month()?;
    scanner.blanks()?;
    let day = scanner.one_or_two()?;
    scanner.blanks()?;
    let year = match scanner.0.as_bytes() {
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b' ', ..] => {
            let year = scanner.digits(4, 4)?;
            scanner.blanks()?;
            i32::try_from(year).ok()
        }
        _ => None,
    };
    let clock = scanner.clock()?;
    scanner.blanks()?;
    match year {
        Some(year) => clock.on(year, month, day),
        None => clock.on_recent(month, day, received_at_ns),
    }
}

/// `sshd[123]: text`.
struct Tag<'a> {
    program: &'a str,
    process: Option<&'a str>,
    message: &'a str,
}

fn tag(scanner: Scanner<'_>) -> Option<Tag<'_>> {
    let (head, message) = match scanner.0.split_once(": ") {
        Some((head, message)) => (head, message),
        None => (scanner.0.strip_suffix(':')?, ""),
    };
    let (program, process) = match head.split_once('[') {
        Some((program, rest)) => (program, Some(rest.strip_suffix(']')?)),
        None => (head, None),
    };
    let plain = |c: char| !c.is_whitespace() && c != '"';
    let good = !program.is_empty() && program.len() <= 80 && program.chars().all(plain);
    good.then_some(Tag {
        program,
        process,
        message,
    })
}

fn number_or_text<S: FieldSink>(name: &str, value: &str, sink: &mut S) {
    match value.parse() {
        Ok(number) => sink.attribute_i64(name, number),
        Err(_) => sink.attribute_str(name, value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::text::TextFormat;
    use crate::text::testing::{check, fields};

    #[test]
    fn rfc_5424_with_structured_data() {
        check(
            r#"<34>1 2026-11-20T10:00:00.5Z web1 nginx 77 ID47 [x@1 ip="192.0.2.1" q="a\"b\]"][y] upstream timed out"#,
            json!({"timestamp": "2026-11-20T10:00:00.500Z", "level": "fatal", "facility": "auth", "host": "web1",
                   "service": "nginx", "procid": 77, "msgid": "ID47", "x@1.ip": "192.0.2.1", "x@1.q": "a\"b]",
                   "message": "upstream timed out"}),
        );
        check(
            "<165>1 - - - - - - \u{feff}hello",
            json!({"level": "info", "facility": "local4", "message": "hello"}),
        );
        for broken in [
            "<999>1 - - - - - - x",
            "<34>1 yesterday h a - - - x",
            "<34>1 - h a - - [x y=\"1 z",
        ] {
            assert_eq!(fields(broken, TextFormat::Syslog), None, "{broken}");
        }
    }

    #[test]
    fn rfc_3164_in_its_variants() {
        let expected = json!({"timestamp": "2026-11-20T10:00:00Z", "host": "web1", "service": "sshd", "pid": 42,
                              "message": "Accepted publickey for root"});
        check(
            "Nov 20 10:00:00 web1 sshd[42]: Accepted publickey for root",
            expected.clone(),
        );
        check(
            "Nov 20 2026 10:00:00 web1 sshd[42]: Accepted publickey for root",
            expected.clone(),
        );
        check(
            "2026-11-20T10:00:00+00:00 web1 sshd[42]: Accepted publickey for root",
            expected,
        );
        check(
            "<11>Dec  1 00:00:01 web1 su: failed",
            json!({"timestamp": "2025-12-01T00:00:01Z", "host": "web1", "service": "su", "level": "error",
                   "facility": "user", "message": "failed"}),
        );
        check(
            "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: check pass; user unknown",
            json!({"timestamp": "2026-06-14T15:16:01Z", "host": "combo", "service": "sshd(pam_unix)", "pid": 19939,
                   "message": "check pass; user unknown"}),
        );
    }
}

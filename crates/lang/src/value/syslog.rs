//! Syslog lines (RFC 3164 and RFC 5424) to the fields that `unpack_syslog` documents.

use std::borrow::Cow;

use logmill_model::time::{civil_to_ns, month_number, year_for};

use super::logfmt;
use super::number::parse_u64;
use super::time::format_time;

/// The fields of a line, in the order of the line; none when it begins with `<` and no priority follows. `now_ns` and
/// `offset_ns`, how far the zone of the line's clock is ahead of UTC, serve times without a year and zone.
pub fn parse(line: &str, now_ns: i64, offset_ns: i64) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut fields = Fields(Vec::new());
    let rest = match line.strip_prefix('<') {
        None => line,
        Some(after) => match after.split_once('>') {
            None => return Vec::new(),
            Some((priority, rest)) => {
                if fields.priority(priority).is_none() {
                    return fields.0;
                }
                rest
            }
        },
    };
    if let Some(rest) = rest.strip_prefix("1 ") {
        fields.add("format", "rfc5424");
        fields.rfc5424(rest);
    } else if !rest.is_empty() {
        fields.add("format", "rfc3164");
        fields.rfc3164(rest, now_ns, offset_ns);
    }
    fields.0
}

struct Fields<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Fields<'a> {
    fn add(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.0.push((name.into(), value.into()));
    }

    fn priority(&mut self, text: &'a str) -> Option<()> {
        const SEVERITIES: [&str; 8] = [
            "emerg", "alert", "critical", "error", "warning", "notice", "info", "debug",
        ];
        const FACILITIES: [&str; 24] = [
            "kern",
            "user",
            "mail",
            "daemon",
            "auth",
            "syslog",
            "lpr",
            "news",
            "uucp",
            "cron",
            "authpriv",
            "ftp",
            "ntp",
            "security",
            "console",
            "solaris-cron",
            "local0",
            "local1",
            "local2",
            "local3",
            "local4",
            "local5",
            "local6",
            "local7",
        ];
        self.add("priority", text);
        let priority = parse_u64(text)?;
        let (facility, severity) = (priority / 8, priority % 8);
        let name = |names: &[&'static str], number: u64| {
            let index = usize::try_from(number).ok()?;
            names.get(index).copied()
        };
        self.add("facility", facility.to_string());
        self.add(
            "facility_keyword",
            name(&FACILITIES, facility).unwrap_or("unknown"),
        );
        self.add("severity", severity.to_string());
        self.add("level", name(&SEVERITIES, severity).unwrap_or("unknown"));
        Some(())
    }

    /// `TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MESSAGE`. What is missing at the end is left out.
    fn rfc5424(&mut self, mut rest: &'a str) {
        for name in ["timestamp", "hostname", "app_name", "proc_id", "msg_id"] {
            if rest.is_empty() {
                return;
            }
            let (value, after) = rest.split_once(' ').unwrap_or((rest, ""));
            self.add(name, value);
            rest = after;
        }
        let message = match rest.strip_prefix("- ") {
            Some(message) => Some(message),
            None => self.structured_data(rest),
        };
        if let Some(message) = message {
            self.add("message", message);
        }
    }

    /// `[id name="value" …][…]`: fields `id.name`. Gives the message after it, if there is one.
    fn structured_data(&mut self, mut rest: &'a str) -> Option<&'a str> {
        loop {
            let element = rest.strip_prefix('[')?;
            let end = element_end(element)?;
            self.element(&element[..end]);
            rest = &element[end + 1..];
            if let Some(message) = rest.strip_prefix(' ') {
                return Some(message);
            }
        }
    }

    fn element(&mut self, element: &'a str) {
        let (id, parameters) = element.split_once(' ').unwrap_or((element, ""));
        // Some senders leave the id out.
        let (id, parameters) = match id.contains('=') {
            true => ("", element),
            false => (id, parameters),
        };
        // `\]` is an escape of its own, which quoted strings elsewhere do not know.
        let parameters = match parameters.contains("\\]") {
            true => Cow::Owned(parameters.replace("\\]", "]")),
            false => Cow::Borrowed(parameters),
        };
        let before = self.0.len();
        for (name, value) in logfmt::parse(&parameters) {
            let name = match id {
                "" => name.to_owned(),
                id => format!("{id}.{name}"),
            };
            self.add(name, value.into_owned());
        }
        if self.0.len() == before && !id.is_empty() {
            self.add(id, "");
        }
    }

    /// `MMM DD hh:mm:ss HOSTNAME APP-NAME[PROCID]: MESSAGE`; without such a time, all is the message.
    fn rfc3164(&mut self, line: &'a str, now_ns: i64, offset_ns: i64) {
        let Some(t_ns) = rfc3164_time(line, now_ns, offset_ns) else {
            self.add("message", line);
            return;
        };
        self.add("timestamp", format_time(t_ns));
        let rest = &line[RFC3164_TIME.len()..];
        let Some(rest) = rest.strip_prefix(' ') else {
            if !rest.is_empty() {
                self.add("message", rest);
            }
            return;
        };
        let (hostname, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        self.add("hostname", hostname);
        let end = rest.find(['[', ':', ' ']).unwrap_or(rest.len());
        let (app_name, mut rest) = rest.split_at(end);
        if !app_name.is_empty() {
            self.add("app_name", app_name);
        }
        if let Some(after) = rest.strip_prefix('[') {
            let Some((proc_id, after)) = after.split_once(']') else {
                return;
            };
            self.add("proc_id", proc_id);
            rest = after;
        }
        rest = rest.strip_prefix(':').unwrap_or(rest);
        rest = rest.strip_prefix(' ').unwrap_or(rest);
        if !rest.is_empty() {
            self.add("message", rest);
        }
    }
}

/// Where the `]` of an element is: one that is not inside quotes.
fn element_end(element: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    element.bytes().position(|byte| {
        let ends = byte == b']' && !quoted && !escaped;
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

const RFC3164_TIME: &str = "Nov 20 12:00:00";

fn rfc3164_time(line: &str, now_ns: i64, offset_ns: i64) -> Option<i64> {
    let bytes = line.as_bytes();
    if bytes.len() < RFC3164_TIME.len() {
        return None;
    }
    let separators = [(3, b' '), (6, b' '), (9, b':'), (12, b':')];
    if separators.iter().any(|(at, byte)| bytes[*at] != *byte) {
        return None;
    }
    let number = |at: usize| {
        let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
        let tens = if bytes[at] == b' ' {
            0
        } else {
            digit(bytes[at])?
        };
        Some(tens * 10 + digit(bytes[at + 1])?)
    };
    let month = month_number(&bytes[..3])?;
    let (day, hour, minute, second) = (number(4)?, number(7)?, number(10)?, number(13)?);
    let year = year_for(month, day, hour, minute, second, now_ns + offset_ns);
    let t_ns = civil_to_ns(year, month, day, hour, minute, second, 0)?;
    t_ns.checked_sub(offset_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(line: &str) -> Vec<String> {
        let now_ns = civil_to_ns(2026, 11, 26, 0, 0, 0, 0).unwrap();
        parse(line, now_ns, 3_600_000_000_000)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    const PRIORITY_165: [&str; 5] = [
        "priority=165",
        "facility=20",
        "facility_keyword=local4",
        "severity=5",
        "level=notice",
    ];

    #[test]
    fn rfc5424_is_taken_apart() {
        let mut expected = PRIORITY_165.to_vec();
        expected.extend([
            "format=rfc5424",
            "timestamp=2023-06-03T17:42:32.123456789Z",
            "hostname=mymachine.example.com",
            "app_name=appname",
            "proc_id=12345",
            "msg_id=ID47",
            "exampleSDID@32473.iut=3",
            "exampleSDID@32473.eventSource=Application 123 = ] 56",
            "exampleSDID@32473.eventID=11211",
            "x.y=z",
            "message=This is a test",
        ]);
        let line = "<165>1 2023-06-03T17:42:32.123456789Z mymachine.example.com appname 12345 ID47 \
            [exampleSDID@32473 iut=\"3\" eventSource=\"Application 123 = \\] 56\" eventID=\"11211\"][x y=z] This is a test";
        assert_eq!(fields(line), expected);
        assert_eq!(
            fields("1 2023-06-03T17:42:00Z host app - - - hello"),
            [
                "format=rfc5424",
                "timestamp=2023-06-03T17:42:00Z",
                "hostname=host",
                "app_name=app",
                "proc_id=-",
                "msg_id=-",
                "message=hello",
            ]
        );
        assert_eq!(
            fields("1 t host"),
            ["format=rfc5424", "timestamp=t", "hostname=host"]
        );
        assert_eq!(fields("1 t h a p m [id] x").last().unwrap(), "message=x");
        assert_eq!(fields("1 t h a p m [k=v l=\"w\"] x")[6..8], ["k=v", "l=w"]);
        assert_eq!(fields("1 t h a p m [id open=\"x] x").len(), 6);
    }

    #[test]
    fn rfc3164_is_taken_apart() {
        let mut expected = PRIORITY_165.to_vec();
        expected.extend([
            "format=rfc3164",
            "timestamp=2026-06-03T11:08:33Z",
            "hostname=abcd",
            "app_name=systemd",
            "proc_id=345",
            "message=abc defg",
        ]);
        assert_eq!(
            fields("<165>Jun  3 12:08:33 abcd systemd[345]: abc defg"),
            expected
        );
        assert_eq!(
            fields("Dec 31 12:08:33 - systemd: abc")[1],
            "timestamp=2025-12-31T11:08:33Z"
        );
        assert_eq!(fields("foo bar"), ["format=rfc3164", "message=foo bar"]);
        assert_eq!(
            fields("Jun  3 12:08:33 host")[1..],
            ["timestamp=2026-06-03T11:08:33Z", "hostname=host"]
        );
        assert!(fields("").is_empty() && fields("<165").is_empty());
        assert_eq!(fields("<x>foo"), ["priority=x"]);
        assert_eq!(fields("<999>foo")[2], "facility_keyword=unknown");
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in "(<[0-9]{1,3}>)?(1 |Jun  3 12:08:33)?[a \\[\\]=\"\\\\:-]{0,20}é?") {
            let _ = parse(&line, 0, 0);
        }
    }
}

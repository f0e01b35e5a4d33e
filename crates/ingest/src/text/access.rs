//! Access logs: Apache's and nginx's common and combined format.

use logmill_model::{Level, time};

use super::scan::Scanner;
use crate::FieldSink;

/// `192.0.2.7 - ann [20/Nov/2026:10:00:02 +0000] "GET /cart HTTP/1.1" 502 13 "referer" "agent" …`.
pub(crate) fn parse<S: FieldSink>(text: &str, sink: &mut S) -> Option<()> {
    let mut scanner = Scanner(text);
    let client = scanner.word()?;
    let identity = scanner.word()?;
    let user = scanner.until(" [")?;
    let timestamp_ns = time::parse_timestamp(scanner.until("] \"")?)?;
    let request = quoted(&mut scanner)?;
    scanner.blanks()?;
    let status = scanner.word()?;
    let bytes = scanner.word()?;
    if status.len() != 3 {
        return None;
    }
    let status: i64 = status.parse().ok()?;
    let bytes: Option<i64> = if bytes == "-" {
        None
    } else {
        Some(bytes.parse().ok()?)
    };
    let mut referer = None;
    let mut agent = None;
    if scanner.eat("\"").is_some() {
        referer = Some(quoted(&mut scanner)?);
        scanner.blanks();
        if scanner.eat("\"").is_some() {
            agent = Some(quoted(&mut scanner)?);
        }
    }

    sink.timestamp_ns(timestamp_ns);
    sink.level(match status {
        500.. => Level::Error,
        400.. => Level::Warn,
        _ => Level::Info,
    });
    sink.message(text);
    sink.attribute_str("client_ip", client);
    for (name, value) in [("identity", identity), ("user", user)] {
        if value != "-" {
            sink.attribute_str(name, value);
        }
    }
    request_line(request, sink);
    sink.attribute_i64("status", status);
    if let Some(bytes) = bytes {
        sink.attribute_i64("bytes", bytes);
    }
    for (name, value) in [("referer", referer), ("user_agent", agent)] {
        if let Some(value) = value.filter(|value| *value != "-") {
            sink.attribute_str(name, value);
        }
    }
    Some(())
}

/// Takes what stands before the closing quote; `\"` does not close.
fn quoted<'a>(scanner: &mut Scanner<'a>) -> Option<&'a str> {
    let bytes = scanner.0.as_bytes();
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            break;
        }
        at += 2;
    }
    let text = &scanner.0[..at];
    *scanner = Scanner(&scanner.0[at + 1..]);
    Some(text)
}

/// `GET /path HTTP/1.1`; anything else is kept as it is.
fn request_line<S: FieldSink>(request: &str, sink: &mut S) {
    let parts = request
        .split_once(' ')
        .and_then(|(method, rest)| Some((method, rest.rsplit_once(' ')?)));
    match parts {
        Some((method, (path, protocol))) if protocol.starts_with("HTTP/") => {
            sink.attribute_str("method", method);
            sink.attribute_str("path", path);
            sink.attribute_str("protocol", protocol);
        }
        _ if request != "-" => sink.attribute_str("request", request),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::text::TextFormat;
    use crate::text::testing::{check, fields};

    #[test]
    fn common_and_combined_lines_are_read() {
        let text =
            r#"192.0.2.7 - ann [20/Nov/2026:10:00:02 +0100] "GET /cart?a=b HTTP/1.1" 502 13"#;
        check(
            text,
            json!({"timestamp": "2026-11-20T09:00:02Z", "level": "error", "message": text, "client_ip": "192.0.2.7",
                   "user": "ann", "method": "GET", "path": "/cart?a=b", "protocol": "HTTP/1.1", "status": 502, "bytes": 13}),
        );
        let text = r#"::1 - - [20/Nov/2026:10:00:02 +0000] "-" 408 - "-" "curl \"8\"" 0.004"#;
        check(
            text,
            json!({"timestamp": "2026-11-20T10:00:02Z", "level": "warn", "message": text, "client_ip": "::1",
                   "status": 408, "user_agent": "curl \\\"8\\\""}),
        );
        for broken in [
            "192.0.2.7 - - [yesterday] \"GET / HTTP/1.1\" 200 1",
            "192.0.2.7 - - [20/Nov/2026:10:00:02 +0000] \"GET / HTTP/1.1 200 1",
            "192.0.2.7 - - [20/Nov/2026:10:00:02 +0000] \"GET / HTTP/1.1\" 20 1",
            "192.0.2.7 - - [20/Nov/2026:10:00:02 +0000] \"GET / HTTP/1.1\" 200 many",
        ] {
            assert_eq!(fields(broken, TextFormat::Clf), None, "{broken}");
        }
    }
}

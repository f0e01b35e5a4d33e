//! Records as lines for people.

use serde_json::Value;

use crate::output::printable;

/// A record as a line: time, level, service, message, then what else it has.
pub(crate) fn line(record: &Value, color: bool) -> String {
    let Some(fields) = record.as_object() else {
        return record.to_string();
    };
    let paint = |text: String, code: &str| {
        if color && !code.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text
        }
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let mut parts = Vec::new();
    if let Some(time) = text("timestamp") {
        parts.push(paint(time.to_owned(), "2"));
    }
    if let Some(level) = text("level") {
        let code = match level {
            "fatal" => "1;97;41",
            "error" => "1;31",
            "warn" => "33",
            "info" => "32",
            "debug" => "36",
            _ => "2",
        };
        parts.push(paint(
            format!("{:5}", printable(level, false).to_uppercase()),
            code,
        ));
    }
    if let Some(service) = text("service") {
        parts.push(paint(printable(service, false), "1"));
    }
    if let Some(message) = text("message") {
        parts.push(printable(message, true).replace('\n', "\n    "));
    }
    let shown = ["timestamp", "level", "service", "message", "_stream"];
    let rest: Vec<String> = fields
        .iter()
        .filter(|(name, _)| !shown.contains(&name.as_str()))
        .map(|(name, value)| {
            let value = match value {
                Value::String(text) if text.contains([' ', '"', '=']) => {
                    Value::String(text.clone()).to_string()
                }
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            printable(&format!("{name}={value}"), false)
        })
        .collect();
    if !rest.is_empty() {
        parts.push(paint(rest.join(" "), "2"));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_the_important_first() {
        let record = json!({
            "level": "error", "timestamp": "2026-11-20T10:00:00Z", "message": "card declined\n  at x", "order.id": 7,
            "service": "pay", "note": "two words", "_stream": "{}",
        });
        let expected = "2026-11-20T10:00:00Z  ERROR  pay  card declined\n      at x  order.id=7 note=\"two words\"";
        assert_eq!(line(&record, false), expected);
        assert!(line(&record, true).contains("\u{1b}[1;31mERROR\u{1b}[0m"));
    }
}

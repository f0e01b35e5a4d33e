//! `logmill query`: find records.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::http_client::{HttpClient, Outgoing, ServerArguments};
use crate::output::{ColorChoice, note, printable, write_out};

/// Find records: words and "phrases" of their message, and conditions on their fields.
///
/// On a terminal records are lines for people; in a pipe they are NDJSON.
#[derive(Debug, Args)]
pub struct QueryArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Words and "phrases" that the message has, in any case.
    text: Vec<String>,
    /// First instant: RFC 3339, an epoch, or relative to now.
    #[arg(long, default_value = "-1h", allow_hyphen_values = true)]
    from: String,
    /// First instant after [default: now].
    #[arg(long, allow_hyphen_values = true)]
    to: Option<String>,
    /// Level, or several with commas.
    #[arg(long, value_delimiter = ',')]
    level: Vec<String>,
    /// Service, or several with commas.
    #[arg(long, value_delimiter = ',')]
    service: Vec<String>,
    /// A condition: name=value, name!=value, name>value, name>=value, name<value, name<=value, name~regex.
    #[arg(long = "filter", value_name = "CONDITION")]
    filters: Vec<String>,
    /// Columns of the answer, with commas.
    #[arg(long, value_delimiter = ',')]
    fields: Vec<String>,
    /// Newest (desc) or oldest (asc) first.
    #[arg(long, default_value = "desc", value_parser = ["desc", "asc"])]
    order: String,
    /// Most records.
    #[arg(long, default_value_t = 100)]
    limit: u64,
    /// How the answer looks: lines for people on a terminal, NDJSON in a pipe.
    #[arg(long, value_enum, default_value_t)]
    output: RecordOutput,
    /// Whether to use colours.
    #[arg(long, value_enum, default_value_t)]
    color: ColorChoice,
}

/// How records look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum RecordOutput {
    /// `table` on a terminal, `ndjson` in a pipe.
    #[default]
    Auto,
    /// Lines for people.
    Table,
    /// One JSON object a line.
    Ndjson,
    /// The server's answers as they are.
    Json,
}

/// Records of one request; more are fetched by cursor.
const PAGE: u64 = 1_000;

impl QueryArguments {
    /// Asks, page by page, and writes.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let client = HttpClient::new(&self.server)?;
        let output = match self.output {
            RecordOutput::Auto if std::io::stdout().is_terminal() => RecordOutput::Table,
            RecordOutput::Auto => RecordOutput::Ndjson,
            chosen => chosen,
        };
        let color = self.color.use_color();
        let mut body = self.body()?;
        let mut left = self.limit;
        while left > 0 {
            body["limit"] = json!(left.min(PAGE));
            let request = Outgoing::post("/query", "application/json", body.to_string());
            let answer = client.call(&request).await?.success()?;
            let page: Value = serde_json::from_slice(&answer.body)?;
            for warning in page["warnings"].as_array().into_iter().flatten() {
                if body.get("cursor").is_none() {
                    note(&format!("note: {}", warning.as_str().unwrap_or_default()));
                }
            }
            let records = page["records"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            left = left.saturating_sub(records.len() as u64);
            let mut out = Vec::new();
            match output {
                RecordOutput::Json => {
                    out.extend_from_slice(&answer.body);
                    out.push(b'\n');
                }
                RecordOutput::Table => {
                    for record in records {
                        out.extend_from_slice(line(record, color).as_bytes());
                        out.push(b'\n');
                    }
                }
                RecordOutput::Auto | RecordOutput::Ndjson => {
                    for record in records {
                        serde_json::to_writer(&mut out, record)?;
                        out.push(b'\n');
                    }
                }
            }
            if !write_out(&out)? || page["next_cursor"].is_null() {
                break;
            }
            body["cursor"] = page["next_cursor"].clone();
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The request that the arguments mean.
    fn body(&self) -> anyhow::Result<Value> {
        let mut body = json!({"from": self.from, "order": self.order});
        if let Some(to) = &self.to {
            body["to"] = json!(to);
        }
        if !self.text.is_empty() {
            body["text"] = json!(self.text.join(" "));
        }
        if !self.fields.is_empty() {
            body["fields"] = json!(self.fields);
        }
        let mut filters = Map::new();
        for (name, values) in [("level", &self.level), ("service", &self.service)] {
            if !values.is_empty() {
                filters.insert(name.to_owned(), json!({"in": values}));
            }
        }
        for condition in &self.filters {
            let (name, operator, value) = parse_condition(condition)?;
            let operators = filters.entry(name).or_insert_with(|| json!({}));
            operators[operator] = value;
        }
        if !filters.is_empty() {
            body["filters"] = Value::Object(filters);
        }
        Ok(body)
    }
}

/// `status>=500` as its parts; a value that is JSON (a number, true) is taken as such.
fn parse_condition(condition: &str) -> anyhow::Result<(String, &'static str, Value)> {
    let operators = [
        ("!=", "ne"),
        (">=", "gte"),
        ("<=", "lte"),
        ("=", "eq"),
        (">", "gt"),
        ("<", "lt"),
        ("~", "regex"),
    ];
    let found = operators
        .iter()
        .filter_map(|(symbol, name)| condition.find(symbol).map(|at| (at, symbol, *name)))
        .min_by_key(|(at, symbol, _)| (*at, std::cmp::Reverse(symbol.len())));
    let Some((at, symbol, operator)) = found.filter(|(at, _, _)| *at > 0) else {
        anyhow::bail!("--filter {condition:?}: write name=value, or != > >= < <= ~ instead of =");
    };
    let text = &condition[at + symbol.len()..];
    let value = match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) if operator != "regex" => value,
        _ => json!(text),
    };
    Ok((condition[..at].to_owned(), operator, value))
}

/// A record as a line: time, level, service, message, then what else it has.
fn line(record: &Value, color: bool) -> String {
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
    use super::*;

    #[test]
    fn conditions_are_read() {
        let parsed = |text: &str| parse_condition(text).unwrap();
        assert_eq!(parsed("status>=500"), ("status".into(), "gte", json!(500)));
        assert_eq!(parsed("a!=b=c"), ("a".into(), "ne", json!("b=c")));
        assert_eq!(
            parsed("path~^/x=1"),
            ("path".into(), "regex", json!("^/x=1"))
        );
        assert_eq!(parsed("ok=true"), ("ok".into(), "eq", json!(true)));
        assert_eq!(parsed("name="), ("name".into(), "eq", json!("")));
        assert!(parse_condition("nothing").is_err());
        assert!(parse_condition("=x").is_err());
    }

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

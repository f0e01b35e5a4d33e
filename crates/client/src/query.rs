//! `logmill query`: find records.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::http_client::{HttpClient, Outgoing, ServerArguments};
use crate::output::{ColorChoice, note, write_out};
use crate::record::line;

/// Ask in LogsQL: filters, and pipes that work on what they find. `error service:=pay | stats by (host) count()`
///
/// On a terminal records are lines for people; in a pipe they are NDJSON.
#[derive(Debug, Args)]
pub struct QueryArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// LogsQL; several arguments are one query with blanks between them.
    query: Vec<String>,
    /// Words and "phrases" that the message has, in any case.
    #[arg(long)]
    text: Option<String>,
    /// How far back: 15m, 1h, 7d [default: 1h].
    #[arg(long, value_name = "DURATION", conflicts_with = "from")]
    since: Option<String>,
    /// First instant: RFC 3339, an epoch, or relative to now.
    #[arg(long, allow_hyphen_values = true)]
    from: Option<String>,
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
    /// Newest (desc) or oldest (asc) first [default: desc].
    #[arg(long, value_parser = ["desc", "asc"])]
    order: Option<String>,
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

/// How far back a question looks that does not say it.
pub(crate) const DEFAULT_SINCE: &str = "1h";

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
            body["limit"] = json!(if self.has_pipes() {
                left
            } else {
                left.min(PAGE)
            });
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

    /// Whether the query has pipes: what they make is one answer, without pages.
    fn has_pipes(&self) -> bool {
        logmill_lang::parse(&self.query.join(" ")).is_ok_and(|query| !query.pipes.is_empty())
    }

    /// The request that the arguments mean.
    fn body(&self) -> anyhow::Result<Value> {
        let from = match (&self.from, &self.since) {
            (Some(from), _) => from.clone(),
            (None, since) => format!("-{}", since.as_deref().unwrap_or(DEFAULT_SINCE)),
        };
        let mut body = json!({"from": from});
        if let Some(order) = &self.order {
            body["order"] = json!(order);
        }
        if let Some(to) = &self.to {
            body["to"] = json!(to);
        }
        if !self.query.is_empty() {
            body["query"] = json!(self.query.join(" "));
        }
        if let Some(text) = &self.text {
            body["text"] = json!(text);
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
}

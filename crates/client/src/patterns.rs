//! `logmill patterns`: what messages have in common.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::http_client::{HttpClient, Outgoing, ServerArguments};
use crate::output::{ColorChoice, printable, write_out};
use crate::picture::{bar, grouped, paint};
use crate::selection::SelectionArguments;

/// Show messages that differ in numbers, addresses and names alone as one pattern each, the commonest first.
#[derive(Debug, Args)]
pub struct PatternsArguments {
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    /// Most patterns.
    #[arg(long, default_value_t = 20)]
    limit: u64,
    /// Messages that are shown of each.
    #[arg(long, default_value_t = 0)]
    examples: u64,
    /// The server's answer instead of a picture.
    #[arg(long)]
    json: bool,
    /// Whether to use colours.
    #[arg(long, value_enum, default_value_t)]
    color: ColorChoice,
}

impl PatternsArguments {
    /// Asks and writes.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let client = HttpClient::new(&self.server)?;
        let mut parameters = self.selection.parameters()?;
        parameters.append_pair("limit", &self.limit.to_string());
        parameters.append_pair("examples", &self.examples.to_string());
        let request = Outgoing::get(&format!("/patterns?{}", parameters.finish()));
        let answer = client.call(&request).await?.success()?;
        if self.json {
            write_out(&answer.body)?;
            write_out(b"\n")?;
        } else {
            let found = serde_json::from_slice(&answer.body)?;
            write_out(picture(&found, self.color.use_color()).as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Cells of the longest bar.
const CELLS: usize = 16;

/// A line a pattern: how many, a bar, what share, the commonest level, the pattern.
fn picture(found: &Value, color: bool) -> String {
    let patterns = found["patterns"].as_array().map(Vec::as_slice);
    let patterns = patterns.unwrap_or_default();
    let count_of = |pattern: &Value| pattern["count"].as_u64().unwrap_or(0);
    let most = patterns.iter().map(count_of).max().unwrap_or(0);
    let width = grouped(most).len();
    let mut out = String::new();
    for pattern in patterns {
        let count = count_of(pattern);
        let share = pattern["share"].as_f64().unwrap_or_default() * 100.0;
        let level = pattern["levels"][0]["value"].as_str().unwrap_or_default();
        let code = match level {
            "fatal" | "error" => "31",
            "warn" => "33",
            _ => "32",
        };
        let bar = paint(&format!("{:CELLS$}", bar(count, most, CELLS)), code, color);
        let level = format!("{:5}", printable(level, false).to_uppercase());
        let text = pattern["pattern"].as_str().unwrap_or_default();
        out.push_str(&format!(
            "{:>width$}  {bar}  {share:5.1} %  {}  {}\n",
            grouped(count),
            paint(&level, code, color),
            printable(text, false)
        ));
        for example in pattern["examples"].as_array().into_iter().flatten() {
            let example = printable(example.as_str().unwrap_or_default(), false);
            out.push_str(&format!("{:width$}  {}\n", "", paint(&example, "2", color)));
        }
    }
    let other = found["other"].as_u64().unwrap_or(0);
    if other > 0 {
        out.push_str(&format!("{:>width$}  of other patterns\n", grouped(other)));
    }
    let total = grouped(found["total"].as_u64().unwrap_or(0));
    let elapsed = found["stats"]["elapsed_ms"].as_f64().unwrap_or_default();
    out.push_str(&format!("{total} records in {elapsed:.1} ms\n"));
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pattern_is_a_line_with_its_examples_below() {
        let found = json!({
            "patterns": [
                {"pattern": "took <N>ms", "count": 1_500, "share": 0.75, "levels": [{"value": "info", "count": 1_500}],
                 "examples": ["took 7ms"]},
                {"pattern": "card \u{1b}declined", "count": 375, "share": 0.1875, "levels": [], "examples": []},
            ],
            "other": 125, "total": 2_000, "stats": {"elapsed_ms": 3.0},
        });
        let expected = "1,500  ████████████████   75.0 %  INFO   took <N>ms\n       took 7ms\n  375  ████               18.8 %         \
                        card \\u{1b}declined\n  125  of other patterns\n2,000 records in 3.0 ms\n";
        assert_eq!(picture(&found, false), expected);
    }
}

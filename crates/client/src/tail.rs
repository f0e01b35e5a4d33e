//! `logmill tail`: records as they arrive.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::http_client::{Answer, HttpClient, Outgoing, ServerArguments};
use crate::output::{ColorChoice, note, write_out};
use crate::record::line;
use crate::selection::{Parameters, SelectionArguments};

/// Show records as they arrive: those that match, or all. `--since`, `--from` and `--to` are for the latest ones, which come
/// first.
///
/// On a terminal records are lines for people; in a pipe they are NDJSON.
#[derive(Debug, Args)]
pub struct TailArguments {
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    /// So many of the latest records come first.
    #[arg(long, default_value_t = 10)]
    backfill: u64,
    /// How the answer looks: lines for people on a terminal, NDJSON in a pipe.
    #[arg(long, value_enum, default_value_t)]
    output: TailOutput,
    /// Whether to use colours.
    #[arg(long, value_enum, default_value_t)]
    color: ColorChoice,
}

/// How records look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum TailOutput {
    /// `lines` on a terminal, `ndjson` in a pipe.
    #[default]
    Auto,
    /// For people.
    Lines,
    /// One JSON object a line.
    Ndjson,
}

impl TailArguments {
    /// Writes records until the server ends or nobody reads.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let client = HttpClient::new(&self.server)?;
        let as_lines = match self.output {
            TailOutput::Auto => std::io::stdout().is_terminal(),
            chosen => chosen == TailOutput::Lines,
        };
        let style = as_lines.then(|| self.color.use_color());
        follow(&client, self.selection.parameters()?, self.backfill, style).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes records as they arrive: as lines, in colour or not, or as NDJSON where there is no `style`.
pub(crate) async fn follow(
    client: &HttpClient,
    mut parameters: Parameters,
    backfill: u64,
    style: Option<bool>,
) -> anyhow::Result<()> {
    parameters.append_pair("backfill", &backfill.to_string());
    let request = Outgoing::get(&format!("/tail?{}", parameters.finish()));
    let response = client.send(&request).await?;
    let (parts, mut body) = response.into_parts();
    if !parts.status.is_success() {
        let (status, headers) = (parts.status, parts.headers);
        let body = body.collect().await?.to_bytes();
        return Err(Answer {
            status,
            headers,
            body,
        }
        .error());
    }
    let mut events = Events::default();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            anyhow::bail!("the tail broke off");
        };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        for (event, data) in events.take(data) {
            let data: Value = serde_json::from_str(&data).unwrap_or_default();
            match event.as_str() {
                "record" => {
                    let text = match style {
                        Some(color) => line(&data, color),
                        None => data.to_string(),
                    };
                    if !write_out(format!("{text}\n").as_bytes())? {
                        return Ok(());
                    }
                }
                "missed" => {
                    let most = if data["exact"] == false { "up to " } else { "" };
                    note(&format!(
                        "note: {most}{} records arrived faster than they were taken",
                        data["records"]
                    ));
                }
                "end" => anyhow::bail!("the server ended the tail: {}", data["reason"]),
                _ => {}
            }
        }
    }
    anyhow::bail!("the server ended the tail")
}

/// Server-sent events, cut out of what arrives.
#[derive(Debug, Default)]
struct Events {
    waiting: Vec<u8>,
}

impl Events {
    /// Names and data of the events that are complete now.
    fn take(&mut self, arrived: &[u8]) -> Vec<(String, String)> {
        self.waiting.extend_from_slice(arrived);
        let mut events = Vec::new();
        while let Some(end) = self.waiting.windows(2).position(|two| two == b"\n\n") {
            let text: Vec<u8> = self.waiting.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&text);
            let value = |name: &str| {
                let found = text.lines().find_map(|line| line.strip_prefix(name));
                found.map(|value| value.trim().to_owned())
            };
            if let (Some(event), Some(data)) = (value("event:"), value("data:")) {
                events.push((event, data));
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_whatever_they_arrive_in() {
        let text = ": listening\n\nevent: record\ndata: {\"a\":\"ü\"}\n\nevent: end\ndata: {}\n\n";
        let mut events = Events::default();
        let mut found = Vec::new();
        for byte in text.as_bytes().chunks(1) {
            found.extend(events.take(byte));
        }
        let expected = [("record", "{\"a\":\"ü\"}"), ("end", "{}")];
        let expected = expected.map(|(event, data)| (event.to_owned(), data.to_owned()));
        assert_eq!(found, expected);
    }
}

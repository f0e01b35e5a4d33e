//! `logmill histogram`: counts over time, as a picture.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::http_client::{HttpClient, Outgoing, ServerArguments};
use crate::output::{ColorChoice, note, printable, write_out};
use crate::picture::{grouped, paint, parts};
use crate::selection::SelectionArguments;

/// Show how many records there are over time, by level or another field.
#[derive(Debug, Args)]
pub struct HistogramArguments {
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    /// The field whose values are told apart; empty for none.
    #[arg(long, default_value = "level")]
    by: String,
    /// Length of a bucket, such as 30s, 5m, 1h [default: a round one].
    #[arg(long)]
    interval: Option<String>,
    /// At most so many buckets, where their length is not said.
    #[arg(long, default_value_t = 24, conflicts_with = "interval")]
    buckets: u64,
    /// Values that are told apart.
    #[arg(long, default_value_t = 6)]
    limit: u64,
    /// The server's answer instead of a picture.
    #[arg(long)]
    json: bool,
    /// Whether to use colours.
    #[arg(long, value_enum, default_value_t)]
    color: ColorChoice,
}

impl HistogramArguments {
    /// Asks and draws.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let client = HttpClient::new(&self.server)?;
        let mut parameters = self.selection.parameters()?;
        match &self.interval {
            Some(interval) => parameters.append_pair("interval", interval),
            None => parameters.append_pair("buckets", &self.buckets.to_string()),
        };
        if !self.by.is_empty() {
            parameters.append_pair("by", &self.by);
        }
        parameters.append_pair("limit", &self.limit.to_string());
        let request = Outgoing::get(&format!("/histogram?{}", parameters.finish()));
        let answer = client.call(&request).await?.success()?;
        if self.json {
            write_out(&answer.body)?;
            write_out(b"\n")?;
            return Ok(ExitCode::SUCCESS);
        }
        let histogram: Value = serde_json::from_slice(&answer.body)?;
        for warning in histogram["warnings"].as_array().into_iter().flatten() {
            note(&format!("note: {}", warning.as_str().unwrap_or_default()));
        }
        write_out(picture(&histogram, self.color.use_color()).as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Cells of the longest bar.
const CELLS: usize = 48;
/// What tells the values apart where there are no colours.
const MARKS: [&str; 6] = ["█", "▓", "▒", "░", "#", "="];
/// And where there are.
const COLORS: [&str; 6] = ["36", "35", "34", "33", "32", "31"];

/// One value's part of the picture.
struct Layer {
    name: String,
    counts: Vec<u64>,
    mark: &'static str,
    color: &'static str,
}

fn layers(histogram: &Value) -> Vec<Layer> {
    let counts = |value: &Value| -> Vec<u64> {
        let counts = value.as_array().into_iter().flatten();
        counts.map(|count| count.as_u64().unwrap_or(0)).collect()
    };
    let mut layers = Vec::new();
    for (index, series) in histogram["series"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let name = series["value"].as_str().map(|name| printable(name, false));
        layers.push(Layer {
            color: match name.as_deref() {
                Some("fatal" | "error") => "31",
                Some("warn") => "33",
                Some("info") => "32",
                Some("debug") => "36",
                Some("trace") | None => "2",
                Some(_) => COLORS[index % COLORS.len()],
            },
            name: name.unwrap_or_else(|| "-".to_owned()),
            counts: counts(&series["counts"]),
            mark: MARKS[index % MARKS.len()],
        });
    }
    if histogram["other"].is_array() {
        layers.push(Layer {
            name: "other".to_owned(),
            counts: counts(&histogram["other"]),
            mark: "·",
            color: "2",
        });
    }
    layers
}

/// A line a bucket: its time, a bar of all values, its count; then what the colours mean.
fn picture(histogram: &Value, color: bool) -> String {
    let layers = layers(histogram);
    let buckets = histogram["buckets"].as_array().map(Vec::as_slice);
    let buckets = buckets.unwrap_or_default();
    let of_bucket = |bucket: usize| -> Vec<u64> {
        let of_layer = |layer: &Layer| layer.counts.get(bucket).copied().unwrap_or(0);
        layers.iter().map(of_layer).collect()
    };
    let sum_of = |bucket| of_bucket(bucket).iter().sum::<u64>();
    let most = (0..buckets.len()).map(sum_of).max().unwrap_or(0);
    let interval_ms = histogram["interval_ms"].as_u64().unwrap_or(0);
    let mut out = String::new();
    for (bucket, start) in buckets.iter().enumerate() {
        let values = of_bucket(bucket);
        let cells = parts(&values, most, CELLS);
        let bar: String = layers
            .iter()
            .zip(&cells)
            .map(|(layer, cells)| {
                let mark = if color { "█" } else { layer.mark };
                paint(&mark.repeat(*cells), layer.color, color)
            })
            .collect();
        let time = short_time(start.as_str().unwrap_or_default(), interval_ms);
        let space = if values.iter().any(|value| *value > 0) {
            " "
        } else {
            ""
        };
        out.push_str(&format!(
            "{time}  {bar}{space}{}\n",
            grouped(sum_of(bucket))
        ));
    }
    let legend = layers.iter().map(|layer| {
        let mark = if color { "█" } else { layer.mark };
        let total = grouped(layer.counts.iter().sum());
        format!("{} {} {total}", paint(mark, layer.color, color), layer.name)
    });
    let legend: Vec<String> = legend.collect();
    let total = grouped(histogram["total"].as_u64().unwrap_or(0));
    let elapsed = histogram["stats"]["elapsed_ms"]
        .as_f64()
        .unwrap_or_default();
    out.push_str(&format!(
        "{}\n{total} records in {elapsed:.1} ms\n",
        legend.join("   ")
    ));
    out
}

/// As much of a time as tells buckets apart: `2026-11-20 10:05`.
fn short_time(time: &str, interval_ms: u64) -> String {
    let length = match interval_ms {
        0..1_000 => 23,
        1_000..60_000 => 19,
        60_000..86_400_000 => 16,
        _ => 10,
    };
    let text = time.trim_end_matches('Z');
    let text = text.get(..length).unwrap_or(text);
    format!("{:length$}", text.replacen('T', " ", 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn histogram() -> Value {
        json!({
            "interval_ms": 3_600_000,
            "buckets": ["2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z", "2026-11-20T12:00:00Z"],
            "series": [{"value": "info", "counts": [1_000, 0, 500]}, {"value": "error", "counts": [200, 0, 1]}],
            "other": [0, 0, 99], "total": 1_800, "stats": {"elapsed_ms": 1.25},
        })
    }

    #[test]
    fn a_picture_has_a_line_for_each_bucket() {
        let expected = format!(
            "2026-11-20 10:00  {}{} 1,200\n2026-11-20 11:00  0\n2026-11-20 12:00  {}▓··· 600\n\
             █ info 1,500   ▓ error 201   · other 99\n1,800 records in 1.2 ms\n",
            "█".repeat(40),
            "▓".repeat(8),
            "█".repeat(20),
        );
        assert_eq!(picture(&histogram(), false), expected);
    }

    #[test]
    fn levels_have_their_colours() {
        let picture = picture(&histogram(), true);
        assert!(
            picture.contains(&format!("\u{1b}[31m{}\u{1b}[0m", "█".repeat(8))),
            "{picture}"
        );
    }

    #[test]
    fn times_are_as_long_as_they_have_to_be() {
        let time = "2026-11-20T10:05:07.250Z";
        let texts = [250, 1_000, 60_000, 86_400_000].map(|interval| short_time(time, interval));
        let expected = [
            "2026-11-20 10:05:07.250",
            "2026-11-20 10:05:07",
            "2026-11-20 10:05",
            "2026-11-20",
        ];
        assert_eq!(texts, expected);
    }
}

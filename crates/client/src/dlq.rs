//! `logmill dlq`: entries of the queue that could not be taken.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::http_client::{HttpClient, Outgoing, ServerArguments};
use crate::output::{printable, write_out};

/// Look at entries of the queue that could not be taken, and retry or drop them.
#[derive(Debug, Args)]
pub struct DlqArguments {
    #[command(flatten)]
    server: ServerArguments,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show them, oldest first.
    List {
        /// The id of the last one of the page before.
        #[arg(long)]
        after: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Show one, with the beginning of its bytes in base64.
    Show {
        /// Its id.
        id: String,
    },
    /// Put them back into the queue.
    Retry {
        /// Their ids.
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All there are.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Forget them, with their records.
    Drop {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

impl DlqArguments {
    /// Carries the command out.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let client = HttpClient::new(&self.server)?;
        match self.action {
            Action::List { after, limit, json } => {
                let page = page(&client, after.as_deref(), limit).await?;
                let text = if json {
                    format!("{page:#}\n")
                } else {
                    table(&page)
                };
                write_out(text.as_bytes())?;
            }
            Action::Show { id } => {
                let request = Outgoing::get(&format!("/admin/dlq/{}", path_part(&id)));
                let letter: Value =
                    serde_json::from_slice(&client.call(&request).await?.success()?.body)?;
                write_out(format!("{letter:#}\n").as_bytes())?;
            }
            Action::Retry { ids, all } => {
                let ids = if all { every_id(&client).await? } else { ids };
                for id in &ids {
                    let path = format!("/admin/dlq/{}/retry", path_part(id));
                    client
                        .call(&Outgoing::post(&path, "application/json", ""))
                        .await?
                        .success()?;
                }
                write_out(format!("{} put back\n", ids.len()).as_bytes())?;
            }
            Action::Drop { ids } => {
                for id in &ids {
                    let path = format!("/admin/dlq/{}", path_part(id));
                    client.call(&Outgoing::delete(&path)).await?.success()?;
                }
                write_out(format!("{} dropped\n", ids.len()).as_bytes())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn page(client: &HttpClient, after: Option<&str>, limit: u32) -> anyhow::Result<Value> {
    let mut path = format!("/admin/dlq?limit={limit}");
    if let Some(after) = after {
        path.push_str("&after=");
        path.push_str(&path_part(after));
    }
    let answer = client.call(&Outgoing::get(&path)).await?.success()?;
    Ok(serde_json::from_slice(&answer.body)?)
}

async fn every_id(client: &HttpClient) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = page(client, after.as_deref(), 1_000).await?;
        let letters = page["letters"].as_array().cloned().unwrap_or_default();
        ids.extend(
            letters
                .iter()
                .filter_map(|letter| letter["id"].as_str().map(str::to_owned)),
        );
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            return Ok(ids);
        }
    }
}

/// An id as a part of a path.
fn path_part(id: &str) -> String {
    url::form_urlencoded::byte_serialize(id.as_bytes()).collect()
}

fn table(page: &Value) -> String {
    let letters = page["letters"].as_array().cloned().unwrap_or_default();
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["id", "at", "tenant", "partition", "bytes", "reason"]);
    for letter in &letters {
        let text = |name: &str| printable(letter[name].as_str().unwrap_or_default(), false);
        let number = |name: &str| letter.get(name).unwrap_or(&json!(0)).to_string();
        table.add_row([
            text("id"),
            text("at"),
            text("tenant"),
            number("partition"),
            number("bytes"),
            text("reason"),
        ]);
    }
    for column in [3, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let more = match page["next"].as_str() {
        Some(next) => format!("more: --after {next}\n"),
        None => String::new(),
    };
    format!("{table}\n{more}")
}

//! `logmill sql`: ask in SQL.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::http_client::{Answer, HttpClient, Outgoing, ServerArguments};
use crate::output::{printable, write_out};

/// Ask in SQL over the table `logs`.
///
/// On a terminal the answer is a table; in a pipe it is NDJSON. docs/sql.md has the functions.
#[derive(Debug, Args)]
pub struct SqlArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// One SELECT, EXPLAIN, SHOW COLUMNS or DESCRIBE; `-` reads it from standard input.
    query: String,
    /// How the answer looks: a table on a terminal, NDJSON in a pipe.
    #[arg(long, value_enum, default_value_t)]
    output: SqlOutput,
}

/// How rows look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SqlOutput {
    /// `table` on a terminal, `ndjson` in a pipe.
    #[default]
    Auto,
    /// For people.
    Table,
    /// One JSON object a line.
    Ndjson,
    /// Columns, rows and statistics.
    Json,
    /// RFC 4180, with a header.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

impl SqlArguments {
    /// Asks and writes.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let client = HttpClient::new(&self.server)?;
        let query = if self.query == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        } else {
            self.query.clone()
        };
        let output = match self.output {
            SqlOutput::Auto if std::io::stdout().is_terminal() => SqlOutput::Table,
            SqlOutput::Auto => SqlOutput::Ndjson,
            chosen => chosen,
        };
        let format = match output {
            SqlOutput::Auto | SqlOutput::Ndjson => "ndjson",
            SqlOutput::Table | SqlOutput::Json => "json",
            SqlOutput::Csv => "csv",
            SqlOutput::Arrow => "arrow",
        };
        let body = json!({"query": query, "format": format}).to_string();
        let request = Outgoing::post("/sql", "application/json", body);
        if output == SqlOutput::Table {
            let answer = client.call(&request).await?.success()?;
            write_out(table(&serde_json::from_slice(&answer.body)?).as_bytes())?;
        } else {
            stream(&client, &request).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes an answer as it comes.
async fn stream(client: &HttpClient, request: &Outgoing) -> anyhow::Result<()> {
    let response = client.send(request).await?;
    let (parts, mut body) = response.into_parts();
    if !parts.status.is_success() {
        let body = body.collect().await?.to_bytes();
        return Err(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
        .error());
    }
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            anyhow::anyhow!(
                "the answer broke off ({error}): the query failed, and the server's log says why"
            )
        })?;
        if let Some(data) = frame.data_ref()
            && !write_out(data)?
        {
            break;
        }
    }
    Ok(())
}

/// Rows as a table, numbers to the right, and how many there are.
pub(crate) fn table(answer: &Value) -> String {
    let columns = answer["columns"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let rows = answer["rows"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let name = |column: &Value| printable(column["name"].as_str().unwrap_or_default(), false);
    table.set_header(columns.iter().map(name).collect::<Vec<_>>());
    for row in rows {
        let cells = row.as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => printable(text, true),
            other => other.to_string(),
        };
        table.add_row(cells.iter().map(text).collect::<Vec<_>>());
    }
    for (index, column) in columns.iter().enumerate() {
        let kind = column["type"].as_str().unwrap_or_default();
        let number = ["Int", "UInt", "Float", "Decimal"]
            .iter()
            .any(|prefix| kind.starts_with(prefix));
        if let (true, Some(column)) = (number, table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let elapsed = answer["stats"]["elapsed_ms"].as_f64().unwrap_or_default();
    let plural = if rows.len() == 1 { "" } else { "s" };
    format!("{table}\n{} row{plural} in {elapsed:.1} ms\n", rows.len())
}

//! `logmill shell`: a conversation in a terminal, in LogsQL or SQL, with history and completion.

mod caret;
mod input;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use clap::{Args, FromArgMatches};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Config, Editor};
use serde_json::{Value, json};

use self::input::{Input, Language};
use crate::http_client::{HttpClient, Outgoing, ServerArguments};
use crate::output::{ColorChoice, note, printable, write_out};
use crate::query::DEFAULT_SINCE;
use crate::record::line;
use crate::selection::matching;
use crate::{sql, tail};

/// Lines of the history that are kept.
const HISTORY_MAX: usize = 2_000;
/// Records of an answer, where the query does not say how many.
const RECORDS_MAX: u64 = 100;

const HELP: &str = "\
LogsQL is asked as it is: error service:=pay | stats by (host) count()
A line that ends with | or \\ goes on, and so does one with an open quote or parenthesis.

  \\sql [SELECT …]    ask in SQL: this once, or from now on
  \\logsql [QUERY]    ask in LogsQL: this once, or from now on
  \\tail [FILTER]     show records as they arrive
  \\fields            names and types of the fields
  \\since [DURATION]  how far back LogsQL looks (15m, 1h, 7d)
  \\help              this
  \\q                 leave; so does Ctrl-D

Tab completes names, Ctrl-R searches what was asked before, Ctrl-C stops what runs.
";

/// Ask in a terminal, one question after the other. This is also what `logmill` alone does there.
#[derive(Debug, Args)]
pub struct ShellArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Whether to use colours.
    #[arg(long, value_enum, default_value_t)]
    color: ColorChoice,
}

type FieldNames = Arc<Mutex<Vec<String>>>;

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request<'a> {
    Nothing,
    Leave,
    Help,
    Fields,
    Tail(&'a str),
    Since(&'a str),
    Speak(Language),
    Ask(Language, &'a str),
    Unknown(&'a str),
}

struct Shell {
    client: HttpClient,
    color: bool,
    language: Language,
    since: String,
    fields: FieldNames,
}

impl ShellArguments {
    /// Those of somebody who gave none: the environment says where the server is.
    pub fn from_environment() -> anyhow::Result<Self> {
        let command = Self::augment_args(clap::Command::new("logmill"));
        let matches = command.try_get_matches_from(["logmill"])?;
        Ok(Self::from_arg_matches(&matches)?)
    }

    /// Talks until the person leaves.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let client = HttpClient::new(&self.server)?;
        let interactive = std::io::stdin().is_terminal();
        if interactive {
            let text = format!(
                "logmill {} at {}; \\help helps\n",
                env!("CARGO_PKG_VERSION"),
                client.url()
            );
            write_out(text.as_bytes())?;
        }
        let shell = Shell {
            color: self.color.use_color(),
            client,
            language: Language::LogsQl,
            since: DEFAULT_SINCE.to_owned(),
            fields: Arc::default(),
        };
        shell.converse().await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Shell {
    async fn converse(mut self) -> anyhow::Result<()> {
        let config = Config::builder()
            .max_history_size(HISTORY_MAX)?
            .auto_add_history(true);
        let mut editor = Editor::<Input, DefaultHistory>::with_config(config.build())?;
        let history = history_file();
        if let Some(history) = &history
            && let Err(error) = editor.load_history(history)
            && history.exists()
        {
            note(&format!("note: {}: {error}", history.display()));
        }
        let (client, names) = (self.client.clone(), self.fields.clone());
        tokio::spawn(async move { learn_fields(&client, &names).await });
        loop {
            let input = Input::new(self.language, self.fields.clone(), self.color);
            let prompt = self.language.prompt();
            // The editor waits for keys on a thread of its own.
            let (returned, read) = tokio::task::spawn_blocking(move || {
                editor.set_helper(Some(input));
                let read = editor.readline(prompt);
                (editor, read)
            })
            .await
            .context("reading a line")?;
            editor = returned;
            match read {
                Ok(text) => {
                    if !self.respond(&text).await? {
                        break;
                    }
                }
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error.into()),
            }
            if let Some(history) = &history {
                save(&mut editor, history);
            }
        }
        Ok(())
    }

    /// Does what a line asks for; false when the person leaves.
    async fn respond(&mut self, text: &str) -> anyhow::Result<bool> {
        match request(text, self.language) {
            Request::Nothing => {}
            Request::Leave => return Ok(false),
            Request::Help => drop(write_out(HELP.as_bytes())?),
            Request::Speak(language) => self.language = language,
            Request::Since("") => note(&self.since),
            Request::Since(since) => since.clone_into(&mut self.since),
            Request::Unknown(command) => note(&format!(
                "there is no {command}; \\help lists what there is"
            )),
            Request::Fields => self.run(self.show_fields(), "").await,
            Request::Tail(filter) => {
                let style = Some(self.color);
                self.run(
                    tail::follow(&self.client, matching(filter), 10, style),
                    filter,
                )
                .await;
            }
            Request::Ask(Language::Sql, query) => self.run(self.ask_sql(query), query).await,
            Request::Ask(Language::LogsQl, query) => self.run(self.ask_logsql(query), query).await,
        }
        Ok(true)
    }

    /// Does something until it is done or Ctrl-C is pressed. What the server does for it ends with its connection.
    async fn run(&self, work: impl Future<Output = anyhow::Result<()>>, query: &str) {
        tokio::select! {
            done = work => {
                if let Err(error) = done {
                    note(&caret::explain(&format!("{error:#}"), query, self.color));
                }
            }
            _ = tokio::signal::ctrl_c() => note("stopped"),
        }
    }

    async fn ask_logsql(&self, query: &str) -> anyhow::Result<()> {
        let from = format!("-{}", self.since);
        let body = json!({"query": query, "from": from, "limit": RECORDS_MAX}).to_string();
        let request = Outgoing::post("/query", "application/json", body);
        let answer = self.client.call(&request).await?.success()?;
        let answer: Value = serde_json::from_slice(&answer.body)?;
        let records = answer["records"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut out = String::new();
        // The newest stand last, next to the prompt.
        for record in records.iter().rev() {
            out.push_str(&line(record, self.color));
            out.push('\n');
        }
        write_out(out.as_bytes())?;
        for warning in answer["warnings"].as_array().into_iter().flatten() {
            note(&format!("note: {}", warning.as_str().unwrap_or_default()));
        }
        let more = if answer["next_cursor"].is_null() {
            ""
        } else {
            ", and there are more"
        };
        let elapsed = answer["stats"]["elapsed_ms"].as_f64().unwrap_or_default();
        let plural = if records.len() == 1 { "" } else { "s" };
        note(&format!(
            "{} record{plural} in {elapsed:.1} ms{more}",
            records.len()
        ));
        self.remember(records);
        Ok(())
    }

    async fn ask_sql(&self, query: &str) -> anyhow::Result<()> {
        let query = query.trim_end().trim_end_matches(';');
        let body = json!({"query": query, "format": "json"}).to_string();
        let request = Outgoing::post("/sql", "application/json", body);
        let answer = self.client.call(&request).await?.success()?;
        write_out(sql::table(&serde_json::from_slice(&answer.body)?).as_bytes())?;
        Ok(())
    }

    async fn show_fields(&self) -> anyhow::Result<()> {
        let fields = fields(&self.client).await?;
        let mut out = String::new();
        for (name, kind) in &fields {
            out.push_str(&format!("{}  {kind}\n", printable(name, false)));
        }
        write_out(out.as_bytes())?;
        keep_names(&self.fields, fields.into_iter().map(|(name, _)| name));
        Ok(())
    }

    /// Names that were seen are completed from now on.
    fn remember(&self, records: &[Value]) {
        let names = records
            .iter()
            .filter_map(Value::as_object)
            .flat_map(|record| record.keys().cloned());
        keep_names(&self.fields, names);
    }
}

/// What a line means.
fn request(text: &str, language: Language) -> Request<'_> {
    let text = text.trim();
    let Some(command) = text.strip_prefix('\\') else {
        return match text {
            "" => Request::Nothing,
            "exit" | "quit" => Request::Leave,
            query => Request::Ask(language, query),
        };
    };
    let (name, rest) = command
        .split_once(char::is_whitespace)
        .unwrap_or((command, ""));
    let rest = rest.trim();
    let in_language = |language| match rest {
        "" => Request::Speak(language),
        query => Request::Ask(language, query),
    };
    match name {
        "q" | "quit" => Request::Leave,
        "help" | "h" | "?" => Request::Help,
        "sql" => in_language(Language::Sql),
        "logsql" => in_language(Language::LogsQl),
        "tail" => Request::Tail(rest),
        "fields" => Request::Fields,
        "since" => Request::Since(rest),
        _ => Request::Unknown(text),
    }
}

/// Names and types of the fields of the last day.
async fn fields(client: &HttpClient) -> anyhow::Result<Vec<(String, String)>> {
    let answer = client
        .call(&Outgoing::get("/fields?from=-24h"))
        .await?
        .success()?;
    let answer: Value = serde_json::from_slice(&answer.body)?;
    let fields = answer["fields"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(fields
        .iter()
        .map(|field| (text(&field["name"]), text(&field["type"])))
        .collect())
}

/// A server that does not answer is noticed with the first question.
async fn learn_fields(client: &HttpClient, names: &FieldNames) {
    if let Ok(fields) = fields(client).await {
        keep_names(names, fields.into_iter().map(|(name, _)| name));
    }
}

fn keep_names(kept: &FieldNames, names: impl Iterator<Item = String>) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.extend(names);
    kept.sort_unstable();
    kept.dedup();
}

/// In the folder for what programs remember (XDG base directories).
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("logmill/history"))
}

fn save(editor: &mut Editor<Input, DefaultHistory>, path: &std::path::Path) {
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    if let Err(error) = folder
        .map_err(ReadlineError::from)
        .and_then(|()| editor.save_history(path))
    {
        note(&format!("note: {}: {error}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_questions_or_commands() {
        let logsql = |text| request(text, Language::LogsQl);
        assert_eq!(logsql("  error "), Request::Ask(Language::LogsQl, "error"));
        assert_eq!(
            request("SELECT 1", Language::Sql),
            Request::Ask(Language::Sql, "SELECT 1")
        );
        assert_eq!(logsql("\\sql"), Request::Speak(Language::Sql));
        assert_eq!(
            logsql("\\sql SELECT 1"),
            Request::Ask(Language::Sql, "SELECT 1")
        );
        assert_eq!(logsql("\\tail level:error"), Request::Tail("level:error"));
        assert_eq!(logsql("\\q"), Request::Leave);
        assert_eq!(logsql("\\nonsense x"), Request::Unknown("\\nonsense x"));
        assert_eq!(logsql(" "), Request::Nothing);
    }
}

//! Which records a question is about, as arguments say it.

use clap::Args;
use url::form_urlencoded::Serializer;

/// Parameters of a request.
pub(crate) type Parameters = Serializer<'static, String>;

/// The parameters that say which records a filter of LogsQL means.
pub(crate) fn matching(query: &str) -> Parameters {
    let mut parameters = Serializer::new(String::new());
    if !query.is_empty() {
        parameters.append_pair("query", query);
    }
    parameters
}

/// Which records are meant.
#[derive(Debug, Args)]
pub(crate) struct SelectionArguments {
    /// A filter of LogsQL; several arguments are one with blanks between them.
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
    #[arg(long)]
    level: Option<String>,
    /// Service, or several with commas.
    #[arg(long)]
    service: Option<String>,
    /// A field and its value: name=value; of one name several times: one of the values.
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    filters: Vec<String>,
}

impl SelectionArguments {
    /// The parameters that say the same.
    pub(crate) fn parameters(&self) -> anyhow::Result<Parameters> {
        let query = self.query.join(" ");
        let mut parameters = matching(&query);
        let since = self.since.as_ref().map(|since| format!("-{since}"));
        for (name, value) in [
            ("from", since.as_ref().or(self.from.as_ref())),
            ("to", self.to.as_ref()),
            ("text", self.text.as_ref()),
            ("level", self.level.as_ref()),
            ("service", self.service.as_ref()),
        ] {
            if let Some(value) = value {
                parameters.append_pair(name, value);
            }
        }
        for filter in &self.filters {
            match filter.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    parameters.append_pair(&format!("filter.{name}"), value);
                }
                _ => anyhow::bail!("--filter {filter:?}: write name=value"),
            }
        }
        Ok(parameters)
    }
}

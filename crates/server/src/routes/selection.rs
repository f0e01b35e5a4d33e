//! Which records a question is about, as requests say it: in members of a body, or in parameters.

use std::collections::{HashMap, HashSet};

use logmill_model::time::parse_time_expression;
use logmill_model::{TenantId, TimeRange, time};
use logmill_query_api::{Error, Filter, Selection, TextQuery};
use serde_json::{Map, Value};

use crate::error::ApiError;

/// A question without `from` looks this far back.
const DEFAULT_RANGE_NS: i64 = 3_600 * time::SECOND_NS;

/// The parameters that say which records are meant, for the document; [`Parameters`] reads them.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "a description")]
pub(crate) struct SelectionParameters {
    /// First instant; the last hour without it.
    #[param(example = "-15m")]
    from: Option<String>,
    /// First instant after; now without it.
    #[param(example = "now")]
    to: Option<String>,
    /// Words and "phrases" that `message` has, in any case.
    #[param(example = "timeout")]
    text: Option<String>,
    /// One or several, with commas or repeated.
    #[param(example = "error,fatal")]
    level: Option<String>,
    /// One or several, with commas or repeated.
    service: Option<String>,
    /// Equality with any field; repeated: with one of the values.
    #[param(rename = "filter.FIELD")]
    filter: Option<String>,
    /// A filter of LogsQL.
    #[param(example = "error and not timeout")]
    query: Option<String>,
}

/// What a request says of the records it means.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) from: Option<Value>,
    pub(crate) to: Option<Value>,
    pub(crate) text: Option<String>,
    pub(crate) filters: Option<Value>,
    /// LogsQL.
    pub(crate) query: Option<String>,
}

impl Asked {
    /// The records that are meant.
    pub(crate) fn selection(self, tenant: TenantId, now_ns: i64) -> Result<Selection, ApiError> {
        let text = self.text.map(|text| TextQuery::parse(&text)).transpose()?;
        let filters = self.filters.as_ref().map(Filter::parse_all).transpose()?;
        let logsql = self.query.as_deref().map(filter_of).transpose()?;
        let (from, to) = (self.from.as_ref(), self.to.as_ref());
        let range = range_beside(logsql.as_ref(), from, to, now_ns)?;
        Ok(Selection {
            text,
            filters: filters.unwrap_or_default(),
            logsql,
            now_ns,
            ..Selection::all(tenant, range)
        })
    }
}

/// The filter that a query of LogsQL is, where it has no pipes.
fn filter_of(query: &str) -> Result<logmill_lang::Filter, Error> {
    let parsed = logmill_lang::parse(query)?;
    match parsed.pipes.first() {
        None => Ok(parsed.filter),
        Some(_) => Err(Error::Unsupported(
            "not supported: pipes here; query says which records are meant".to_owned(),
        )),
    }
}

/// The range that a request means beside a filter of LogsQL: one that says itself when is bound by nothing else.
pub(crate) fn range_beside(
    filter: Option<&logmill_lang::Filter>,
    from: Option<&Value>,
    to: Option<&Value>,
    now_ns: i64,
) -> Result<TimeRange, ApiError> {
    if from.is_none() && to.is_none() && filter.is_some_and(says_when) {
        return Ok(TimeRange::ALL);
    }
    time_range(from, to, now_ns)
}

/// Whether all records of a filter are in a range of time that it names.
fn says_when(filter: &logmill_lang::Filter) -> bool {
    use logmill_lang::Filter;
    match filter {
        Filter::Time(_) => true,
        Filter::And(parts) => parts.iter().any(says_when),
        Filter::Or(parts) => parts.iter().all(says_when),
        _ => false,
    }
}

/// The range that a request means: the last hour without `from`, until now without `to`.
pub(crate) fn time_range(
    from: Option<&Value>,
    to: Option<&Value>,
    now_ns: i64,
) -> Result<TimeRange, ApiError> {
    // A record that was just received may be a moment ahead of the clock that is read here.
    let soon_ns = now_ns.saturating_add(time::SECOND_NS);
    let end_ns = instant("to", to, now_ns)?.unwrap_or(soon_ns);
    let start_ns = instant("from", from, now_ns)?;
    let start_ns = start_ns.unwrap_or_else(|| end_ns.saturating_sub(DEFAULT_RANGE_NS));
    if start_ns > end_ns {
        return Err(ApiError::bad_request("invalid_time", "from is after to"));
    }
    Ok(TimeRange { start_ns, end_ns })
}

/// An instant of a body; `None` when it is not there.
pub(crate) fn instant(
    name: &str,
    value: Option<&Value>,
    now_ns: i64,
) -> Result<Option<i64>, ApiError> {
    let wrong = |problem: String| ApiError::bad_request("invalid_time", problem);
    match value {
        None => Ok(None),
        Some(Value::String(text)) => parse_time_expression(text, now_ns)
            .map(Some)
            .map_err(|error| wrong(format!("{name}: {error}"))),
        Some(Value::Number(number)) => {
            let epoch = number.as_i64().and_then(time::parse_epoch_i64);
            let epoch = epoch.or_else(|| number.as_f64().and_then(time::parse_epoch_f64));
            let problem = || {
                wrong(format!(
                    "{name}: {number} is not an epoch in s, ms, us or ns"
                ))
            };
            epoch.map(Some).ok_or_else(problem)
        }
        Some(other) => Err(wrong(format!("{name}: {other} is not a time"))),
    }
}

/// The parameters of a GET: those that say which records are meant, and others of the route's own. A field's values are
/// added up, whichever way they are written; what has one value may stand once.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    asked: Asked,
    others: HashMap<String, String>,
}

impl Parameters {
    /// Reads them; `others` are the names of the route's own.
    pub(crate) fn read(query: Option<&str>, others: &[&str]) -> Result<Self, ApiError> {
        let mut parameters = Self::default();
        let mut filters = Map::new();
        let mut seen = HashSet::new();
        let mut one_of = |field: &str, values: Vec<&str>| {
            let values = values.into_iter().map(Value::from);
            let any = filters
                .entry(field)
                .or_insert_with(|| Value::Array(Vec::new()));
            any.as_array_mut()
                .expect("only lists are put in")
                .extend(values);
        };
        let query = query.unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if let Some(field) = name.strip_prefix("filter.") {
                one_of(field, vec![&value]);
                continue;
            }
            if matches!(&*name, "level" | "service") {
                one_of(&name, parts(&value).collect());
                continue;
            }
            if !seen.insert(name.clone()) {
                let message = format!("{name} is there twice");
                return Err(ApiError::bad_request("invalid_parameter", message));
            }
            let asked = &mut parameters.asked;
            match &*name {
                "from" => asked.from = Some(Value::String(value.into_owned())),
                "to" => asked.to = Some(Value::String(value.into_owned())),
                "text" => asked.text = Some(value.into_owned()),
                "query" => asked.query = Some(value.into_owned()),
                other if others.contains(&other) => {
                    parameters
                        .others
                        .insert(name.into_owned(), value.into_owned());
                }
                _ => {
                    let own = others.join(", ");
                    let message = format!(
                        "there is no parameter {name:?}: use from, to, text, level, service, filter.FIELD, query, {own}"
                    );
                    return Err(ApiError::bad_request("invalid_parameter", message));
                }
            }
        }
        if !filters.is_empty() {
            parameters.asked.filters = Some(Value::Object(filters));
        }
        Ok(parameters)
    }

    /// What they say of the records.
    pub(crate) fn asked(&mut self) -> Asked {
        std::mem::take(&mut self.asked)
    }

    /// One of the route's own.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.others.remove(name)
    }

    /// One of the route's own that is a number.
    pub(crate) fn number<T: std::str::FromStr>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, ApiError> {
        let value = self.take(name);
        value.map(|value| number(name, &value)).transpose()
    }

    /// One of the route's own that is a list, with commas.
    pub(crate) fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.take(name)?;
        Some(parts(&value).map(str::to_owned).collect())
    }
}

/// The parts of a list with commas.
fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// A parameter that is a number.
pub(crate) fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, ApiError> {
    value.parse().map_err(|_not_a_number| {
        ApiError::bad_request(
            "invalid_parameter",
            format!("{name} is a number, not {value:?}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repeated_conditions_on_a_field_are_alternatives() {
        let parameters = Parameters::read(
            Some(
                "level=error,fatal&level=warn&filter.http.status=500&filter.http.status=503&filter.level=info",
            ),
            &[],
        );
        let expected =
            json!({"level": ["error", "fatal", "warn", "info"], "http.status": ["500", "503"]});
        assert_eq!(parameters.unwrap().asked().filters, Some(expected));
    }

    #[test]
    fn what_has_one_value_may_not_be_repeated() {
        for parameters in ["limit=1&limit=2", "from=-1h&from=-2h"] {
            let refused = Parameters::read(Some(parameters), &["limit"]).unwrap_err();
            assert_eq!(refused.code, "invalid_parameter", "{parameters}");
        }
    }

    #[test]
    fn a_route_takes_its_own_parameters_alone() {
        let mut parameters =
            Parameters::read(Some("fields=a,%20b,&limit=7"), &["fields", "limit"]).unwrap();
        assert_eq!(parameters.list("fields").unwrap(), ["a", "b"]);
        assert_eq!(parameters.number::<u64>("limit").unwrap(), Some(7));
        assert_eq!(parameters.number::<u64>("limit").unwrap(), None);
        let refused = Parameters::read(Some("limit=7"), &["fields"]).unwrap_err();
        assert!(refused.message.contains("\"limit\"") && refused.message.contains("fields"));
    }
}

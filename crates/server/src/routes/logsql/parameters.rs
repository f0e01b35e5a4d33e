//! The parameters of a request, of its address and of its form.

use std::time::Duration;

use axum::body::Body;
use http::header;
use http::request::Parts;
use logmill_lang::ast::TimePoint;
use logmill_lang::value::duration::parse_duration;
use logmill_model::TimeRange;

use super::refused::invalid;
use crate::error::ApiError;
use crate::{AppState, body};

/// Longest form of a question.
const FORM_MAX_BYTES: u64 = 2 << 20;

/// Names and values, those of the form first. An empty value is as good as none.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads what a request says.
    pub(super) async fn read(
        state: &AppState,
        parts: &Parts,
        request_body: Body,
    ) -> Result<Self, ApiError> {
        let mut form = Vec::new();
        if is_form(parts) {
            let timeout = Duration::from_millis(state.options.body_timeout_ms);
            let mut share = state.budget.share();
            body::read(
                request_body,
                None,
                FORM_MAX_BYTES,
                timeout,
                &mut share,
                &mut form,
            )
            .await?;
        }
        Ok(Self::parse(&form, parts.uri.query().unwrap_or_default()))
    }

    pub(super) fn parse(form: &[u8], address: &str) -> Self {
        let form = url::form_urlencoded::parse(form);
        let address = url::form_urlencoded::parse(address.as_bytes());
        let both = form
            .chain(address)
            .map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self(both.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The first value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(other, _)| other == name);
        named.map(|(_, value)| value.as_str())
    }

    /// A number greater than 0; others mean none.
    pub(super) fn count(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number: i64 = text
            .parse()
            .map_err(|_no_number| invalid(name, text, "it is an integer"))?;
        Ok(u64::try_from(number).ok().filter(|count| *count > 0))
    }

    /// Whether a flag is set.
    pub(super) fn flag(&self, name: &str) -> bool {
        let value = self.get(name).map(str::to_ascii_lowercase);
        value.is_some_and(|value| !matches!(value.as_str(), "0" | "f" | "false" | "no"))
    }

    /// A duration in nanoseconds; a number without a unit is one of seconds.
    pub(super) fn duration_ns(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        parse_duration(text)
            .or_else(|| seconds_ns(text))
            .map(Some)
            .ok_or_else(|| invalid(name, text, "it is a duration such as 5m or 1h30m"))
    }

    /// An instant, and all that its text means (a day, a second).
    pub(super) fn time(&self, name: &str, now_ns: i64) -> Result<Option<TimeRange>, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let time = TimePoint::parse(text);
        let time = time.ok_or_else(|| {
            invalid(
                name,
                text,
                "it is a time such as 2026-11-20T12:00:00Z, an epoch, or 5m for five minutes ago",
            )
        })?;
        Ok(Some(time.range(now_ns)))
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the bound is far inside the range of i64"
)]
fn seconds_ns(text: &str) -> Option<i64> {
    let seconds: f64 = text.parse().ok()?;
    let ns = seconds * 1e9;
    (ns.abs() < 9e18).then(|| ns.round() as i64)
}

fn is_form(parts: &Parts) -> bool {
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map(|value| value.as_bytes().to_ascii_lowercase());
    content_type.is_some_and(|found| found.starts_with(b"application/x-www-form-urlencoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(address: &str) -> Parameters {
        Parameters::parse(b"query=form&a=1&a=2", address)
    }

    #[test]
    fn a_form_is_asked_before_the_address() {
        let read = parameters("query=address&a=3&b=&c=x+y%20z");
        assert_eq!(read.get("query"), Some("form"));
        assert_eq!(read.all("a").collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(read.get("b"), None);
        assert_eq!(read.get("c"), Some("x y z"));
    }

    #[test]
    fn numbers_flags_and_durations_are_understood() {
        let read = parameters("l=5&m=-1&n=0&o=x&y=1&z=false&d=1h30m&s=60&t=1.5&u=soon");
        assert_eq!(read.count("l").unwrap(), Some(5));
        assert_eq!(read.count("m").unwrap(), None);
        assert_eq!(read.count("n").unwrap(), None);
        assert!(read.count("o").is_err());
        assert!(read.flag("y") && !read.flag("z") && !read.flag("missing"));
        assert_eq!(read.duration_ns("d").unwrap(), Some(5_400_000_000_000));
        assert_eq!(read.duration_ns("s").unwrap(), Some(60_000_000_000));
        assert_eq!(read.duration_ns("t").unwrap(), Some(1_500_000_000));
        assert!(read.duration_ns("u").is_err());
    }
}

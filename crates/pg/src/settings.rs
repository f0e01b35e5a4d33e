//! The settings of a session. Few of them have an effect: who sets another is not refused, as drivers set them without being
//! asked, but the answers stay as they are: UTF-8, ISO dates, UTC.

use std::collections::BTreeMap;

use logmill_query_api::SETTINGS;

use crate::error::{PgError, Result};

/// Settings that a session may have beside those that are known.
const OTHERS_MAX: usize = 100;

/// What was set.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    changed: BTreeMap<String, String>,
    /// `statement_timeout`, where it is set.
    pub(crate) timeout_ms: Option<u64>,
}

impl Settings {
    /// Sets a value, or the default again; true where the value has no effect and clients should know.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<bool> {
        let name = name.to_ascii_lowercase();
        let Some(value) = value else {
            self.changed.remove(&name);
            if name == "statement_timeout" {
                self.timeout_ms = None;
            }
            return Ok(false);
        };
        match name.as_str() {
            "client_encoding" if !is_utf8(value) => {
                let message = format!("client_encoding {value:?}: texts are UTF-8 here");
                return Err(PgError::new("22023", message));
            }
            "timezone" => return Ok(!is_utc(value)),
            "statement_timeout" => {
                let timeout_ms = milliseconds(value).ok_or_else(|| {
                    let message = format!("statement_timeout {value:?}: milliseconds, or 5s, 1min");
                    PgError::new("22023", message)
                })?;
                self.timeout_ms = (timeout_ms > 0).then_some(timeout_ms);
            }
            "datestyle" | "intervalstyle" | "bytea_output" => return Ok(false),
            _ => {}
        }
        if self.changed.len() < OTHERS_MAX || self.changed.contains_key(&name) {
            self.changed.insert(name, value.to_owned());
        }
        Ok(false)
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn get(&self, name: &str) -> Result<&str> {
        let known = || {
            let found = SETTINGS.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| *value)
        };
        let value = self.changed.get(name).map(String::as_str).or_else(known);
        value.ok_or_else(|| {
            PgError::new(
                "42704",
                format!("unrecognized configuration parameter {name:?}"),
            )
        })
    }

    /// What the client is told at the start: names as PostgreSQL writes them.
    pub(crate) fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        const REPORTED: [&str; 12] = [
            "server_version",
            "server_encoding",
            "client_encoding",
            "application_name",
            "DateStyle",
            "IntervalStyle",
            "TimeZone",
            "integer_datetimes",
            "standard_conforming_strings",
            "is_superuser",
            "in_hot_standby",
            "default_transaction_read_only",
        ];
        REPORTED.into_iter().map(|name| {
            let value = self.get(&name.to_ascii_lowercase());
            (name, value.unwrap_or_default())
        })
    }
}

fn is_utf8(encoding: &str) -> bool {
    let plain: String = encoding
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    ["utf8", "unicode"].contains(&plain.to_ascii_lowercase().as_str())
}

fn is_utc(zone: &str) -> bool {
    let zone = zone.to_ascii_lowercase();
    ["utc", "etc/utc", "gmt", "z", "0", "+00", "+00:00"].contains(&zone.as_str())
}

/// A duration as PostgreSQL's settings have it: a number of milliseconds, or with a unit.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// The settings of a startup message's `options`: `-c name=value`, `--name=value`; a backslash keeps a blank.
pub(crate) fn of_options(options: &str) -> Vec<(String, String)> {
    let mut words = vec![String::new()];
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        let last = words.len() - 1;
        match character {
            '\\' => words[last].extend(characters.next()),
            ' ' => words.push(String::new()),
            other => words[last].push(other),
        }
    }
    let assignment = |word: &str| {
        let word = word
            .strip_prefix("--")
            .or(word.strip_prefix("-c"))
            .unwrap_or(word);
        let (name, value) = word.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    words.iter().filter_map(|word| assignment(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_shown_and_what_has_no_effect_is_said() {
        let mut settings = Settings::default();
        assert_eq!(settings.get("client_encoding").unwrap(), "UTF8");
        assert!(!settings.set("Application_Name", Some("psql")).unwrap());
        assert_eq!(settings.get("application_name").unwrap(), "psql");
        settings.set("application_name", None).unwrap();
        assert_eq!(settings.get("application_name").unwrap(), "");
        assert!(settings.set("TimeZone", Some("Europe/Berlin")).unwrap());
        assert_eq!(settings.get("timezone").unwrap(), "UTC");
        assert_eq!(
            settings
                .set("client_encoding", Some("LATIN1"))
                .unwrap_err()
                .code,
            "22023"
        );
        assert_eq!(settings.get("nonsense").unwrap_err().code, "42704");
        settings.set("statement_timeout", Some("5s")).unwrap();
        assert_eq!(settings.timeout_ms, Some(5_000));
        settings.set("statement_timeout", Some("0")).unwrap();
        assert_eq!(settings.timeout_ms, None);
    }

    #[test]
    fn options_are_assignments() {
        let expected = [("statement_timeout", "5s"), ("application_name", "a b")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = "-c statement_timeout=5s --application_name=a\\ b";
        assert_eq!(of_options(text), expected);
        assert_eq!(of_options("-cx=1"), [("x".to_owned(), "1".to_owned())]);
    }
}

//! What a delete by query is about.

use logmill_model::{TenantId, TimeRange};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Filter, Result, TextQuery};

/// The records that a delete by query is about. The store keeps it as JSON until all of them are gone, so times are
/// instants here and not "an hour ago", and `text` and `filters` are as they were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletePredicate {
    /// Whose records.
    #[serde(with = "as_text")]
    pub tenant: TenantId,
    /// First instant, nanoseconds.
    #[serde(rename = "from")]
    pub from_ns: i64,
    /// First instant after, nanoseconds.
    #[serde(rename = "to")]
    pub to_ns: i64,
    /// Words and phrases that `message` has, as `POST /query` takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Conditions on fields, as `POST /query` takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Value>,
}

impl DeletePredicate {
    /// As JSON; an error when text or filters cannot be understood.
    pub fn to_json(&self) -> Result<String> {
        self.terms()?;
        self.conditions()?;
        Ok(serde_json::to_string(self).expect("names, numbers and JSON values are JSON"))
    }

    /// From JSON; an error when text or filters cannot be understood.
    pub fn from_json(json: &str) -> Result<Self> {
        let predicate: Self = serde_json::from_str(json).map_err(|error| Error::Invalid {
            code: "invalid_filter",
            message: format!("a delete's predicate: {error}"),
        })?;
        predicate.terms()?;
        predicate.conditions()?;
        Ok(predicate)
    }

    /// When.
    pub const fn range(&self) -> TimeRange {
        TimeRange {
            start_ns: self.from_ns,
            end_ns: self.to_ns,
        }
    }

    /// The words and phrases.
    pub fn terms(&self) -> Result<Option<TextQuery>> {
        self.text.as_deref().map(TextQuery::parse).transpose()
    }

    /// The conditions on fields.
    pub fn conditions(&self) -> Result<Vec<Filter>> {
        let filters = self.filters.as_ref().map(Filter::parse_all).transpose()?;
        Ok(filters.unwrap_or_default())
    }
}

/// A tenant's name as JSON.
mod as_text {
    use logmill_model::TenantId;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        tenant: &TenantId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(tenant)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<TenantId, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn predicates_survive_json_and_wrong_ones_are_refused() {
        let predicate = DeletePredicate {
            tenant: "default".parse().unwrap(),
            from_ns: 1,
            to_ns: i64::MAX,
            text: Some("İstanbul \"two words\"".to_owned()),
            filters: Some(json!({"b": 1.5, "a": {"gte": 2}})),
        };
        let json = predicate.to_json().unwrap();
        assert_eq!(DeletePredicate::from_json(&json).unwrap(), predicate);
        for wrong in [
            r#"{"tenant":"a","from":1,"to":2,"filters":{"a":{"above":1}}}"#,
            r#"{"tenant":"a","from":1,"to":2,"text":"\""}"#,
            r#"{"tenant":"a","from":1}"#,
            r#"{"tenant":"a","from":1,"to":2,"query":"x"}"#,
        ] {
            assert!(DeletePredicate::from_json(wrong).is_err(), "{wrong}");
        }
    }
}

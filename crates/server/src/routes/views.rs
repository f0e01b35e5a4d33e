//! What a log page draws: counts over time, values, fields, neighbours, patterns.

pub(crate) mod context;
pub(crate) mod facets;
pub(crate) mod fields;
pub(crate) mod histogram;
pub(crate) mod patterns;

use logmill_model::time::format_rfc3339;
use logmill_query_api::ValueCount;
use serde::Serialize;
use utoipa::ToSchema;

/// How often a value is there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ValueAnswer {
    #[schema(example = "error")]
    value: String,
    #[schema(example = 12)]
    count: u64,
}

impl From<ValueCount> for ValueAnswer {
    fn from(ValueCount { value, count }: ValueCount) -> Self {
        Self { value, count }
    }
}

fn answers(values: Vec<ValueCount>) -> Vec<ValueAnswer> {
    values.into_iter().map(ValueAnswer::from).collect()
}

/// A time as answers have it.
fn rfc3339(t_ns: i64) -> String {
    let mut text = Vec::new();
    format_rfc3339(t_ns, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

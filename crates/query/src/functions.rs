//! SQL functions of ours.

mod count_distinct;
mod group_by_hash;
mod hash_set;
mod json;
pub(crate) mod literal;
mod matches;
mod overflow;
mod pattern;
mod regex_search;
mod text;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, StringViewArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

pub(crate) use count_distinct::{DistinctByHash, count_distinct};
pub(crate) use group_by_hash::{ANY_TEXT, GroupByHash, HASH, TEXT_HASH};
pub(crate) use json::JsonOperators;
pub(crate) use overflow::overflow_get;
pub(crate) use pattern::message_pattern;
pub(crate) use regex_search::with_literals;
pub(crate) use text::{has_phrase, has_token};

/// All of them, for a session.
pub(crate) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let ours = [
        has_token(),
        has_phrase(),
        message_pattern(),
        overflow_get(),
        matches::matches(),
    ];
    ours.into_iter().chain(json::json_functions())
}

/// Texts of any kind as views.
fn views(texts: &ArrayRef) -> Result<StringViewArray> {
    Ok(cast(texts, &DataType::Utf8View)?.as_string_view().clone())
}

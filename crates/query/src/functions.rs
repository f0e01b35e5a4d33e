//! SQL functions of ours.

mod count_distinct;
mod group_by_hash;
mod hash_set;
mod json;
mod matches;
mod overflow;
mod pattern;
mod text;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

pub(crate) use count_distinct::{DistinctByHash, count_distinct};
pub(crate) use group_by_hash::GroupByHash;
pub(crate) use json::JsonOperators;
pub(crate) use overflow::overflow_get;
pub(crate) use pattern::message_pattern;
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

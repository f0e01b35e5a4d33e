//! Conditions on the labels of streams.

use datafusion::common::Result;
use datafusion::logical_expr::{Expr, lit};
use logmill_lang::ast::{LabelMatch, StreamFilter};
use logmill_lang::value::stream::StreamMatcher;

use super::super::functions;
use super::super::invalid;
use super::super::scope::Value;

/// Whether a stream is one of those that the selector means.
pub(super) fn condition(stream: Option<Value>, selector: &StreamFilter) -> Result<Expr> {
    let matcher = StreamMatcher::new(selector).map_err(invalid)?;
    let of_none = matcher.matches("");
    let Some(stream) = stream else {
        return Ok(lit(of_none));
    };
    // The labels that a stream certainly has lead to its words in the token index.
    let name = if of_none { "stream_is" } else { "stream_has" };
    let words = certain_words(selector).unwrap_or_default();
    let values = vec![stream.shown(), lit(words)];
    let spec = format!("{selector:?}");
    let is = move |values: &[&str]| values.first().is_some_and(|text| matcher.matches(text));
    Ok(functions::predicate_of(name, &spec, values, is))
}

/// The names and values of labels that a selected stream certainly has, if there are any.
fn certain_words(selector: &StreamFilter) -> Option<String> {
    let [labels] = selector.any_of.as_slice() else {
        return None;
    };
    let words = labels.iter().filter_map(|label| match &label.is {
        // What is escaped in the text of a stream is no word in it.
        LabelMatch::Equal(text) if !text.is_empty() && !text.contains(['"', '\\', '\n']) => {
            Some(format!("{} {text}", label.label))
        }
        _ => None,
    });
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Whether a stream has one of these ids.
pub(super) fn of_ids(id: Option<Value>, ids: &[String]) -> Expr {
    match id {
        Some(id) => {
            let ids = ids.iter().map(|id| lit(id.as_str())).collect();
            id.shown().in_list(ids, false)
        }
        None => lit(false),
    }
}

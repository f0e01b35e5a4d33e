//! SQL functions of ours.

mod overflow;
mod text;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

pub(crate) use overflow::overflow_get;
pub(crate) use text::{has_phrase, has_token};

/// All of them, for a session.
pub(crate) fn all() -> [Arc<ScalarUDF>; 3] {
    [has_token(), has_phrase(), overflow_get()]
}

//! The logs themselves in a table of the catalog's database, in the place of segments.
//!
//! Everything before a flush is the same, and so are the catalog's rows about segments: here they say which records of a
//! tenant and day a flush wrote, with which columns of which types, and nothing is where their path leads. Merging them is
//! a change of the catalog alone.
//!
//! Invariant: of the records of one position of the queue, a reader takes those of the table if the position is before its
//! snapshot's [`flushed`](crate::Snapshot::flushed), and those in memory else; both change under one lock.

mod decode;
mod delete;
mod encode;
mod expire;
mod flush;

use std::borrow::Cow;
use std::sync::Arc;

use logmill_catalog::{LogTable, RowColumn};
use logmill_model::field;

pub use decode::RowDecoder;
pub(crate) use flush::merged_row;

/// Stands in the place of U+0000, which no text of Postgres has. What was there is in the row's `exact`.
const NUL_SYMBOL: &str = "\u{2400}";

/// The column that has a canonical field.
pub fn row_column(name: &str) -> Option<RowColumn> {
    Some(match name {
        field::TIMESTAMP => RowColumn::Timestamp,
        field::LEVEL => RowColumn::Level,
        field::SERVICE => RowColumn::Service,
        field::HOST => RowColumn::Host,
        field::MESSAGE => RowColumn::Message,
        field::TRACE_ID => RowColumn::TraceId,
        field::SPAN_ID => RowColumn::SpanId,
        field::STREAM => RowColumn::Stream,
        _ => return None,
    })
}

/// A text as a text of Postgres can have it: equal texts stay equal.
pub fn plain_text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', NUL_SYMBOL))
    } else {
        Cow::Borrowed(text)
    }
}

impl crate::Store {
    /// The table that has the logs, where it is not segments.
    pub fn table(&self) -> Option<&Arc<dyn LogTable>> {
        self.table.as_ref()
    }
}

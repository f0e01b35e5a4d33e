//! The contract between those who ask (HTTP, command line) and the engine that answers.
//!
//! Invariant: no DataFusion type appears here; answers are streams of Arrow record batches.

mod delete;
mod engine;
mod error;
mod filter;
mod limits;
mod postgres;
pub mod render;
mod request;
mod tail;
mod text;
mod views;

pub use delete::DeletePredicate;
pub use engine::{
    BatchStream, Page, QueryEngine, QueryStats, RecordStream, SqlAnswer, StatsHandle,
};
pub use error::{Error, Result};
pub use filter::{Condition, Filter, Literal};
pub use limits::{QueryLimits, TailLimits, ViewLimits};
pub use postgres::{PostgresQuery, SERVER_VERSION, SETTINGS, SqlShape, SqlValue};
pub use request::{LogQuery, LogsQlQuery, Order, Selection, SqlQuery};
pub use tail::{Tail, TailEvent, TailEvents, TailQuery};
pub use text::TextQuery;
pub use views::{
    Context, ContextQuery, Facet, Facets, FacetsQuery, FieldCount, FieldKind, FieldValues,
    FieldValuesQuery, Fields, FieldsQuery, Histogram, HistogramQuery, Interval, LeftOut,
    LeftOutReason, Pattern, Patterns, PatternsQuery, Series, ValueCount,
};

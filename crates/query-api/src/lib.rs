//! The contract between those who ask (HTTP, command line) and the engine that answers.
//!
//! Invariant: no DataFusion type appears here; answers are streams of Arrow record batches.

mod delete;
mod engine;
mod error;
mod filter;
mod limits;
pub mod render;
mod request;
mod text;

pub use delete::DeletePredicate;
pub use engine::{
    BatchStream, Page, QueryEngine, QueryStats, RecordStream, SqlAnswer, StatsHandle,
};
pub use error::{Error, Result};
pub use filter::{Condition, Filter, Literal};
pub use limits::QueryLimits;
pub use request::{LogQuery, Order, SqlQuery};
pub use text::TextQuery;

//! LogsQL: from text to a syntax tree and back, with errors that point at the place.
//!
//! Invariant: nothing here reads data or knows an engine; all of it is pure.

pub mod ast;
mod error;
mod parser;
mod print;
pub mod value;

pub use ast::{Filter, Pipe, Query};
pub use error::SyntaxError;
pub use parser::{MAX_DEPTH, MAX_LENGTH, PIPES, parse, parse_filter};

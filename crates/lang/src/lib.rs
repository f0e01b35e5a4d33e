//! LogsQL: from text to a syntax tree and back, with errors that point at the place.
//!
//! Invariant: nothing here reads data or knows an engine; all of it is pure.

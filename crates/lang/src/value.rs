//! What values mean: pure functions on texts, shared by everything that runs queries.
//!
//! A value is a text, and an absent one the empty text. What is applied to many values is compiled once (`Phrase::new`,
//! `ExtractPattern::parse`, …) and allocates nothing for a value where that can be avoided; functions named `write_…`
//! append to what they are given. The semantics are those that VictoriaLogs documents, and where the documentation
//! leaves a question open, those of its answers; where ours differ, the item says so.

pub mod bucket;
pub mod duration;
pub mod encode;
pub mod hash;
pub mod histogram;
pub mod ipv4;
pub mod json;
pub mod logfmt;
pub mod math;
pub mod number;
pub mod order;
pub mod pattern;
pub mod phrase;
pub mod quoted;
pub mod range;
pub mod regexp;
pub mod stream;
pub mod syslog;
pub mod text;
pub mod time;

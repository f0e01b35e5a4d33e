//! Decoding as a whole.

mod json;
mod loghub;

//! The crate as others use it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod errors;
mod examples;
mod generator;
mod round_trip;

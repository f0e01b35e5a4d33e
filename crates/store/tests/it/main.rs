//! The store as its users see it: what is appended is found, once, whatever happens.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod compaction;
mod crash;
mod doctor;
mod harness;
mod life;
mod retention;
mod sweep;

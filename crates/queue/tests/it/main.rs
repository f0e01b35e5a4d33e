//! The queues on real ground: a file system, a Redis.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod contract;
mod dead_letters;
mod faults;
mod fitness;
mod harness;
mod local;
mod proxy;
mod reading;

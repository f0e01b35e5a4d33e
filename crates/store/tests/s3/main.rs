//! Segments on a real server of S3 (moto's), behind a network that does not always work.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says what it saw"
)]

mod cache;
mod faults;
#[allow(
    dead_code,
    reason = "shared with the target `it`, which uses all of it"
)]
#[path = "../it/harness.rs"]
mod harness;
mod life;
mod proxy;
mod site;

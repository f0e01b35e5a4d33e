//! Several stores over one Redis, one Postgres and one object store: what is appended anywhere is found everywhere, once.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says what it saw"
)]

mod dead_letters;
mod deletes;
#[allow(
    dead_code,
    reason = "shared with the target `it`, which uses all of it"
)]
#[path = "../it/harness.rs"]
mod harness;
mod leases;
mod records;
mod requests;
mod site;

//! What every crate of Logmill agrees on: tenants, time, levels, field names, tokens, error kinds.
//!
//! Invariant: no I/O, no async, no Arrow. Everything here is pure and cheap to depend on.

pub mod clock;
pub mod error_kind;
pub mod field;
pub mod json;
pub mod level;
pub mod pattern;
pub mod tenant;
pub mod time;
pub mod token;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error_kind::ErrorKind;
pub use level::Level;
pub use tenant::{TenantId, TenantIdError};
pub use time::TimeRange;

//! Between columns and what they mean.

use std::str::FromStr;
use std::time::Duration;

use logmill_model::TenantId;

use crate::{Error, Result};

pub(super) fn tenant(table: &'static str, row: &str, name: &str) -> Result<TenantId> {
    TenantId::from_str(name)
        .map_err(|error| corrupt(table, row, &format!("tenant {name:?}: {error}")))
}

pub(super) fn corrupt(table: &'static str, row: &str, detail: &str) -> Error {
    Error::Corrupt {
        table,
        row: row.to_owned(),
        detail: detail.to_owned(),
    }
}

/// Integers of databases are signed.
pub(super) fn unsigned(table: &'static str, row: &str, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_negative| corrupt(table, row, &format!("{value} is negative")))
}

pub(super) fn signed(table: &'static str, row: &str, value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_too_large| corrupt(table, row, &format!("{value} is too large")))
}

/// In milliseconds; what is too long for the database is as good as for ever.
pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).map_or(i64::MAX / 4, |value| value.min(i64::MAX / 4))
}

/// Nothing is left of a time that has passed.
pub(super) fn time_left(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

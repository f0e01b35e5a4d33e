//! Partitions: one a day, made when its first record comes.
//!
//! A partition is attached, not created in place: that locks the table in a way that readers and writers do not notice. What
//! cannot be made now (another process makes it, a long query has the rest locked) is made at a later flush; until then the
//! day's rows are in the rest, and they move when it is made.

use std::time::Duration;

use logmill_model::time::{DAY_NS, utc_date};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};

use super::LogTableOptions;

/// The partition of what is of no day.
pub(super) const REST: &str = "log_entries_other";

/// Days after today that get partitions: clocks are wrong, but not all of them by far.
const DAYS_AHEAD: i64 = 1;

/// The lock that makes processes make one partition after the other: `logmill` in ASCII.
const ADVISORY_LOCK: i64 = 0x006c_6f67_6d69_6c6c;

/// The table of a day's partition.
pub(super) fn name(day: i64) -> String {
    let (year, month, date) = utc_date(day * DAY_NS);
    format!("log_entries_{year:04}_{month:02}_{date:02}")
}

/// A day's bounds, nanoseconds.
pub(super) fn bounds(day: i64) -> (i64, i64) {
    (day * DAY_NS, day.saturating_add(1).saturating_mul(DAY_NS))
}

/// Whether a day gets a partition of its own.
pub(super) fn has_partition(day: i64, today: i64, options: &LogTableOptions) -> bool {
    (today - i64::from(options.partition_days)..=today + DAYS_AHEAD).contains(&day)
}

/// Whether a table of this name is there.
pub(super) async fn exists(connection: &mut PgConnection, table: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(table)
        .fetch_one(connection)
        .await
}

/// Bounds the wait for locks until the transaction ends.
pub(super) async fn bound_lock_wait(
    connection: &mut PgConnection,
    limit: Duration,
) -> sqlx::Result<()> {
    set_local(connection, "lock_timeout", limit).await
}

/// Bounds statements until the transaction ends.
pub(super) async fn bound_statements(
    connection: &mut PgConnection,
    limit: Duration,
) -> sqlx::Result<()> {
    set_local(connection, "statement_timeout", limit).await
}

async fn set_local(
    connection: &mut PgConnection,
    setting: &str,
    limit: Duration,
) -> sqlx::Result<()> {
    let set = sqlx::query("SELECT set_config($1, $2, true)");
    let limit = limit.as_millis().to_string();
    connection.execute(set.bind(setting).bind(limit)).await?;
    Ok(())
}

/// Makes a day's partition in the transaction that the connection is in, and moves the day's rows there.
pub(super) async fn make(connection: &mut PgConnection, day: i64) -> sqlx::Result<()> {
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(ADVISORY_LOCK);
    connection.execute(lock).await?;
    let name = name(day);
    if exists(connection, &name).await? {
        return Ok(());
    }
    let (start, end) = bounds(day);
    // The name and the numbers are our own.
    let statements = [
        // Rows that are being written are waited for, so that none is left behind.
        format!("LOCK TABLE {REST} IN ACCESS EXCLUSIVE MODE"),
        format!("CREATE TABLE {name} (LIKE log_entries INCLUDING ALL)"),
        format!(
            "WITH moved AS (DELETE FROM {REST} WHERE timestamp_ns >= {start} AND timestamp_ns < {end} RETURNING *) \
             INSERT INTO {name} SELECT * FROM moved"
        ),
        // What the next statement would have to look for.
        format!(
            "ALTER TABLE {name} ADD CONSTRAINT {name}_day CHECK (timestamp_ns >= {start} AND timestamp_ns < {end})"
        ),
        format!(
            "ALTER TABLE log_entries ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})"
        ),
        format!("ALTER TABLE {name} DROP CONSTRAINT {name}_day"),
    ];
    for statement in statements {
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_names_and_bounds() {
        assert_eq!(name(0), "log_entries_1970_01_01");
        assert_eq!(name(20_783), "log_entries_2026_11_26");
        assert_eq!(bounds(1), (DAY_NS, 2 * DAY_NS));
        let options = LogTableOptions::default();
        for (day, has) in [(600, true), (599, false), (1_001, true), (1_002, false)] {
            assert_eq!(has_partition(day, 1_000, &options), has, "{day}");
        }
    }
}

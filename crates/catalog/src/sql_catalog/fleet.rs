//! Leases, members and job runs. Times are the database's clock, so that those of processes need not agree.

use std::time::Duration;

use super::convert::{milliseconds, signed, time_left, unsigned};
use crate::sql::{Backend, Connections, Fields, Transaction, database, values};
use crate::{Error, JobRun, Lease, LeaseRow, Member, Result};

/// One statement, so that of two that want a lease at once the second sees what the first did.
const LEASE: &str = "\
    INSERT INTO leases (name, holder, epoch, expires_at_ms) VALUES ($1, $2, 1, {now} + $3) \
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at_ms = excluded.expires_at_ms, \
    epoch = CASE WHEN leases.holder = excluded.holder THEN leases.epoch ELSE leases.epoch + 1 END \
    WHERE leases.holder IS NULL OR leases.holder = excluded.holder OR leases.expires_at_ms <= {now} \
    RETURNING epoch, expires_at_ms - {now} AS expires_in_ms";

pub(super) async fn lease<B: Backend>(
    connections: &Connections<B>,
    name: &str,
    holder: &str,
    ttl: Duration,
) -> Result<Option<Lease>> {
    let operation = "taking a lease";
    let values = values![name, holder, milliseconds(ttl)];
    let rows = connections.fetch(operation, LEASE, values).await?;
    let read = |row: &B::Row| {
        let failed = database(operation);
        let epoch = row.integer("epoch").map_err(&failed)?;
        Ok(Lease {
            name: name.to_owned(),
            holder: holder.to_owned(),
            epoch: unsigned("leases", name, epoch)?,
            expires_in: time_left(row.integer("expires_in_ms").map_err(&failed)?),
        })
    };
    rows.first().map(read).transpose()
}

pub(super) async fn release<B: Backend>(
    connections: &Connections<B>,
    name: &str,
    holder: &str,
    epoch: u64,
) -> Result<bool> {
    let release = "UPDATE leases SET holder = NULL, expires_at_ms = {now} \
                   WHERE name = $1 AND holder = $2 AND epoch = $3";
    let values = values![name, holder, signed("leases", name, epoch)?];
    let released = connections.execute("releasing a lease", release, values);
    Ok(released.await? > 0)
}

pub(super) async fn leases<B: Backend>(
    connections: &Connections<B>,
    prefix: &str,
) -> Result<Vec<LeaseRow>> {
    let operation = "reading the leases";
    let select = "SELECT name, holder, epoch, expires_at_ms - {now} AS expires_in_ms FROM leases \
                  WHERE substr(name, 1, length($1)) = $1 ORDER BY name";
    let rows = connections
        .fetch(operation, select, values![prefix])
        .await?;
    let read = |row: &B::Row| {
        let failed = database(operation);
        let name = row.text("name").map_err(&failed)?;
        let epoch = row.integer("epoch").map_err(&failed)?;
        Ok(LeaseRow {
            holder: row.optional_text("holder").map_err(&failed)?,
            epoch: unsigned("leases", &name, epoch)?,
            expires_in: time_left(row.integer("expires_in_ms").map_err(&failed)?),
            name,
        })
    };
    rows.iter().map(read).collect()
}

/// [`Error::Fenced`] unless the partition's lease has this epoch. It cannot be taken over before the transaction ends.
pub(super) async fn check_epoch<B: Backend>(
    transaction: &mut Transaction<B>,
    partition: &str,
    epoch: u64,
) -> Result<()> {
    let operation = "checking the lease";
    let name = format!("partition/{partition}");
    // Writing the row locks it, in both databases.
    let lock = "UPDATE leases SET epoch = epoch WHERE name = $1 RETURNING epoch";
    let rows = transaction.fetch(operation, lock, values![&name]).await?;
    let found = rows.first().map(|row| row.integer("epoch"));
    let found = found.transpose().map_err(database(operation))?;
    let found = found
        .map(|found| unsigned("leases", &name, found))
        .transpose()?;
    if found == Some(epoch) {
        return Ok(());
    }
    Err(Error::Fenced {
        partition: partition.to_owned(),
        epoch,
        found,
    })
}

/// Statements by themselves: locks on rows of several members, taken in one transaction, could meet crosswise.
pub(super) async fn heartbeat<B: Backend>(
    connections: &Connections<B>,
    member_id: &str,
    role: &str,
    description: &str,
    ttl: Duration,
) -> Result<Vec<Member>> {
    let operation = "a heartbeat";
    let here = "INSERT INTO members (id, role, description, expires_at_ms) VALUES ($1, $2, $3, {now} + $4) \
                ON CONFLICT (id) DO UPDATE SET role = excluded.role, description = excluded.description, \
                expires_at_ms = excluded.expires_at_ms";
    let values = values![member_id, role, description, milliseconds(ttl)];
    connections.execute(operation, here, values).await?;
    let expired = "DELETE FROM members WHERE expires_at_ms <= {now}";
    connections.execute(operation, expired, &[]).await?;
    let all = "SELECT id, role, description, expires_at_ms - {now} AS expires_in_ms FROM members \
               WHERE expires_at_ms > {now} ORDER BY id";
    let rows = connections.fetch(operation, all, &[]).await?;
    let read = |row: &B::Row| {
        Ok(Member {
            id: row.text("id")?,
            role: row.text("role")?,
            description: row.text("description")?,
            expires_in: time_left(row.integer("expires_in_ms")?),
        })
    };
    rows.iter()
        .map(read)
        .collect::<sqlx::Result<_>>()
        .map_err(database(operation))
}

pub(super) async fn leave<B: Backend>(connections: &Connections<B>, member_id: &str) -> Result<()> {
    let leave = "DELETE FROM members WHERE id = $1";
    connections
        .execute("leaving", leave, values![member_id])
        .await?;
    Ok(())
}

pub(super) async fn record_job<B: Backend>(
    connections: &Connections<B>,
    run: &JobRun,
) -> Result<()> {
    let record = "INSERT INTO job_runs (name, holder, started_at_ns, finished_at_ns, outcome, detail) \
                  VALUES ($1, $2, $3, $4, $5, $6) \
                  ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, started_at_ns = excluded.started_at_ns, \
                  finished_at_ns = excluded.finished_at_ns, outcome = excluded.outcome, detail = excluded.detail";
    let values = values![
        &run.name,
        &run.holder,
        run.started_at_ns,
        run.finished_at_ns,
        &run.outcome,
        &run.detail
    ];
    connections
        .execute("recording a job", record, values)
        .await?;
    Ok(())
}

pub(super) async fn job_runs<B: Backend>(connections: &Connections<B>) -> Result<Vec<JobRun>> {
    let operation = "reading the job runs";
    let select = "SELECT name, holder, started_at_ns, finished_at_ns, outcome, detail FROM job_runs ORDER BY name";
    let rows = connections.fetch(operation, select, &[]).await?;
    let read = |row: &B::Row| {
        Ok(JobRun {
            name: row.text("name")?,
            holder: row.text("holder")?,
            started_at_ns: row.integer("started_at_ns")?,
            finished_at_ns: row.integer("finished_at_ns")?,
            outcome: row.text("outcome")?,
            detail: row.text("detail")?,
        })
    };
    rows.iter()
        .map(read)
        .collect::<sqlx::Result<_>>()
        .map_err(database(operation))
}

//! Work that is done once for all processes, from time to time: whoever has a job's lease does it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use logmill_catalog::{Catalog, JobRun, OBSOLETE_OBJECTS_MAX};

use super::Fleet;
use crate::{Result, Store};

/// How often to look whether a job is due.
const TICK: Duration = Duration::from_secs(1);
/// After this, a job whose process died is another's.
const JOB_TTL: Duration = Duration::from_secs(600);
/// How often answers of old requests are forgotten in memory.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    /// Deletes segments that are too old or too many.
    Retention,
    /// Deletes objects whose segments were merged or expired some time ago.
    ObsoleteObjects,
    /// Deletes objects that the catalog never knew.
    Orphans,
    /// Forgets deletes that were finished long ago.
    FinishedDeletes,
}

impl Job {
    const ALL: [Self; 4] = [
        Self::Retention,
        Self::ObsoleteObjects,
        Self::Orphans,
        Self::FinishedDeletes,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::ObsoleteObjects => "obsolete_objects",
            Self::Orphans => "orphans",
            Self::FinishedDeletes => "finished_deletes",
        }
    }
}

/// Does the jobs that are due until the store is gone.
pub(super) async fn run_jobs(store: Weak<Store>, fleet: Arc<Fleet>) {
    let mut look_at = Job::ALL.map(|job| (job, Instant::now()));
    loop {
        tokio::time::sleep(TICK).await;
        let Some(store) = store.upgrade() else { return };
        for (job, next) in &mut look_at {
            if store.closed.load(Ordering::Acquire) {
                return;
            }
            let Some(interval) = store.interval(*job) else {
                continue;
            };
            if *next > Instant::now() {
                continue;
            }
            if let Err(error) = store.run_job(&fleet, *job, interval).await {
                tracing::warn!(%error, job = job.name(), "a job could not be begun; it is tried again");
            }
            *next = Instant::now() + (interval / 4).clamp(TICK, Duration::from_secs(60));
        }
    }
}

/// Forgets the answers of old requests, which the queue remembers, in this process's memory.
pub(super) async fn run_forgetting(store: Weak<Store>) {
    loop {
        tokio::time::sleep(FORGET_INTERVAL).await;
        let Some(store) = store.upgrade() else { return };
        store.registry.expire(store.answers_since_ns());
    }
}

/// Lets other processes have the jobs that `member` has.
pub(super) async fn release(
    catalog: &dyn Catalog,
    member: &str,
) -> Result<(), logmill_catalog::Error> {
    for row in catalog.leases("job/").await? {
        if row.holder.as_deref() == Some(member) {
            catalog.release(&row.name, member, row.epoch).await?;
        }
    }
    Ok(())
}

impl Store {
    /// How often a job is done; `None` for never.
    fn interval(&self, job: Job) -> Option<Duration> {
        let retention = Duration::from_millis(self.options.retention.check_interval_ms.max(10));
        match job {
            Job::Retention | Job::ObsoleteObjects | Job::FinishedDeletes => Some(retention),
            Job::Orphans => {
                let interval = self.options.orphan_check_interval_ms;
                (interval > 0).then(|| Duration::from_millis(interval))
            }
        }
    }

    async fn run_job(self: &Arc<Self>, fleet: &Fleet, job: Job, interval: Duration) -> Result<()> {
        let name = format!("job/{}", job.name());
        if self
            .catalog
            .lease(&name, &fleet.member, JOB_TTL)
            .await?
            .is_none()
        {
            return Ok(());
        }
        let last = self.catalog.job_runs().await?;
        let last = last.iter().find(|run| run.name == job.name());
        let started_at_ns = self.clock.now_ns();
        let interval_ns = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX);
        let is_due =
            last.is_none_or(|run| started_at_ns.saturating_sub(run.finished_at_ns) >= interval_ns);
        if is_due {
            let outcome = self.do_job(fleet, job).await;
            let (outcome, detail) = match outcome {
                Ok(detail) => ("succeeded", detail),
                Err(error) => {
                    tracing::warn!(%error, job = job.name(), "a job failed; it is tried again");
                    ("failed", error.to_string())
                }
            };
            metrics::counter!("logmill_jobs_total", "name" => job.name(), "outcome" => outcome)
                .increment(1);
            let run = JobRun {
                name: job.name().to_owned(),
                holder: fleet.member.clone(),
                started_at_ns,
                finished_at_ns: self.clock.now_ns(),
                outcome: outcome.to_owned(),
                detail,
            };
            self.catalog.record_job(run).await?;
        }
        // The lease is kept: what is remembered of a job in memory, such as which rules were applied to which segments, stays
        // with its process.
        Ok(())
    }

    async fn do_job(self: &Arc<Self>, fleet: &Fleet, job: Job) -> Result<String> {
        match job {
            Job::Retention => {
                let segments = self.apply_retention().await?;
                Ok(format!("{segments} segments deleted"))
            }
            Job::ObsoleteObjects => {
                let ttl = Duration::from_millis(fleet.options.obsolete_objects_ttl_ms);
                let mut deleted = 0;
                loop {
                    let paths = self.catalog.obsolete_objects(ttl).await?;
                    for path in &paths {
                        self.objects.delete(path).await?;
                    }
                    self.catalog.forget_objects(&paths).await?;
                    deleted += paths.len();
                    if paths.len() < OBSOLETE_OBJECTS_MAX {
                        return Ok(format!("{deleted} objects deleted"));
                    }
                }
            }
            Job::Orphans => {
                let orphans = self.sweep_orphans().await?;
                Ok(format!("{orphans} objects deleted"))
            }
            Job::FinishedDeletes => {
                self.expire_deletes().await?;
                Ok(String::new())
            }
        }
    }
}

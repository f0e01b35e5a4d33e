//! What the processes of a fleet say of themselves and of what they could not do.

use logmill_catalog::{JobRun, LeaseRow, Member};
use logmill_queue::{DeadLetter, DeadLetterSummary, RedisStatus};

use crate::{Result, Role, Store};

/// A process's place among the others.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetStatus {
    /// Its name among the others.
    pub member: String,
    /// Partitions of the queue.
    pub partitions: u32,
    /// Those that it works on.
    pub led: Vec<u32>,
    /// What Redis says of itself.
    pub redis: Option<RedisStatus>,
}

impl Store {
    /// What this process does: all of it where there is no other.
    pub fn role(&self) -> Role {
        self.log.fleet().map_or(Role::All, |fleet| fleet.role)
    }

    /// This process's place among the others; `None` where there are none.
    pub fn fleet_status(&self) -> Option<FleetStatus> {
        let fleet = self.log.fleet()?;
        Some(FleetStatus {
            member: fleet.member.clone(),
            partitions: fleet.queue.partitions(),
            led: fleet.led().into_keys().collect(),
            redis: logmill_queue::Queue::status(fleet.queue.as_ref()).redis,
        })
    }

    /// The processes that are there; none but in a fleet.
    pub async fn members(&self) -> Result<Vec<Member>> {
        match self.log.fleet() {
            Some(fleet) => fleet.heartbeat(self.catalog.as_ref()).await,
            None => Ok(Vec::new()),
        }
    }

    /// Who works on which partition and has which job; none but in a fleet.
    pub async fn leases(&self) -> Result<Vec<LeaseRow>> {
        Ok(self.catalog.leases("").await?)
    }

    /// The last run of every background job of the fleet.
    pub async fn job_runs(&self) -> Result<Vec<JobRun>> {
        Ok(self.catalog.job_runs().await?)
    }

    /// Entries of the queue that are no batches, oldest first, after the one with the id `after`.
    pub async fn dead_letters(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetterSummary>> {
        match self.log.fleet() {
            Some(fleet) => Ok(fleet.queue.dead_letters(after, limit).await?),
            None => Ok(Vec::new()),
        }
    }

    /// A dead letter with its payload.
    pub async fn dead_letter(&self, id: &str) -> Result<Option<DeadLetter>> {
        match self.log.fleet() {
            Some(fleet) => Ok(fleet.queue.dead_letter_get(id).await?),
            None => Ok(None),
        }
    }

    /// Puts a dead letter back into its partition, once; `false` when there is none of this id.
    pub async fn retry_dead_letter(&self, id: &str) -> Result<bool> {
        match self.log.fleet() {
            Some(fleet) => Ok(fleet.queue.dead_letter_retry(id).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Forgets a dead letter; `false` when there is none of this id.
    pub async fn drop_dead_letter(&self, id: &str) -> Result<bool> {
        match self.log.fleet() {
            Some(fleet) => Ok(fleet.queue.dead_letter_drop(id).await?),
            None => Ok(false),
        }
    }
}

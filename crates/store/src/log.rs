//! Where batches become durable.

use std::sync::Arc;

use logmill_model::TenantId;
use logmill_queue::{LocalLog, Queue};

use crate::fleet::{Fleet, partition_name};
use crate::{LOCAL, LOCAL_PARTITION};

/// Where batches become durable, and how they come back.
#[derive(Clone, Debug)]
pub(crate) enum Log {
    /// This process's own: one partition, which nobody else touches.
    Local(Arc<LocalLog>),
    /// All processes': each partition is flushed by who has its lease.
    Fleet(Arc<Fleet>),
}

impl Log {
    pub(crate) fn fleet(&self) -> Option<&Arc<Fleet>> {
        match self {
            Self::Fleet(fleet) => Some(fleet),
            Self::Local(_) => None,
        }
    }

    pub(crate) fn queue(&self) -> &dyn Queue {
        match self {
            Self::Local(log) => log.as_ref(),
            Self::Fleet(fleet) => fleet.queue.as_ref(),
        }
    }

    /// The partition that a tenant's records go by.
    pub(crate) fn partition_of(&self, tenant: &TenantId) -> u32 {
        match self {
            Self::Local(_) => LOCAL,
            Self::Fleet(fleet) => fleet.partition_of(tenant),
        }
    }

    /// The catalog's name of a partition.
    pub(crate) fn partition_name(&self, partition: u32) -> String {
        match self {
            Self::Local(_) => LOCAL_PARTITION.to_owned(),
            Self::Fleet(_) => partition_name(partition),
        }
    }
}

//! Where batches become durable.

use std::sync::Arc;

use logmill_queue::{LocalLog, Queue};

use crate::LOCAL_PARTITION;
use crate::fleet::{Fleet, partition_name};

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

    /// The catalog's name of a partition.
    pub(crate) fn partition_name(&self, partition: u32) -> String {
        match self {
            Self::Local(_) => LOCAL_PARTITION.to_owned(),
            Self::Fleet(_) => partition_name(partition),
        }
    }
}

//! The memory of all requests under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all request bodies may hold together.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    limit: u64,
}

/// A request's part of the budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

/// There is not that much left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exhausted {
    pub(crate) limit: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicU64::new(0),
            limit,
        })
    }

    /// A share of nothing, to grow.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

impl Share {
    /// Takes more of the budget before the memory is used.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Exhausted> {
        let limit = self.budget.limit;
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        let taken = self
            .budget
            .used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map_err(|_used| Exhausted { limit })?;
        self.bytes += bytes;
        self.report();
        Ok(())
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn report(&self) {
        let used = self.budget.used.load(Ordering::Relaxed);
        metrics::gauge!("logmill_inflight_bytes").set(used as f64);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.report();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_back() {
        let budget = Budget::new(10);
        let mut one = budget.share();
        one.grow(6).unwrap();
        let mut other = budget.share();
        assert_eq!(other.grow(5).unwrap_err().limit, 10);
        other.grow(4).unwrap();
        drop(one);
        other.grow(6).unwrap();
    }
}

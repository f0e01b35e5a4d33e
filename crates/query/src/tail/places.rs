//! How many tails each tenant has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use logmill_model::TenantId;
use logmill_query_api::{Error, Result};

/// The tails that are open, by tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<TenantId, u64>>>);

/// One of a tenant's tails, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    tenant: TenantId,
}

impl Places {
    fn open(&self) -> MutexGuard<'_, HashMap<TenantId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more, if the tenant may have one.
    pub(super) fn take(&self, tenant: &TenantId, most: u64) -> Result<Place> {
        let mut open = self.open();
        let count = open.entry(tenant.clone()).or_default();
        if *count >= most {
            if *count == 0 {
                open.remove(tenant);
            }
            return Err(Error::TooManyTails { open: most });
        }
        *count += 1;
        metrics::gauge!("logmill_tails").increment(1.0);
        Ok(Place {
            places: self.clone(),
            tenant: tenant.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("logmill_tails").decrement(1.0);
        let mut open = self.places.open();
        if let Some(count) = open.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_have_places_of_their_own_and_get_them_back() {
        let places = Places::default();
        let (one, other) = ("a".parse().unwrap(), "b".parse().unwrap());
        let first = places.take(&one, 1).unwrap();
        assert_eq!(places.take(&one, 1).unwrap_err().code(), "too_many_tails");
        let second = places.take(&other, 1).unwrap();
        drop(first);
        drop(places.take(&one, 1).unwrap());
        drop(second);
        assert!(places.take(&one, 0).is_err());
        assert!(places.open().is_empty());
    }
}

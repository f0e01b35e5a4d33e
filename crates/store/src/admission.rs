//! The bound on a tenant's columns.

use std::sync::Arc;

use logmill_model::field;
use parking_lot::RwLock;
use rustc_hash::FxHashSet;

/// The columns a tenant has, and whether it may have one more.
#[derive(Clone, Debug)]
pub struct ColumnAdmission {
    names: Arc<RwLock<FxHashSet<Box<str>>>>,
    limit: usize,
}

impl ColumnAdmission {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            names: Arc::default(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        }
    }

    /// Takes in a column that is there, whatever the bound.
    pub(crate) fn insert(&self, name: &str) {
        if !is_ours(name) && !self.names.read().contains(name) {
            self.names.write().insert(Box::from(name));
        }
    }

    /// Whether an attribute of this name gets a column: it has one already, or the bound allows one more
    /// (which is then taken). `quota` is a bound of the tenant's own; the smaller one holds.
    pub fn admit(&self, name: &str, quota: Option<u64>) -> bool {
        if is_ours(name) || self.names.read().contains(name) {
            return true;
        }
        let quota = quota.map_or(usize::MAX, |quota| {
            usize::try_from(quota).unwrap_or(usize::MAX)
        });
        let mut names = self.names.write();
        if names.len() >= self.limit.min(quota) {
            return names.contains(name);
        }
        names.insert(Box::from(name));
        true
    }
}

/// Columns that every tenant has.
fn is_ours(name: &str) -> bool {
    name == field::OVERFLOW || field::CANONICAL.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_admitted_up_to_the_bound() {
        let columns = ColumnAdmission::new(2);
        assert!(columns.admit("a", None) && columns.admit("b", Some(100)));
        assert!(!columns.admit("c", None) && !columns.admit("c", Some(100)));
        assert!(columns.admit("a", None) && columns.admit("message", None));
        columns.insert("c");
        assert!(columns.admit("c", None), "one that is there is there");
    }

    #[test]
    fn a_quota_is_a_bound_of_its_own() {
        let columns = ColumnAdmission::new(10);
        assert!(columns.admit("a", Some(1)));
        assert!(!columns.admit("b", Some(1)));
        assert!(columns.admit("a", Some(0)) && columns.admit("level", Some(0)));
        assert!(columns.admit("b", Some(2)));
    }
}

//! The bound on a tenant's columns.

/// The columns a tenant has, and whether it may have one more.
#[derive(Clone, Debug)]
pub struct ColumnAdmission {}

impl ColumnAdmission {
    /// Whether an attribute of this name gets a column: it has one already, or the bound allows one more
    /// (which is then taken).
    pub fn admit(&self, name: &str) -> bool {
        let _ = name;
        unimplemented!("helper")
    }
}

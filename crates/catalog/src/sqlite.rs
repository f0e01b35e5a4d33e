//! The catalog in one SQLite file.

use std::path::Path;

use crate::{MigrationStatus, Result};

/// A [`Catalog`](crate::Catalog) in a SQLite file.
#[derive(Debug)]
pub struct SqliteCatalog {}

impl SqliteCatalog {
    /// Opens (or makes) the file and applies pending migrations.
    pub async fn open(path: &Path) -> Result<Self> {
        let _ = path;
        unimplemented!("helper")
    }

    /// The migrations this binary knows, and which of them the file has; the file is not made.
    pub async fn migration_status(path: &Path) -> Result<Vec<MigrationStatus>> {
        let _ = path;
        unimplemented!("helper")
    }
}

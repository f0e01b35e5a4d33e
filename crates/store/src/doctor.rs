//! Checking the catalog's segments against their objects.

use std::sync::Arc;

use logmill_catalog::{Catalog, SegmentRow};
use logmill_segment::SegmentMetadata;
use object_store::ObjectStore;
use rustc_hash::FxHashSet;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::Result;
use crate::objects::Objects;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CatalogReport {
    /// Segments in the catalog.
    pub segments: u64,
    /// Their records.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments whose object is not what the catalog says.
    pub problems: Vec<SegmentProblem>,
    /// Objects that the catalog does not know; the next start deletes them.
    pub orphans: Vec<String>,
}

/// A segment whose object is not what the catalog says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentProblem {
    /// The object's path.
    pub path: String,
    /// Whose records.
    pub tenant: String,
    /// How many of them.
    pub rows: u64,
    /// What is wrong.
    pub detail: String,
}

/// Reads every segment's object and checks its length, checksum and metadata. Changes nothing.
pub async fn verify(catalog: &dyn Catalog, objects: Arc<dyn ObjectStore>) -> Result<CatalogReport> {
    let objects = Objects { store: objects };
    let rows = catalog.segments().await?;
    let known: FxHashSet<&str> = rows.iter().map(|row| row.path.as_str()).collect();
    let orphans = objects
        .list()
        .await?
        .into_iter()
        .filter(|path| !known.contains(path.as_str()))
        .collect();
    let mut report = CatalogReport {
        orphans,
        ..CatalogReport::default()
    };
    for row in &rows {
        report.segments += 1;
        report.rows += row.rows;
        report.bytes += row.bytes;
        if let Some(detail) = problem(&objects, row).await {
            report.problems.push(SegmentProblem {
                path: row.path.clone(),
                tenant: row.tenant.to_string(),
                rows: row.rows,
                detail,
            });
        }
    }
    Ok(report)
}

async fn problem(objects: &Objects, row: &SegmentRow) -> Option<String> {
    let bytes = match objects.get(&row.path).await {
        Ok(bytes) => bytes,
        Err(error) => return Some(error.to_string()),
    };
    if bytes.len() as u64 != row.bytes {
        return Some(format!(
            "{} bytes; the catalog says {}",
            bytes.len(),
            row.bytes
        ));
    }
    if xxh3_64(&bytes) != row.checksum {
        return Some("the checksum is wrong".to_owned());
    }
    match SegmentMetadata::read(&bytes) {
        Ok(metadata) if metadata.rows == row.rows => None,
        Ok(metadata) => Some(format!(
            "{} records; the catalog says {}",
            metadata.rows, row.rows
        )),
        Err(error) => Some(error.to_string()),
    }
}

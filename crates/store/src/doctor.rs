//! Checking the catalog's segments against their objects.

use std::sync::Arc;

use bytes::Bytes;
use logmill_catalog::{Catalog, SegmentRow};
use logmill_segment::{Depth, Part, SegmentMetadata};
use object_store::ObjectStore;
use rustc_hash::FxHashSet;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::objects::Objects;
use crate::{Error, Result};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CatalogReport {
    /// Segments in the catalog.
    pub segments: u64,
    /// Their records.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is damaged in segments.
    pub problems: Vec<SegmentProblem>,
    /// Objects that the catalog does not know; a sweep or the next start deletes them.
    pub orphans: Vec<String>,
}

/// Something in a segment that is not what was written, or not what the catalog says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentProblem {
    /// The object's path.
    pub path: String,
    /// Whose records.
    pub tenant: String,
    /// How many of them, by the catalog.
    pub rows: u64,
    /// The damaged part: `object`, `catalog`, or a part of the segment.
    pub part: &'static str,
    /// What is wrong.
    pub detail: String,
    /// What helps.
    pub remedy: Remedy,
}

/// What helps against damage. The doctor says it and does not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// The object has to come back from a backup: records are lost without it, or may be others than were written.
    RestoreObject,
    /// The records can all be read: written anew, they get an index and a rollup again. A backup is as good.
    WriteAnew,
    /// The object is what was written; the catalog's row is not. The catalog has to come back from a backup.
    RestoreCatalog,
}

/// Reads every segment's object and checks it against the catalog (length, checksum, records, times, columns) and
/// against itself (see [`logmill_segment::verify`]). Changes nothing.
pub async fn verify(
    catalog: &dyn Catalog,
    objects: Arc<dyn ObjectStore>,
    depth: Depth,
) -> Result<CatalogReport> {
    let objects = Objects { store: objects };
    let rows = catalog.segments().await?;
    let known: FxHashSet<&str> = rows.iter().map(|row| row.path.as_str()).collect();
    let listed = objects.list().await?.into_iter();
    let orphans = listed
        .map(|object| object.path)
        .filter(|path| !known.contains(path.as_str()))
        .collect();
    let mut report = CatalogReport {
        orphans,
        ..CatalogReport::default()
    };
    for row in rows {
        report.segments += 1;
        report.rows += row.rows;
        report.bytes += row.bytes;
        let found = match objects.get(&row.path).await {
            Ok(bytes) => {
                let checked =
                    tokio::task::spawn_blocking(move || problems(&row, &bytes, depth)).await;
                checked.map_err(|panicked| {
                    Error::Internal(format!("checking a segment: {panicked}"))
                })?
            }
            Err(error) => vec![problem(
                &row,
                "object",
                error.to_string(),
                Remedy::RestoreObject,
            )],
        };
        report.problems.extend(found);
    }
    Ok(report)
}

fn problem(row: &SegmentRow, part: &'static str, detail: String, remedy: Remedy) -> SegmentProblem {
    SegmentProblem {
        path: row.path.clone(),
        tenant: row.tenant.to_string(),
        rows: row.rows,
        part,
        detail,
        remedy,
    }
}

fn problems(row: &SegmentRow, bytes: &Bytes, depth: Depth) -> Vec<SegmentProblem> {
    let inside = logmill_segment::verify(bytes, depth);
    let readable = inside.iter().all(|problem| {
        matches!(
            problem.part,
            Part::Index | Part::Rollup | Part::Newest | Part::Values
        )
    });
    let (length, checksum) = (bytes.len() as u64, xxh3_64(bytes));
    let mut found = Vec::new();
    if length != row.bytes {
        let detail = format!("{length} bytes; the catalog says {}", row.bytes);
        found.push(problem(row, "object", detail, Remedy::RestoreObject));
    } else if checksum != row.checksum {
        // Where the damage is inside, that says more than the sum over all of it, but not that there is no other.
        let detail = "the checksum is wrong".to_owned();
        found.push(problem(row, "object", detail, Remedy::RestoreObject));
    }
    let remedy = if readable {
        Remedy::WriteAnew
    } else {
        Remedy::RestoreObject
    };
    for inside in inside {
        let part = match inside.part {
            Part::Footer => "footer",
            Part::Rows => "rows",
            Part::Index => "index",
            Part::Rollup => "rollup",
            Part::Newest => "newest",
            Part::Values => "values",
        };
        found.push(problem(row, part, inside.detail, remedy));
    }
    if readable && let Ok(metadata) = SegmentMetadata::read(bytes) {
        let differences = differences(row, &metadata).into_iter();
        let remedy = if checksum == row.checksum {
            Remedy::RestoreCatalog
        } else {
            Remedy::RestoreObject
        };
        found.extend(differences.map(|detail| problem(row, "catalog", detail, remedy)));
    }
    found
}

/// Where the catalog's row and the segment say different things.
fn differences(row: &SegmentRow, metadata: &SegmentMetadata) -> Vec<String> {
    let mut found = Vec::new();
    if metadata.rows != row.rows {
        found.push(format!(
            "{} records; the catalog says {}",
            metadata.rows, row.rows
        ));
    }
    let times = (metadata.min_timestamp_ns, metadata.max_timestamp_ns);
    let known = (row.min_timestamp_ns, row.max_timestamp_ns);
    if times != known {
        found.push(format!("times {times:?}; the catalog says {known:?}"));
    }
    let columns = row
        .columns
        .iter()
        .map(|column| (&column.name, column.column_type));
    if !columns.eq(metadata.columns.iter().map(|(name, kind)| (name, *kind))) {
        found.push("other columns than the catalog says".to_owned());
    }
    found
}

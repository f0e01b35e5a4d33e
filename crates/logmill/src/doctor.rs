//! `logmill doctor`: is what is on disk what was written?

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use logmill_catalog::SqliteCatalog;
use logmill_queue::RepairReport;
use logmill_store::object_storage::{self, ObjectStorageOptions};
use logmill_store::{CatalogReport, Depth, Remedy};
use serde::Serialize;

use crate::data_dir::DataDir;
use crate::settings::{Flags, Settings};

/// Check a data directory: the write-ahead log, the catalog, and every segment. No server may run on it.
///
/// Of a segment: checksum, footer, that all rows can be read, are in order and are as many and of the times that the catalog
/// says, that the index has the tokens of one row in 61 (of all with --deep), and that the rollup counts all rows.
///
/// Ends with 1 when something is damaged. With --repair, a damaged log is made to open again: the damaged files are kept
/// beside it, what is intact in them stays, and what is lost is said.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Where the data are.
    #[arg(long, env = "LOGMILL_DATA_DIR", default_value = "logmill-data")]
    data_dir: PathBuf,
    /// Settings file, which says where the segments are [default: logmill.toml where it exists].
    #[arg(long, env = "LOGMILL_CONFIG")]
    config: Option<PathBuf>,
    /// Set damage in the write-ahead log aside.
    #[arg(long)]
    repair: bool,
    /// Look for the tokens of all rows in the index.
    #[arg(long)]
    deep: bool,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    healthy: bool,
    wal: logmill_queue::Report,
    repair: Option<RepairReport>,
    segments: CatalogReport,
}

impl DoctorArguments {
    /// Carries the command out.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let data_dir = DataDir::open(&self.data_dir)?;
        let mut wal = logmill_queue::inspect(&data_dir.wal())?;
        let mut repair = None;
        let before = (self.repair && wal.is_corrupt()).then(|| wal.clone());
        if before.is_some() {
            repair = Some(logmill_queue::repair(&data_dir.wal())?);
            wal = logmill_queue::inspect(&data_dir.wal())?;
        }
        let segments = self.segments(&data_dir).await?;
        let healthy = !wal.is_corrupt() && segments.problems.is_empty();
        let findings = Findings {
            healthy,
            wal,
            repair,
            segments,
        };
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &findings)?;
            writeln!(out)?;
        } else {
            let text = describe(&findings, before.as_ref());
            out.write_all(text.as_bytes())?;
        }
        Ok(if healthy {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    async fn segments(&self, data_dir: &DataDir) -> anyhow::Result<CatalogReport> {
        if !data_dir.catalog().exists() {
            return Ok(CatalogReport::default());
        }
        let settings = Settings::load(self.config.as_deref(), &Flags::default(), None)?;
        let options = ObjectStorageOptions {
            // What is in the bucket is asked for, not what the cache has of it.
            cache_bytes: 0,
            ..settings.objects
        };
        let root = data_dir.objects();
        std::fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        let depth = if self.deep {
            Depth::AllRows
        } else {
            Depth::Sample
        };
        let catalog = SqliteCatalog::open(&data_dir.catalog()).await?;
        let objects = object_storage::open(&options, &root, &data_dir.object_cache())?;
        Ok(logmill_store::verify(&catalog, objects.store, depth).await?)
    }
}

fn describe(findings: &Findings, before: Option<&logmill_queue::Report>) -> String {
    let mut lines = Vec::new();
    let Findings { wal, segments, .. } = findings;
    let entries: u64 = wal.files.iter().map(|file| file.entries).sum();
    lines.push(format!(
        "write-ahead log: {} files, {entries} intact entries",
        wal.files.len()
    ));
    for file in &before.unwrap_or(wal).files {
        let Some(damage) = &file.damage else { continue };
        let what = if damage.torn_tail {
            "a torn tail, which the next start cuts off; nothing of it was acknowledged".to_owned()
        } else {
            let lost = damage
                .entries_lost
                .map_or("an unknown number of".to_owned(), |n| n.to_string());
            format!(
                "{lost} entries are lost, {} intact ones follow",
                damage.entries_after
            )
        };
        lines.push(format!(
            "  {} at byte {}: {}: {what}",
            file.path.display(),
            damage.offset,
            damage.detail
        ));
    }
    if before.is_none() && wal.is_corrupt() {
        lines.push(
            "  the server will not start; `logmill doctor --repair` sets the damage aside"
                .to_owned(),
        );
        if !wal.is_contiguous() {
            lines.push("  entries are missing between two files".to_owned());
        }
    }
    if let Some(repair) = &findings.repair {
        for path in &repair.set_aside {
            lines.push(format!(
                "  repaired; the damaged file is kept as {}",
                path.display()
            ));
        }
        lines.push(format!(
            "  {} entries were kept from behind damage",
            repair.entries_kept
        ));
    }
    lines.push(format!(
        "segments: {}, {} records, {} bytes",
        segments.segments, segments.rows, segments.bytes
    ));
    for problem in &segments.problems {
        lines.push(format!(
            "  {} ({} records of tenant {}): {}: {}; {}",
            problem.path,
            problem.rows,
            problem.tenant,
            problem.part,
            problem.detail,
            advice(problem.remedy)
        ));
    }
    for orphan in &segments.orphans {
        lines.push(format!(
            "  {orphan}: not in the catalog; the server deletes it"
        ));
    }
    lines.push(if findings.healthy {
        "healthy".to_owned()
    } else {
        "damaged".to_owned()
    });
    lines.join("\n") + "\n"
}

const fn advice(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::RestoreObject => "restore the object from a backup",
        Remedy::WriteAnew => {
            "its records can be read and written anew, or restore it from a backup"
        }
        Remedy::RestoreCatalog => "the object is intact; restore the catalog from a backup",
    }
}

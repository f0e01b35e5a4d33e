//! The catalog, and the table that has the logs where they are in one: which database they are in, and that data of one kind
//! of store never meet those of the other.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use logmill_catalog::{
    Access, Catalog, LogTable, PostgresCatalog, PostgresLogTable, SqliteCatalog,
};
use logmill_model::Clock;
use logmill_store::StoreKind;
use ulid::Ulid;

use crate::data_dir::DataDir;
use crate::settings::Settings;

/// Name under which the catalog keeps where the logs are.
const KIND: &str = "store_kind";
/// Name under which the catalog keeps which data folder has the write-ahead log of its records.
const FOLDER: &str = "data_folder";

/// What is in databases.
pub(crate) struct Catalogs {
    /// As the store sees it.
    pub(crate) catalog: Arc<dyn Catalog>,
    /// As those who check credentials see it.
    pub(crate) access: Arc<dyn Access>,
    /// Where the logs are in a table.
    pub(crate) table: Option<Arc<dyn LogTable>>,
}

/// Opens what the settings name.
pub(crate) async fn open(
    settings: &Settings,
    data_dir: &DataDir,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Catalogs> {
    if !settings.is_fleet() && !settings.is_table() {
        if data_dir.table_mark().exists() {
            bail!(
                "the records of {} are in Postgres: start with --store postgres and its DATABASE_URL, or in another folder",
                settings.data_dir.display()
            );
        }
        let catalog = Arc::new(SqliteCatalog::open(&data_dir.catalog()).await?);
        return Ok(Catalogs {
            access: catalog.clone(),
            catalog,
            table: None,
        });
    }
    let url = &settings.database_url;
    let catalog = PostgresCatalog::connect(url, &settings.catalog).await;
    let catalog = Arc::new(catalog.context("opening the catalog that DATABASE_URL names")?);
    check_kind(catalog.as_ref(), settings.store.kind).await?;
    if !settings.is_table() {
        return Ok(Catalogs {
            access: catalog.clone(),
            catalog,
            table: None,
        });
    }
    if !settings.is_fleet() {
        check_folder(catalog.as_ref(), data_dir, &settings.data_dir).await?;
    }
    let (connections, options) = (&settings.catalog, settings.table.clone());
    let table = PostgresLogTable::new(url, catalog.clone(), connections, options, clock.clone())?;
    Ok(Catalogs {
        access: catalog.clone(),
        catalog,
        table: Some(Arc::new(table)),
    })
}

/// A database has logs of one kind. What was begun with segments before this was kept, goes on so.
async fn check_kind(catalog: &dyn Catalog, wanted: StoreKind) -> anyhow::Result<()> {
    let wanted = wanted.as_str();
    let initial = if catalog.tenants().await?.is_empty() {
        wanted
    } else {
        StoreKind::Segments.as_str()
    };
    let kept = catalog.setting(KIND, initial.as_bytes()).await?;
    let kept = String::from_utf8_lossy(&kept);
    if kept != wanted {
        bail!(
            "the database that DATABASE_URL names was begun with --store {kept}, not {wanted}: \
             give another database, or ingest the logs anew"
        );
    }
    Ok(())
}

/// Without a queue that is shared, the database belongs to one folder: the log there has what is not in the table yet.
async fn check_folder(
    catalog: &dyn Catalog,
    data_dir: &DataDir,
    root: &Path,
) -> anyhow::Result<()> {
    let root = root.display();
    if data_dir.catalog().exists() {
        bail!(
            "the records of {root} are in segments: start with --store segments, or in another folder"
        );
    }
    let path = data_dir.table_mark();
    let mark = match std::fs::read_to_string(&path) {
        Ok(mark) => mark,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mark = Ulid::generate().to_string();
            write_durably(&path, &mark).with_context(|| format!("writing {}", path.display()))?;
            mark
        }
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let kept = catalog.setting(FOLDER, mark.as_bytes()).await?;
    if kept != mark.as_bytes() {
        bail!(
            "the database that DATABASE_URL names belongs to another data folder than {root}, whose log may have records \
             that are not in it yet: start there; several processes can share a database if they share a queue (REDIS_URL)"
        );
    }
    Ok(())
}

fn write_durably(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = std::fs::File::create(&temporary)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    path.parent()
        .map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

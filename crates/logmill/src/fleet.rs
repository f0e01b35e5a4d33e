//! One process of many: what they share, and that it is the same for all.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use logmill_catalog::{Catalog, LogTable};
use logmill_model::Clock;
use logmill_queue::RedisQueue;
use logmill_store::object_storage::{self, Opened};
use logmill_store::{FleetParts, Store};
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use ulid::Ulid;

use crate::data_dir::DataDir;
use crate::settings::Settings;

/// Name under which the catalog keeps how many partitions the queue has.
const PARTITIONS: &str = "queue_partitions";
/// Name under which the catalog keeps the fleet's identity.
const IDENTITY: &str = "fleet_id";
/// The object that has it as well.
const MARK: &str = "fleet";

/// Connects to the queue that the processes share.
pub(crate) async fn open_queue(
    settings: &Settings,
    catalog: &dyn Catalog,
) -> anyhow::Result<Arc<RedisQueue>> {
    let partitions = partitions(settings, catalog).await?;
    let queue = RedisQueue::open(&settings.redis_url, settings.queue.clone(), partitions).await;
    let queue = queue.context("opening the queue that REDIS_URL names")?;
    Ok(Arc::new(queue))
}

/// Connects to what else the processes share and joins them.
pub(crate) async fn join(
    settings: &Settings,
    data_dir: &DataDir,
    catalog: Arc<dyn Catalog>,
    table: Option<Arc<dyn LogTable>>,
    queue: Arc<RedisQueue>,
    clock: &Arc<dyn Clock>,
    address: SocketAddr,
) -> anyhow::Result<Arc<Store>> {
    let objects = match &table {
        // Nothing is kept there.
        Some(_) => Opened {
            store: Arc::new(InMemory::new()),
            local_root: None,
        },
        None => open_objects(settings, data_dir, catalog.as_ref()).await?,
    };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let description = serde_json::json!({
        "address": address.to_string(),
        "host": host.trim(),
        "process": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let parts = FleetParts {
        role: settings.role,
        options: settings.fleet.clone(),
        queue,
        catalog,
        objects: objects.store,
        local_root: objects.local_root,
        table,
        member: format!("{}-{}", settings.role.as_str(), Ulid::generate()),
        description: description.to_string(),
    };
    let joined = Store::join(settings.store.clone(), parts, clock.clone()).await;
    joined.context("joining the other processes")
}

async fn open_objects(
    settings: &Settings,
    data_dir: &DataDir,
    catalog: &dyn Catalog,
) -> anyhow::Result<Opened> {
    let root = data_dir.objects();
    if let Some(folder) = settings.objects.url.strip_prefix("file://") {
        std::fs::create_dir_all(folder).with_context(|| format!("making {folder}"))?;
    }
    let objects = object_storage::open(&settings.objects, &root, &data_dir.object_cache())?;
    check_objects(catalog, objects.store.as_ref()).await?;
    Ok(objects)
}

/// How many partitions there are: what the first process was told. A tenant's partition must never change.
async fn partitions(settings: &Settings, catalog: &dyn Catalog) -> anyhow::Result<u32> {
    let wanted = settings.fleet.partitions;
    if !(1..=1_024).contains(&wanted) {
        bail!("fleet.partitions is {wanted}: from 1 to 1024 are possible");
    }
    let kept = catalog
        .setting(PARTITIONS, wanted.to_string().as_bytes())
        .await?;
    let kept = String::from_utf8_lossy(&kept).into_owned();
    let partitions: u32 = kept
        .parse()
        .with_context(|| format!("the catalog's {PARTITIONS} is {kept:?}"))?;
    if partitions != wanted {
        tracing::warn!(
            partitions,
            fleet_partitions = wanted,
            "the fleet was begun with another number of partitions, which stays"
        );
    }
    Ok(partitions)
}

/// The fleet whose mark the object store has.
async fn mark_of(objects: &dyn ObjectStore) -> anyhow::Result<Option<Bytes>> {
    let reading = "reading the object store's mark";
    match objects.get(&ObjectPath::from(MARK)).await {
        Ok(found) => Ok(Some(found.bytes().await.context(reading)?)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error).context(reading),
    }
}

/// Refuses an object store that is not the one of the other processes: a mark in it has to have the name that the catalog
/// has.
async fn check_objects(catalog: &dyn Catalog, objects: &dyn ObjectStore) -> anyhow::Result<()> {
    let fresh = Ulid::generate().to_string();
    let identity = catalog.setting(IDENTITY, fresh.as_bytes()).await?;
    let identity = String::from_utf8_lossy(&identity).into_owned();
    match mark_of(objects).await? {
        Some(found) if found == identity.as_bytes() => Ok(()),
        Some(found) => bail!(
            "the object store belongs to the fleet {}, and the catalog to the fleet {identity}: \
             objects.url or DATABASE_URL is not that of the other processes",
            String::from_utf8_lossy(&found)
        ),
        None if catalog.tenants().await?.is_empty() => {
            let mark = PutPayload::from(identity.clone().into_bytes());
            match objects.put(&ObjectPath::from(MARK), mark).await {
                Ok(_) => Ok(()),
                // Another process that begins now may have been faster.
                Err(_)
                    if mark_of(objects)
                        .await?
                        .is_some_and(|found| found == identity) =>
                {
                    Ok(())
                }
                Err(error) => Err(error).context("marking the object store"),
            }
        }
        None => bail!(
            "the catalog knows segments, and this object store has never seen the fleet {identity}: \
             objects.url is not that of the other processes"
        ),
    }
}

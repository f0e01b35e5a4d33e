//! `logmill serve`: builds the components and runs them until told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use logmill_catalog::{Catalog, LogTable};
use logmill_model::{Clock, SystemClock};
use logmill_query::Engine;
use logmill_queue::RedisQueue;
use logmill_server::{
    AppState, Auth, LocalQuotas, MetricsHandle, QuotaCounters, SharedQuotas, Tls,
};
use logmill_store::{Role, Store, StoreKind, object_storage};
use logmill_telemetry::{Service, Telemetry};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::data_dir::DataDir;
use crate::database::{self, Catalogs};
use crate::settings::{Flags, LogFormat, PgFlags, Settings, StoreFlags};
use crate::{fleet, logging};

/// Name under which the catalog keeps the key that seals cursors.
const CURSOR_KEY: &str = "cursor_key";

/// Run a server. Every setting can also be given in the environment (`LOGMILL_STORE__FLUSH_BYTES=…`) or in
/// `logmill.toml`; docs/operations.md lists them.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Where the data are [default: logmill-data].
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:7280].
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Address and port for clients of PostgreSQL [default: none].
    #[arg(long)]
    pg_listen: Option<SocketAddr>,
    /// Listen beyond loopback although nobody is asked for credentials.
    #[arg(long)]
    insecure_no_auth: bool,
    /// Settings file [default: logmill.toml where it exists].
    #[arg(long, env = "LOGMILL_CONFIG")]
    config: Option<PathBuf>,
    /// What this process does, where several share the data (REDIS_URL, DATABASE_URL) [default: all].
    #[arg(long, value_enum)]
    role: Option<RoleArgument>,
    /// Where the logs are: in segments on the object store, or in a table of the database that DATABASE_URL names
    /// [default: segments].
    #[arg(long, value_enum)]
    store: Option<StoreArgument>,
    /// How Logmill's own log looks.
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

/// What a process does.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RoleArgument {
    /// Takes records in.
    Api,
    /// Brings records from the queue into segments, merges and deletes.
    Worker,
    /// Answers questions.
    Query,
    /// All of it.
    All,
}

/// Where the logs are.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StoreArgument {
    /// In Parquet files.
    Segments,
    /// In a table of Postgres.
    Postgres,
}

impl From<StoreArgument> for StoreFlags {
    fn from(store: StoreArgument) -> Self {
        let kind = match store {
            StoreArgument::Segments => StoreKind::Segments,
            StoreArgument::Postgres => StoreKind::Postgres,
        };
        Self { kind }
    }
}

impl From<RoleArgument> for Role {
    fn from(role: RoleArgument) -> Self {
        match role {
            RoleArgument::Api => Self::Api,
            RoleArgument::Worker => Self::Worker,
            RoleArgument::Query => Self::Query,
            RoleArgument::All => Self::All,
        }
    }
}

impl ServeArguments {
    /// The same with the role of a worker.
    pub(crate) fn into_worker(self) -> anyhow::Result<Self> {
        if self
            .role
            .is_some_and(|role| !matches!(role, RoleArgument::Worker))
        {
            anyhow::bail!("a worker has the role worker: use `logmill serve --role …`");
        }
        Ok(Self {
            role: Some(RoleArgument::Worker),
            ..self
        })
    }

    /// Serves until a signal; 0 after a clean stop.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let flags = Flags {
            data_dir: self.data_dir,
            listen: self.listen,
            insecure_no_auth: self.insecure_no_auth.then_some(true),
            role: self.role.map(Role::from),
            store: self.store.map(StoreFlags::from),
            pg: self.pg_listen.map(|address| PgFlags {
                listen: address.to_string(),
            }),
        };
        let settings = Settings::load(self.config.as_deref(), &flags, self.log_format)?;
        let service = Service {
            version: env!("CARGO_PKG_VERSION"),
            role: settings.role.as_str(),
        };
        let mut telemetry = Telemetry::from_environment(service)
            .context("exporting traces and metrics as OTEL_* say")?;
        logging::install(&settings.log, &telemetry)?;
        let served = serve(settings, &mut telemetry).await;
        telemetry.shutdown().await;
        served?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn serve(settings: Settings, telemetry: &mut Telemetry) -> anyhow::Result<()> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("listening on {}", settings.listen))?;
    let address = listener.local_addr()?;
    let pg_listener = match settings.pg.address().map_err(anyhow::Error::msg)? {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .with_context(|| format!("pg.listen: listening on {address}"))?,
        ),
        None => None,
    };
    let tls = Tls::open(&settings.server).await?;
    let stop = stop_on_signal()?;
    let metrics = logmill_server::install_metrics()?;
    let data_dir = DataDir::create(&settings.data_dir)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);

    let Catalogs {
        catalog,
        access,
        table,
    } = database::open(&settings, &data_dir, &clock).await?;
    let cursor_key = cursor_key(catalog.as_ref()).await?;
    let queue = if settings.is_fleet() {
        Some(fleet::open_queue(&settings, catalog.as_ref()).await?)
    } else {
        None
    };
    let quotas = quotas(&settings, queue.clone());
    let auth = Auth::open(settings.auth.clone(), access, quotas, clock.clone());
    let auth = auth.await.map_err(anyhow::Error::msg)?;
    let store = match queue {
        Some(queue) => {
            fleet::join(&settings, &data_dir, catalog, table, queue, &clock, address).await?
        }
        None => open_store(&settings, &data_dir, catalog, table, &clock).await?,
    };
    export_metrics(telemetry, &metrics, &store)?;
    let engine = Arc::new(Engine::new(
        store.clone(),
        settings.query.clone(),
        cursor_key,
    )?);
    let pg = match pg_listener {
        Some(listener) => Some(serve_pg(listener, &settings, &engine, &auth, &tls, &stop)?),
        None => None,
    };

    let role = settings.role.as_str();
    tracing::info!(%address, role, data_dir = %settings.data_dir.display(), tls = tls.is_some(), version = env!("CARGO_PKG_VERSION"), "listening");
    let state = AppState::new(store.clone(), engine, clock, metrics, settings.server, auth);
    let served = logmill_server::serve(listener, tls, state, stop).await;
    if let Some(pg) = pg {
        pg.await.context("serving clients of PostgreSQL")?;
    }
    tracing::info!("stopping: flushing what is in memory");
    store.shutdown().await.context("shutting the store down")?;
    served?;
    tracing::info!("stopped");
    Ok(())
}

/// Answers clients of PostgreSQL, beside HTTP.
fn serve_pg(
    listener: TcpListener,
    settings: &Settings,
    engine: &Arc<Engine>,
    auth: &Arc<Auth>,
    tls: &Option<Arc<Tls>>,
    stop: &CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let address = listener.local_addr()?;
    let role = settings.role;
    let refusal = (!role.answers()).then(|| {
        format!(
            "this process has the role {}: questions are answered by processes of the roles query and all",
            role.as_str()
        )
    });
    let parts = logmill_pg::Parts {
        engine: engine.clone(),
        auth: auth.clone(),
        tls: tls.clone(),
        options: settings.pg.clone(),
        write_timeout: Duration::from_millis(settings.server.write_timeout_ms),
        shutdown_grace: Duration::from_millis(settings.server.shutdown_grace_ms),
        refusal,
    };
    tracing::info!(%address, "listening to clients of PostgreSQL");
    Ok(tokio::spawn(logmill_pg::serve(
        listener,
        parts,
        stop.clone(),
    )))
}

/// Where quotas are counted: where the processes share a queue, together.
fn quotas(settings: &Settings, queue: Option<Arc<RedisQueue>>) -> Arc<dyn QuotaCounters> {
    match queue {
        Some(queue) => {
            let query_longest = Duration::from_millis(settings.query.timeout_ms);
            Arc::new(SharedQuotas::new(queue, query_longest))
        }
        None => Arc::new(LocalQuotas::default()),
    }
}

/// What `/metrics` says, also where the environment wants it.
fn export_metrics(
    telemetry: &mut Telemetry,
    metrics: &MetricsHandle,
    store: &Arc<Store>,
) -> anyhow::Result<()> {
    let (metrics, store) = (metrics.clone(), Arc::downgrade(store));
    telemetry.export_metrics(move || {
        if let Some(store) = store.upgrade() {
            store.report();
        }
        metrics.render()
    })?;
    Ok(())
}

async fn open_store(
    settings: &Settings,
    data_dir: &DataDir,
    catalog: Arc<dyn Catalog>,
    table: Option<Arc<dyn LogTable>>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<Store>> {
    let in_folder = || format!("opening the store in {}", settings.data_dir.display());
    if let Some(table) = table {
        let (options, wal) = (settings.store.clone(), data_dir.wal());
        let opened = Store::open_table(options, &wal, catalog, table, clock.clone()).await;
        return opened.with_context(in_folder);
    }
    let root = data_dir.objects();
    std::fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
    let objects = object_storage::open(&settings.objects, &root, &data_dir.object_cache())?;
    let wal = data_dir.wal();
    Store::open(
        settings.store.clone(),
        &wal,
        catalog,
        objects.store,
        objects.local_root,
        clock.clone(),
    )
    .await
    .with_context(in_folder)
}

/// The key that seals cursors: random at the first start, the same ever after.
async fn cursor_key(catalog: &dyn Catalog) -> anyhow::Result<[u8; 32]> {
    let fresh: [u8; 32] = rand::random();
    let kept = catalog.setting(CURSOR_KEY, &fresh).await?;
    let length = kept.len();
    kept.try_into().map_err(|_wrong_length| {
        anyhow::anyhow!("the catalog's {CURSOR_KEY} has {length} bytes instead of 32")
    })
}

/// A token that SIGTERM or SIGINT cancels; a second signal ends the process at once (what was acknowledged
/// is in the write-ahead log).
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if cancelled.is_cancelled() {
                tracing::warn!("second signal: leaving at once");
                std::process::exit(130);
            }
            tracing::info!("signal received: no new connections, finishing requests");
            cancelled.cancel();
        }
    });
    Ok(token)
}

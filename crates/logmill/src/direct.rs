//! Tenants and keys, through a server or in its catalog.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use logmill_catalog::{Access, AuditEntry, PostgresCatalog, PostgresOptions, SqliteCatalog};
use logmill_client::{Administration, ServerArguments};
use logmill_model::{Clock, SystemClock, TenantId};
use serde_json::Value;

/// Where tenants and keys are.
#[derive(Debug, Args)]
pub(crate) struct PlaceArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Work in the catalog of this data directory, on which a server may run meanwhile; that is how the first key is made.
    /// Without it and with an API key the command goes through the server [default without an API key: LOGMILL_DATA_DIR,
    /// or logmill-data].
    #[arg(long, global = true)]
    data_dir: Option<PathBuf>,
    /// Work in the Postgres database that is the catalog of many processes; also DATABASE_URL, where no data directory is
    /// named.
    #[arg(long, global = true, conflicts_with = "data_dir")]
    database_url: Option<String>,
}

/// A way to tenants and keys.
pub(crate) enum Place {
    /// Through a server.
    Server(Box<Administration>),
    /// In the catalog itself.
    Catalog(Catalog),
}

/// The catalog of a data directory, or of many processes.
pub(crate) struct Catalog {
    pub(crate) access: Box<dyn Access>,
    pub(crate) now_ns: i64,
}

impl PlaceArguments {
    /// The tenant that the command is about.
    pub(crate) fn take_tenant(&mut self) -> Option<String> {
        self.server.take_tenant()
    }

    /// `makes`: a data directory that is not there is made.
    pub(crate) async fn open(&self, makes: bool) -> anyhow::Result<Place> {
        let customary = || {
            std::env::var("DATABASE_URL")
                .ok()
                .filter(|url| !url.is_empty())
        };
        let database = match (&self.database_url, &self.data_dir) {
            (Some(url), _) => Some(url.clone()),
            (None, None) if !self.server.has_key() => customary(),
            (None, _) => None,
        };
        if let Some(url) = database {
            let catalog = PostgresCatalog::connect(&url, &PostgresOptions::default()).await;
            return Ok(Place::Catalog(Catalog {
                access: Box::new(catalog.context("opening the catalog that DATABASE_URL names")?),
                now_ns: SystemClock.now_ns(),
            }));
        }
        let data_dir = match &self.data_dir {
            Some(data_dir) => data_dir.clone(),
            None if self.server.has_key() => {
                let server = Administration::new(&self.server)?;
                return Ok(Place::Server(Box::new(server)));
            }
            None => std::env::var_os("LOGMILL_DATA_DIR")
                .map_or_else(|| PathBuf::from("logmill-data"), PathBuf::from),
        };
        crate::data_dir::check_catalog_is_in(&data_dir)?;
        let path = data_dir.join("catalog.db");
        if makes {
            std::fs::create_dir_all(&data_dir)?;
        } else if !path.is_file() {
            bail!(
                "there is no catalog {}: name its --data-dir, or a server's --url with an API key",
                path.display()
            );
        }
        Ok(Place::Catalog(Catalog {
            access: Box::new(SqliteCatalog::open(&path).await?),
            now_ns: SystemClock.now_ns(),
        }))
    }
}

impl Catalog {
    /// Puts down in the audit log what was done here.
    pub(crate) async fn note(
        &self,
        action: &str,
        tenant: Option<&TenantId>,
        target: &str,
        detail: Value,
    ) -> anyhow::Result<()> {
        let entry = AuditEntry {
            at_ns: self.now_ns,
            actor: "command line".to_owned(),
            tenant: tenant.cloned(),
            action: action.to_owned(),
            target: target.to_owned(),
            detail,
            remote_address: None,
            request_id: None,
            outcome: "ok".to_owned(),
        };
        Ok(self.access.append_audit(&[entry]).await?)
    }
}

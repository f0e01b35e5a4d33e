//! `logmill tenant`: who may have records.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use logmill_catalog::TenantRow;
use logmill_client::{parse_bytes, parse_duration};
use logmill_model::TenantId;
use logmill_server::{TenantSettings, TenantStatus};
use serde_json::{Value, json};

use crate::direct::{Place, PlaceArguments};

/// Make, list, change and disable tenants: in the catalog of a data directory, or with an API key through its server.
#[derive(Debug, Args)]
pub(crate) struct TenantArguments {
    #[command(flatten)]
    place: PlaceArguments,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a tenant.
    Create {
        /// Its name.
        name: TenantId,
        #[command(flatten)]
        settings: SettingArguments,
    },
    /// List the tenants.
    List {
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Change a tenant's retention and quotas; what is not named stays, `none` takes a bound away.
    Set {
        /// Its name.
        name: TenantId,
        #[command(flatten)]
        settings: SettingArguments,
    },
    /// Refuse a tenant's requests; its records stay.
    Disable {
        /// Its name.
        name: TenantId,
    },
    /// Serve a disabled tenant again.
    Enable {
        /// Its name.
        name: TenantId,
    },
}

/// A bound, or that there is none.
#[derive(Clone, Copy, Debug)]
struct Bound(Option<u64>);

#[derive(Debug, Args)]
struct SettingArguments {
    /// How long records are kept, such as 30d; 0s for ever.
    #[arg(long, value_parser = parse_age)]
    max_age: Option<Bound>,
    /// How many bytes of records are kept, such as 50GB; the oldest go first.
    #[arg(long, value_parser = parse_size)]
    max_bytes: Option<Bound>,
    /// Bytes of ingest bodies a second, such as 10MB.
    #[arg(long, value_parser = parse_size)]
    ingest_bytes_per_second: Option<Bound>,
    /// Records a second.
    #[arg(long, value_parser = parse_count)]
    ingest_records_per_second: Option<Bound>,
    /// Bytes of segments, such as 100GB; beyond it writers are refused.
    #[arg(long, value_parser = parse_size)]
    stored_bytes: Option<Bound>,
    /// Columns; further attributes share the overflow column.
    #[arg(long, value_parser = parse_count)]
    columns: Option<Bound>,
    /// Queries that run at once.
    #[arg(long, value_parser = parse_count)]
    concurrent_queries: Option<Bound>,
}

fn bound(text: &str, parse: impl FnOnce(&str) -> Result<u64, String>) -> Result<Bound, String> {
    match text {
        "none" => Ok(Bound(None)),
        text => parse(text).map(|value| Bound(Some(value))),
    }
}

fn parse_age(text: &str) -> Result<Bound, String> {
    let milliseconds = |age: Duration| {
        u64::try_from(age.as_millis()).map_err(|_too_long| format!("{text:?} is too long"))
    };
    bound(text, |text| parse_duration(text).and_then(milliseconds))
}

fn parse_size(text: &str) -> Result<Bound, String> {
    bound(text, parse_bytes)
}

fn parse_count(text: &str) -> Result<Bound, String> {
    bound(text, |text| {
        text.parse()
            .map_err(|_not_a_number| format!("{text:?} is neither a number nor none"))
    })
}

impl SettingArguments {
    /// The merge patch that they mean.
    fn patch(&self) -> Value {
        let object = |members: &[(&str, Option<Bound>)]| -> Value {
            let named = members
                .iter()
                .filter_map(|(name, bound)| Some(((*name).to_owned(), json!((*bound)?.0))));
            Value::Object(named.collect())
        };
        json!({
            "retention": object(&[("max_age_ms", self.max_age), ("max_bytes", self.max_bytes)]),
            "quotas": object(&[
                ("ingest_bytes_per_second", self.ingest_bytes_per_second),
                ("ingest_records_per_second", self.ingest_records_per_second),
                ("stored_bytes", self.stored_bytes),
                ("columns", self.columns),
                ("concurrent_queries", self.concurrent_queries),
            ]),
        })
    }
}

impl TenantArguments {
    /// Carries the command out.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let makes = matches!(self.action, Action::Create { .. });
        let place = self.place.open(makes).await?;
        let mut out = std::io::stdout().lock();
        let (answer, as_json) = match &self.action {
            Action::Create { name, settings } => {
                (create(&place, name, &settings.patch()).await?, true)
            }
            Action::List { json } => (list(&place).await?, *json),
            Action::Set { name, settings } => (change(&place, name, settings.patch()).await?, true),
            Action::Disable { name } => {
                (change(&place, name, json!({"disabled": true})).await?, true)
            }
            Action::Enable { name } => {
                let patch = json!({"disabled": false});
                (change(&place, name, patch).await?, true)
            }
        };
        if as_json {
            writeln!(out, "{answer:#}")?;
        } else {
            out.write_all(table(&answer).as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn create(place: &Place, name: &TenantId, patch: &Value) -> anyhow::Result<Value> {
    let settings = TenantSettings::default().patched(patch);
    let settings = settings.map_err(anyhow::Error::msg)?;
    match place {
        Place::Server(server) => {
            let mut body = json!(settings);
            body["name"] = json!(name.as_str());
            server.post("/admin/tenants", &body).await
        }
        Place::Catalog(catalog) => {
            let mut row = TenantRow::new(name.clone(), catalog.now_ns);
            settings.apply(&mut row, catalog.now_ns);
            catalog.access.create_tenant(&row).await?;
            catalog
                .note("tenant.create", Some(name), name.as_str(), json!(settings))
                .await?;
            Ok(json!(TenantStatus::from(&row)))
        }
    }
}

async fn list(place: &Place) -> anyhow::Result<Value> {
    match place {
        Place::Server(server) => server.get("/admin/tenants").await,
        Place::Catalog(catalog) => {
            let rows = catalog.access.list_tenants().await?;
            let tenants: Vec<TenantStatus> = rows.iter().map(TenantStatus::from).collect();
            Ok(json!({ "tenants": tenants }))
        }
    }
}

async fn change(place: &Place, name: &TenantId, patch: Value) -> anyhow::Result<Value> {
    match place {
        Place::Server(server) => {
            server
                .patch(&format!("/admin/tenants/{name}"), &patch)
                .await
        }
        Place::Catalog(catalog) => {
            let row = catalog.access.tenant(name).await?;
            let mut row = row.with_context(|| format!("there is no tenant {name}"))?;
            let settings = TenantSettings::of(&row).patched(&patch);
            let settings = settings.map_err(anyhow::Error::msg)?;
            settings.apply(&mut row, catalog.now_ns);
            catalog.access.update_tenant(&row).await?;
            catalog
                .note("tenant.change", Some(name), name.as_str(), patch)
                .await?;
            Ok(json!(TenantStatus::from(&row)))
        }
    }
}

/// A tenant a line.
fn table(answer: &Value) -> String {
    let mut lines = String::new();
    for tenant in answer["tenants"].as_array().into_iter().flatten() {
        let name = tenant["name"].as_str().unwrap_or_default();
        let disabled = tenant["disabled_at"].as_str();
        let state = disabled.map_or("enabled".to_owned(), |at| format!("disabled {at}"));
        lines += &format!(
            "{name}  {state}  retention {}  quotas {}\n",
            tenant["retention"], tenant["quotas"]
        );
    }
    lines
}

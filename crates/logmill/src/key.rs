//! `logmill key`: API keys.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use logmill_catalog::{KeyId, NewKey, Reach, Scope, issue_key};
use logmill_client::parse_duration;
use logmill_model::{Clock, SystemClock, TenantId, time};
use logmill_server::KeyStatus;
use serde_json::{Value, json};

use crate::direct::{Catalog, Place, PlaceArguments};

/// Make, list and revoke API keys: in the catalog of a data directory, or with an API key through its server.
#[derive(Debug, Args)]
pub(crate) struct KeyArguments {
    #[command(flatten)]
    place: PlaceArguments,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key, for the tenant of --tenant, or for all with `--tenant '*'`. It is shown this once.
    Create(CreateArguments),
    /// List the keys, without their secrets.
    List {
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key; all servers refuse it within five seconds.
    Revoke {
        /// The key's id: its part between `lmk_` and the secret.
        id: String,
    },
}

#[derive(Debug, Args)]
struct CreateArguments {
    /// What you call it.
    #[arg(long, default_value = "unnamed")]
    name: String,
    /// What it may do: ingest, query, admin; several with commas.
    #[arg(long, value_delimiter = ',', required_unless_present = "admin")]
    scope: Vec<Scope>,
    /// Short for `--tenant '*' --scope admin`.
    #[arg(long)]
    admin: bool,
    /// For how long it is good, such as 90d; for ever without it.
    #[arg(long, value_parser = parse_duration)]
    expires_in: Option<Duration>,
    /// Print key and particulars as JSON.
    #[arg(long)]
    json: bool,
}

impl KeyArguments {
    /// Carries the command out.
    pub(crate) async fn run(mut self) -> anyhow::Result<ExitCode> {
        let makes = matches!(self.action, Action::Create(_));
        let tenant = makes.then(|| self.place.take_tenant()).flatten();
        let place = self.place.open(makes).await?;
        let mut out = std::io::stdout().lock();
        match self.action {
            Action::Create(arguments) => {
                let as_json = arguments.json;
                let created = arguments.run(&place, tenant.as_deref()).await?;
                if as_json {
                    writeln!(out, "{created:#}")?;
                } else {
                    writeln!(out, "{}", created["key"].as_str().unwrap_or_default())?;
                }
            }
            Action::List { json } => {
                let keys = list(&place).await?;
                if json {
                    writeln!(out, "{keys:#}")?;
                } else {
                    out.write_all(table(&keys).as_bytes())?;
                }
            }
            Action::Revoke { id } => {
                revoke(&place, id).await?;
                writeln!(out, "revoked")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl CreateArguments {
    async fn run(self, place: &Place, tenant: Option<&str>) -> anyhow::Result<Value> {
        let mut scopes = self.scope;
        if self.admin {
            scopes.push(Scope::Admin);
        }
        let reach = match tenant {
            _ if self.admin => Reach::All,
            Some(tenant) => tenant.parse().context("--tenant")?,
            None => bail!("say for whom the key is: --tenant NAME, or --tenant '*' for all"),
        };
        let now_ns = SystemClock.now_ns();
        let expires_at_ns = self
            .expires_in
            .map(|time| {
                let ns = i64::try_from(time.as_nanos()).ok();
                ns.and_then(|ns| now_ns.checked_add(ns))
                    .context("--expires-in is too long")
            })
            .transpose()?;
        match place {
            Place::Server(server) => {
                let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
                let body = json!({
                    "name": self.name, "tenant": reach.to_string(), "scopes": scopes,
                    "expires_at": expires_at_ns.map(rfc3339),
                });
                server.post("/admin/keys", &body).await
            }
            Place::Catalog(catalog) => {
                let new = NewKey {
                    reach,
                    name: self.name,
                    scopes: scopes.into_iter().collect(),
                    expires_at_ns,
                };
                let (key, row) = issue_key(catalog.access.as_ref(), new, catalog.now_ns).await?;
                let status = json!(KeyStatus::from(&row));
                let about = about(&row.reach);
                catalog
                    .note("key.create", about, &row.id.0, status.clone())
                    .await?;
                let mut created = json!({ "key": key.reveal() });
                if let (Value::Object(created), Value::Object(status)) = (&mut created, status) {
                    created.extend(status);
                }
                Ok(created)
            }
        }
    }
}

async fn list(place: &Place) -> anyhow::Result<Value> {
    match place {
        Place::Server(server) => server.get("/admin/keys").await,
        Place::Catalog(Catalog { access, .. }) => {
            let rows = access.list_keys(None).await?;
            let keys: Vec<KeyStatus> = rows.iter().map(KeyStatus::from).collect();
            Ok(json!({ "keys": keys }))
        }
    }
}

async fn revoke(place: &Place, id: String) -> anyhow::Result<()> {
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        bail!("{id:?} is no key's id: it is the part between lmk_ and the secret");
    }
    match place {
        Place::Server(server) => {
            server.delete(&format!("/admin/keys/{id}")).await?;
        }
        Place::Catalog(catalog) => {
            let id = KeyId(id);
            let row = catalog.access.key(&id).await?;
            let row = row.with_context(|| format!("there is no key {id}"))?;
            catalog.access.revoke_key(&id, catalog.now_ns).await?;
            let detail = json!({ "name": row.name });
            catalog
                .note("key.revoke", about(&row.reach), &id.0, detail)
                .await?;
        }
    }
    Ok(())
}

/// The tenant that a key is about, if it is one's.
const fn about(reach: &Reach) -> Option<&TenantId> {
    match reach {
        Reach::All => None,
        Reach::Tenant(tenant) => Some(tenant),
    }
}

fn rfc3339(t_ns: i64) -> String {
    let mut text = Vec::new();
    time::format_rfc3339(t_ns, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// A key a line.
fn table(keys: &Value) -> String {
    let mut lines = String::new();
    for key in keys["keys"].as_array().into_iter().flatten() {
        let text = |name: &str| key[name].as_str().unwrap_or("-").to_owned();
        let scopes = key["scopes"].as_array().into_iter().flatten();
        let scopes: Vec<&str> = scopes.filter_map(Value::as_str).collect();
        let state = if key["revoked_at"].is_string() {
            "revoked".to_owned()
        } else {
            format!("expires {}", text("expires_at"))
        };
        lines += &format!(
            "{}  {}  {}  last used {}  {}  {}\n",
            text("id"),
            text("tenant"),
            scopes.join(","),
            text("last_used_at"),
            state,
            text("name")
        );
    }
    lines
}

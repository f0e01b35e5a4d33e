//! Settings: flag > `LOGMILL_*` environment (and `.env`) > `logmill.toml` > default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use logmill_catalog::{LogTableOptions, PostgresOptions};
use logmill_model::TenantId;
use logmill_pg::PgOptions;
use logmill_query_api::{DeletePredicate, QueryLimits};
use logmill_queue::RedisOptions;
use logmill_server::{AuthMode, AuthOptions, ServerOptions};
use logmill_store::object_storage::ObjectStorageOptions;
use logmill_store::{FleetOptions, Role, StoreKind, StoreOptions};
use serde::{Deserialize, Serialize};

/// The file that is read when it exists and no other is named.
pub(crate) const DEFAULT_FILE: &str = "logmill.toml";

/// `LOGMILL_*` variables that are not settings of the server: the client's, and those of tests.
const NOT_SETTINGS: [&str; 11] = [
    "config",
    "url",
    "tenant",
    "api_key",
    "ca_certificate",
    "loghub",
    "bench_file",
    "corpus_gen",
    "crash_rounds",
    "test_python",
    "cache",
];

/// Everything that a server can be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where the data are.
    pub(crate) data_dir: PathBuf,
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Listen beyond loopback although nobody is asked for credentials.
    pub(crate) insecure_no_auth: bool,
    /// Logmill's own log.
    pub(crate) log: LogSettings,
    /// The HTTP surface.
    pub(crate) server: ServerOptions,
    /// The PostgreSQL protocol.
    pub(crate) pg: PgOptions,
    /// Who is asked for credentials, and which ones are good.
    pub(crate) auth: AuthOptions,
    /// The storage engine.
    pub(crate) store: StoreOptions,
    /// Where segments are.
    pub(crate) objects: ObjectStorageOptions,
    /// Bounds of queries.
    pub(crate) query: QueryLimits,
    /// What this process does, where several share the data.
    pub(crate) role: Role,
    /// Where the queue is that processes share: `redis://…` or `rediss://…`; also `REDIS_URL`. Empty for a process that
    /// has its data to itself.
    pub(crate) redis_url: String,
    /// The catalog that processes share: `postgres://…`; also `DATABASE_URL`. Empty for a process that has its data to
    /// itself.
    pub(crate) database_url: String,
    /// The queue that processes share.
    pub(crate) queue: RedisOptions,
    /// The connections to the catalog that processes share.
    pub(crate) catalog: PostgresOptions,
    /// How processes share the work.
    pub(crate) fleet: FleetOptions,
    /// The table that has the logs, where `store.kind` is `postgres`.
    pub(crate) table: LogTableOptions,
}

/// Logmill's own log, on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSettings {
    /// JSON or text.
    pub(crate) format: LogFormat,
    /// `info`, or directives such as `warn,logmill_store=debug`.
    pub(crate) filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("logmill-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 7280)),
            insecure_no_auth: false,
            log: LogSettings::default(),
            server: ServerOptions::default(),
            pg: PgOptions::default(),
            auth: AuthOptions::default(),
            store: StoreOptions::default(),
            objects: ObjectStorageOptions::default(),
            query: QueryLimits::default(),
            role: Role::default(),
            redis_url: String::new(),
            database_url: String::new(),
            queue: RedisOptions::default(),
            catalog: PostgresOptions::default(),
            fleet: FleetOptions::default(),
            table: LogTableOptions::default(),
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            filter: "info".to_owned(),
        }
    }
}

/// What was given as flags.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Flags {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_dir: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insecure_no_auth: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StoreFlags>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pg: Option<PgFlags>,
}

/// Flags of the PostgreSQL protocol.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PgFlags {
    pub(crate) listen: String,
}

/// Flags of the storage engine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StoreFlags {
    pub(crate) kind: StoreKind,
}

impl Settings {
    /// Reads all layers. `file` must exist; without it, [`DEFAULT_FILE`] is read where it exists. `log_format`
    /// is the flag's.
    pub(crate) fn load(
        file: Option<&Path>,
        flags: &Flags,
        log_format: Option<LogFormat>,
    ) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        match file {
            Some(path) if !path.is_file() => bail!("there is no file {}", path.display()),
            Some(path) => figment = figment.merge(Toml::file_exact(path)),
            None if Path::new(DEFAULT_FILE).is_file() => {
                figment = figment.merge(Toml::file_exact(DEFAULT_FILE));
            }
            None => {}
        }
        let mut settings: Self = figment
            .merge(Env::prefixed("LOGMILL_").ignore(&NOT_SETTINGS).split("__"))
            .merge(Serialized::defaults(flags))
            .extract()
            .context("reading the settings")?;
        settings.take_customary_variables();
        if let Some(format) = log_format {
            settings.log.format = format;
        }
        settings.check()?;
        Ok(settings)
    }

    /// `REDIS_URL` and `DATABASE_URL` are known to every platform; our own names win over them.
    fn take_customary_variables(&mut self) {
        let customary = [
            ("REDIS_URL", &mut self.redis_url),
            ("DATABASE_URL", &mut self.database_url),
        ];
        for (name, setting) in customary {
            if let (true, Ok(value)) = (setting.is_empty(), std::env::var(name)) {
                *setting = value;
            }
        }
    }

    /// Whether this process shares its data with others.
    pub(crate) fn is_fleet(&self) -> bool {
        !self.redis_url.is_empty()
    }

    /// Whether the logs are in a table of Postgres, and not in segments.
    pub(crate) fn is_table(&self) -> bool {
        self.store.kind == StoreKind::Postgres
    }

    /// Refuses a fleet that lacks a part.
    fn check_fleet(&self) -> anyhow::Result<()> {
        match (self.redis_url.is_empty(), self.database_url.is_empty()) {
            (false, true) => bail!(
                "REDIS_URL is set and DATABASE_URL is not: processes that share a queue need a catalog that they share; \
                 unset it for a process that has its data to itself"
            ),
            (true, true) if self.is_table() => bail!(
                "store.kind is postgres and DATABASE_URL is not set: it names the database of the logs"
            ),
            (true, false) if !self.is_table() => bail!(
                "DATABASE_URL is set and REDIS_URL is not: processes that share a catalog need a queue that they share; \
                 unset it for a process that has its data to itself"
            ),
            (true, _) if self.role != Role::All => bail!(
                "the role {} is for processes that share their data: set REDIS_URL and DATABASE_URL",
                self.role.as_str()
            ),
            (false, false) if self.objects.url.is_empty() && !self.is_table() => bail!(
                "processes that share their data need an object store that they share: set objects.url \
                 (LOGMILL_OBJECTS__URL) to s3://bucket/prefix, or to file:///folder on one machine"
            ),
            _ => Ok(()),
        }
    }

    /// Refuses to take questions, or passwords, over an open network without being told to.
    fn check_pg(&self) -> anyhow::Result<()> {
        let Some(address) = self.pg.address().map_err(anyhow::Error::msg)? else {
            return Ok(());
        };
        if address.ip().is_loopback() {
            return Ok(());
        }
        let asks = self.auth.mode == AuthMode::Required;
        if !asks && !self.insecure_no_auth {
            bail!(
                "pg.listen {address} is reachable from other machines and nobody would be asked for credentials: \
                 set auth.mode to required, listen on a loopback address, or accept that with --insecure-no-auth"
            );
        }
        if asks && self.server.tls_certificate.is_empty() && !self.pg.allow_plaintext {
            bail!(
                "pg.listen {address} is reachable from other machines and passwords would be sent as they are: \
                 set server.tls_certificate and server.tls_key, or accept that with pg.allow_plaintext"
            );
        }
        Ok(())
    }

    /// Refuses settings that contradict each other.
    fn check(&self) -> anyhow::Result<()> {
        let asks = self.auth.mode == AuthMode::Required;
        if !self.listen.ip().is_loopback() && !asks && !self.insecure_no_auth {
            bail!(
                "{} is reachable from other machines and nobody would be asked for credentials: \
                 set auth.mode to required, listen on a loopback address, or accept that with --insecure-no-auth",
                self.listen
            );
        }
        if let Err(problem) = self.auth.check() {
            bail!("{problem}");
        }
        self.check_fleet()?;
        self.check_pg()?;
        if self.store.flush_bytes > self.store.memtable_max_bytes {
            bail!(
                "store.flush_bytes ({}) is larger than store.memtable_max_bytes ({}): the memtable \
                 would fill before it is flushed",
                self.store.flush_bytes,
                self.store.memtable_max_bytes
            );
        }
        if self.query.max_concurrent == 0 {
            bail!("query.max_concurrent is 0: every query would wait for ever; it is 1 at least");
        }
        for (position, rule) in self.store.retention.rules.iter().enumerate() {
            let predicate = DeletePredicate {
                tenant: TenantId::default_tenant(),
                from_ns: i64::MIN,
                to_ns: 0,
                text: None,
                filters: Some(rule.filters.clone().into()),
            };
            if let Err(error) = predicate.to_json() {
                bail!("store.retention.rules, rule {}: {error}", position + 1);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../logmill.example.toml");
    const ENVIRONMENT: &str = include_str!("../../../.env.example");

    #[test]
    fn the_example_file_shows_every_default() {
        let shown: Settings = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(shown, Settings::default());
        let all = toml::Value::try_from(Settings::default()).unwrap();
        let written: toml::Value = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(written, all, "logmill.example.toml names every setting");
    }

    #[test]
    fn the_example_environment_names_settings_that_exist() {
        let all = toml::Value::try_from(Settings::default()).unwrap();
        let mut settings = 0;
        for line in ENVIRONMENT.lines() {
            let line = line.trim_start_matches("# ");
            let Some((name, _)) = line.split_once('=') else {
                continue;
            };
            let Some(name) = name.strip_prefix("LOGMILL_") else {
                continue;
            };
            let name = name.to_lowercase();
            if NOT_SETTINGS.contains(&name.as_str()) {
                continue;
            }
            let found = name
                .split("__")
                .try_fold(&all, |value, part| value.get(part));
            assert!(
                found.is_some(),
                "LOGMILL_{} of .env.example is no setting",
                name.to_uppercase()
            );
            settings += 1;
        }
        assert!(settings >= 5);
    }

    #[test]
    fn listening_beyond_loopback_takes_an_explicit_yes() {
        let open = Settings {
            listen: ([0, 0, 0, 0], 7280).into(),
            ..Settings::default()
        };
        let error = open.check().unwrap_err().to_string();
        assert!(error.contains("--insecure-no-auth"), "{error}");
        let mut asks = open.clone();
        asks.auth.mode = AuthMode::Required;
        asks.check().unwrap();
        Settings {
            insecure_no_auth: true,
            ..open
        }
        .check()
        .unwrap();
    }

    #[test]
    fn queries_have_at_least_one_place() {
        let mut settings = Settings::default();
        settings.query.max_concurrent = 0;
        let error = settings.check().unwrap_err().to_string();
        assert!(error.contains("query.max_concurrent"), "{error}");
        settings.query.max_concurrent = 1;
        settings.query.max_queued = 0;
        settings.check().unwrap();
    }

    #[test]
    fn passwords_are_not_taken_over_an_open_network() {
        let with = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            settings.pg.listen = "0.0.0.0:5432".to_owned();
            change(&mut settings);
            settings.check().map_err(|error| error.to_string())
        };
        let error = with(|_| {}).unwrap_err();
        assert!(error.contains("--insecure-no-auth"), "{error}");
        let error = with(|settings| settings.auth.mode = AuthMode::Required).unwrap_err();
        assert!(error.contains("pg.allow_plaintext"), "{error}");
        with(|settings| {
            settings.auth.mode = AuthMode::Required;
            settings.pg.allow_plaintext = true;
        })
        .unwrap();
        with(|settings| settings.pg.listen = "127.0.0.1:5432".to_owned()).unwrap();
        let error = with(|settings| settings.pg.listen = "nowhere".to_owned()).unwrap_err();
        assert!(error.contains("pg.listen"), "{error}");
    }
}

//! The start of a conversation: encryption, who it is, what the server is.

use std::net::IpAddr;

use logmill_model::TenantId;
use logmill_server::{Login, WriteTimeout};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};
use tokio::net::TcpStream;

use crate::cancel::Cancellable;
use crate::error::{PgError, Result};
use crate::frontend::{Message, Opening};
use crate::listener::Shared;
use crate::settings::{Settings, of_options};
use crate::wire::{Failure, Outcome, Wire};

/// Longest password message, as PostgreSQL has it.
const PASSWORD_MAX_BYTES: usize = 65_535;
/// Version 3.0 as the protocol writes it.
const PROTOCOL_VERSION: i32 = 3 << 16;
/// How clients call this protocol in ALPN.
const ALPN: &[u8] = b"postgresql";
/// Databases that are no tenant: the credential says whose records are meant.
const ANY_DATABASE: [&str; 2] = ["logmill", "default"];

/// A connection as it comes.
pub(crate) struct Arrival {
    pub(crate) address: IpAddr,
    /// Whether it is one of those that may stay.
    pub(crate) has_place: bool,
}

/// A connection whose client may ask.
pub(crate) struct Opened {
    pub(crate) wire: Wire,
    pub(crate) login: Login,
    pub(crate) settings: Settings,
    pub(crate) cancellable: Cancellable,
}

/// Leads the start of a conversation; none where there was nothing to talk about.
pub(crate) async fn open(
    stream: WriteTimeout<TcpStream>,
    arrival: &Arrival,
    shared: &Shared,
) -> Outcome<Option<Opened>> {
    let mut wire = Wire::new(Box::new(stream));
    let mut secured = false;
    let (minor, parameters) = loop {
        match wire.opening().await? {
            None => return Ok(None),
            Some(Opening::Tls) => match &shared.parts.tls {
                Some(tls) if !secured => {
                    wire.put(&PgWireBackendMessage::SslResponse(SslResponse::Accept))?;
                    wire.flush().await?;
                    let acceptor = tls.acceptor_of(ALPN);
                    wire = Wire::new(Box::new(acceptor.accept(wire.into_stream()?).await?));
                    secured = true;
                }
                _ => {
                    wire.put(&PgWireBackendMessage::SslResponse(SslResponse::Refuse))?;
                    wire.flush().await?;
                }
            },
            Some(Opening::Gss) => {
                wire.put(&PgWireBackendMessage::GssEncResponse(
                    GssEncResponse::Refuse,
                ))?;
                wire.flush().await?;
            }
            Some(Opening::Cancel { process_id, secret }) => {
                shared.cancels.cancel(process_id, secret);
                return Ok(None);
            }
            Some(Opening::Startup { minor, parameters }) => break (minor, parameters),
        }
    };
    match log_in(&mut wire, minor, &parameters, secured, arrival, shared).await {
        Ok((login, settings)) => {
            let cancellable = shared.cancels.enter();
            greet(&mut wire, &settings, &cancellable).await?;
            Ok(Some(Opened {
                wire,
                login,
                settings,
                cancellable,
            }))
        }
        Err(Failure::Told(error)) => {
            let told = error.into_fatal();
            tracing::debug!(
                code = told.code,
                error = told.message,
                "a connection is refused"
            );
            wire.put(&told.into_message())?;
            wire.close().await;
            Ok(None)
        }
        Err(gone) => Err(gone),
    }
}

async fn log_in(
    wire: &mut Wire,
    minor: u16,
    parameters: &[(String, String)],
    secured: bool,
    arrival: &Arrival,
    shared: &Shared,
) -> Outcome<(Login, Settings)> {
    let unknown = parameters.iter().map(|(name, _)| name);
    let unknown: Vec<_> = unknown
        .filter(|name| name.starts_with("_pq_."))
        .cloned()
        .collect();
    if minor > 0 || !unknown.is_empty() {
        let answer = NegotiateProtocolVersion::new(PROTOCOL_VERSION, unknown);
        wire.put(&PgWireBackendMessage::NegotiateProtocolVersion(answer))?;
    }
    let parts = &shared.parts;
    if let Some(refusal) = &parts.refusal {
        return Err(PgError::new("0A000", refusal).into());
    }
    if !arrival.has_place {
        let message = "as many connections are open as may: pg.connections_max";
        return Err(PgError::new("53300", message).into());
    }
    let asks = parts.auth.asks();
    if asks && !secured && !arrival.address.is_loopback() && !parts.options.allow_plaintext {
        let error = PgError::new("28000", "passwords are taken over secured connections only");
        return Err(error.hint("connect with sslmode=require").into());
    }
    let parameter = |name: &str| {
        let found = parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    let tenant = tenant_of(parameter("database").or(parameter("user")))?;
    let password = if asks {
        ask_password(wire).await?
    } else {
        String::new()
    };
    let login = Login::new(&password, arrival.address, tenant);
    parts.auth.admit(&login).await.map_err(PgError::from)?;
    Ok((login, settings_of(parameters)?))
}

async fn ask_password(wire: &mut Wire) -> Outcome<String> {
    let question = Authentication::CleartextPassword;
    wire.put(&PgWireBackendMessage::Authentication(question))?;
    wire.flush().await?;
    match wire.message(PASSWORD_MAX_BYTES).await? {
        Some(Message::Password(password)) => Ok(password),
        Some(_) => Err(PgError::protocol("a password was expected").into()),
        // Many clients leave here, ask for the password, and come again.
        None => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
    }
}

/// The tenant that a database names.
fn tenant_of(database: Option<&str>) -> Result<Option<TenantId>> {
    let Some(name) = database.filter(|name| !ANY_DATABASE.contains(name)) else {
        return Ok(None);
    };
    let tenant = name.parse();
    tenant.map(Some).map_err(|error| {
        let error = PgError::new("3D000", format!("database {name:?}: {error}"));
        error.hint("the database is a tenant; logmill is the one of the credential")
    })
}

fn settings_of(parameters: &[(String, String)]) -> Result<Settings> {
    let mut settings = Settings::default();
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in of_options(value) {
                    settings.set(&name, Some(&value))?;
                }
            }
            name if name.starts_with("_pq_.") => {}
            name => {
                settings.set(name, Some(value))?;
            }
        }
    }
    Ok(settings)
}

/// Says what the server is; the session then says that it is ready.
async fn greet(wire: &mut Wire, settings: &Settings, cancellable: &Cancellable) -> Outcome<()> {
    wire.put(&PgWireBackendMessage::Authentication(Authentication::Ok))?;
    for (name, value) in settings.reported() {
        let status = ParameterStatus::new(name.to_owned(), value.to_owned());
        wire.put(&PgWireBackendMessage::ParameterStatus(status))?;
    }
    let secret = SecretKey::I32(cancellable.secret);
    let key = BackendKeyData::new(cancellable.process_id, secret);
    wire.put(&PgWireBackendMessage::BackendKeyData(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_a_tenant() {
        assert_eq!(tenant_of(None).unwrap(), None);
        assert_eq!(tenant_of(Some("logmill")).unwrap(), None);
        let acme = tenant_of(Some("acme")).unwrap();
        assert_eq!(acme.unwrap().as_str(), "acme");
        assert_eq!(tenant_of(Some("no/tenant")).unwrap_err().code, "3D000");
    }
}

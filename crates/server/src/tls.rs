//! TLS: certificate and key from files, taken anew when they change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::ServerOptions;
use crate::serve::Error;

/// How often the files are looked at. Their bytes are compared, as times of files are coarse, and links are swapped.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What connections are secured with.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// The files as they were when they were looked at last, good or not.
    seen: Files,
}

#[derive(Debug, PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads the files that the options name; none where they name none.
    pub async fn open(options: &ServerOptions) -> Result<Option<Arc<Self>>, Error> {
        let (certificate, key) = (&options.tls_certificate, &options.tls_key);
        if certificate.is_empty() && key.is_empty() {
            return Ok(None);
        }
        if certificate.is_empty() || key.is_empty() {
            let message = "server.tls_certificate and server.tls_key come together";
            return Err(Error::Tls(message.to_owned()));
        }
        let (certificate, key) = (PathBuf::from(certificate), PathBuf::from(key));
        let seen = read(&certificate, &key).await.map_err(Error::Tls)?;
        let config = config(&seen).map_err(Error::Tls)?;
        Ok(Some(Arc::new(Self {
            certificate,
            key,
            current: Mutex::new(Current { config, seen }),
        })))
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.current.lock().config.clone().into()
    }

    /// For the next connection of another protocol than HTTP, as clients name it in ALPN.
    pub fn acceptor_of(&self, protocol: &[u8]) -> TlsAcceptor {
        let mut config = self.current.lock().config.as_ref().clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config).into()
    }

    /// Follows the files, for ever.
    pub(crate) async fn keep_up(&self) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            self.reload_if_changed().await;
        }
    }

    /// What cannot be used is logged once, and the old certificate stays.
    async fn reload_if_changed(&self) {
        let files = match read(&self.certificate, &self.key).await {
            Ok(files) => files,
            Err(error) => {
                // It is being replaced, perhaps; if it stays away, that is seen at the latest when it has expired.
                tracing::warn!(error, "the certificate cannot be read: the old one stays");
                return;
            }
        };
        if self.current.lock().seen == files {
            return;
        }
        let config = config(&files);
        let mut current = self.current.lock();
        match config {
            Ok(config) => {
                tracing::info!("a new certificate is used from now on");
                current.config = config;
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "the new certificate or key is not good: the old ones stay"
                );
            }
        }
        current.seen = files;
    }
}

async fn read(certificate: &PathBuf, key: &PathBuf) -> Result<Files, String> {
    let read = async |path: &PathBuf| {
        let bytes = tokio::fs::read(path).await;
        bytes.map_err(|error| format!("{}: {error}", path.display()))
    };
    Ok(Files {
        certificate: read(certificate).await?,
        key: read(key).await?,
    })
}

fn config(files: &Files) -> Result<Arc<ServerConfig>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&files.certificate).collect();
    let chain = chain.map_err(|error| format!("server.tls_certificate: {error}"))?;
    if chain.is_empty() {
        return Err("server.tls_certificate: there is no certificate in it".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(&files.key)
        .map_err(|error| format!("server.tls_key: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("server.tls_certificate and server.tls_key: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn used(tls: &Tls) -> *const ServerConfig {
        Arc::as_ptr(&tls.current.lock().config)
    }

    #[tokio::test]
    async fn files_are_followed_and_bad_ones_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let options = ServerOptions {
            tls_certificate: path("certificate.pem").display().to_string(),
            tls_key: path("key.pem").display().to_string(),
            ..ServerOptions::default()
        };
        let write = |certificate: &str, key: &str| {
            std::fs::write(path("certificate.pem"), certificate).unwrap();
            std::fs::write(path("key.pem"), key).unwrap();
        };
        assert!(Tls::open(&options).await.is_err(), "there are no files");
        let (one, other) = (pair("one.example"), pair("other.example"));
        for (certificate, key) in [(&*one.0, &*other.1), ("", &*one.1), (&*one.0, "nonsense")] {
            write(certificate, key);
            assert!(Tls::open(&options).await.is_err());
        }
        write(&one.0, &one.1);
        let tls = Tls::open(&options).await.unwrap().unwrap();
        let first = used(&tls);
        tls.reload_if_changed().await;
        assert_eq!(used(&tls), first);

        // Half of a change.
        write(&other.0, &one.1);
        tls.reload_if_changed().await;
        assert_eq!(used(&tls), first);
        std::fs::remove_file(path("key.pem")).unwrap();
        tls.reload_if_changed().await;
        assert_eq!(used(&tls), first);
        // The other half.
        write(&other.0, &other.1);
        tls.reload_if_changed().await;
        assert_ne!(used(&tls), first);
    }

    #[tokio::test]
    async fn certificate_and_key_come_together() {
        assert!(
            Tls::open(&ServerOptions::default())
                .await
                .unwrap()
                .is_none()
        );
        let options = ServerOptions {
            tls_certificate: "certificate.pem".to_owned(),
            ..ServerOptions::default()
        };
        let error = Tls::open(&options).await.unwrap_err().to_string();
        assert!(error.contains("server.tls_key"), "{error}");
    }
}

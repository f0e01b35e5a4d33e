//! TLS: a real client over a certificate of our own, and a certificate that changes under way.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::harness::{Data, command, text_of};

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority() -> Authority {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Another name than that of what it issues, which would look self-signed.
    let name = &mut parameters.distinguished_name;
    name.push(DnType::CommonName, "authority");
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a certificate for this machine, and its key.
pub(crate) fn issue(authority: &Authority, folder: &Path) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(names).unwrap();
    let certificate = parameters.signed_by(&key, authority).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
}

fn sql(url: &str, authority: Option<&Path>) -> Output {
    let folder = std::env::temp_dir();
    let mut command = command(&folder);
    command.args(["sql", "--url", url, "SELECT count(*) AS n FROM logs"]);
    if let Some(path) = authority {
        command.arg("--ca-certificate").arg(path);
    }
    command.output().unwrap()
}

#[test]
fn connections_are_secured_and_the_certificate_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (one, other) = (authority(), authority());
    std::fs::write(path("one.pem"), one.pem()).unwrap();
    std::fs::write(path("other.pem"), other.pem()).unwrap();
    issue(&one, folder.path());
    let data = Data::new()
        .setting("SERVER__TLS_CERTIFICATE", path("certificate.pem").display())
        .setting("SERVER__TLS_KEY", path("key.pem").display());
    let server = data.serve_tls();
    let url = server.url.replace("http://", "https://");

    let answer = sql(&url, Some(&path("one.pem")));
    assert!(answer.status.success(), "{}", text_of(&answer.stderr));
    assert!(text_of(&answer.stdout).contains("\"n\":0"), "{answer:?}");
    let lines = path("lines.ndjson");
    std::fs::write(&lines, "{\"message\":\"a\"}\n".repeat(1_000)).unwrap();
    let sent = command(folder.path())
        .args(["ingest", "--url", &url, "--ca-certificate", "one.pem"])
        .arg(&lines)
        .output()
        .unwrap();
    assert!(sent.status.success(), "{}", text_of(&sent.stderr));
    for stranger in [None, Some(path("other.pem"))] {
        let refused = sql(&url, stranger.as_deref());
        assert!(!refused.status.success(), "{stranger:?}: {refused:?}");
    }
    let plain = sql(&server.url, None);
    assert!(!plain.status.success(), "{plain:?}");

    // A bad certificate changes nothing; a good one is taken within moments.
    std::fs::write(path("certificate.pem"), "nonsense").unwrap();
    std::thread::sleep(Duration::from_millis(2_500));
    let answer = sql(&url, Some(&path("one.pem")));
    assert!(answer.status.success(), "{}", text_of(&answer.stderr));
    assert!(
        server.log().contains("the old ones stay"),
        "{}",
        server.log()
    );
    issue(&other, folder.path());
    let begun = Instant::now();
    loop {
        let answer = sql(&url, Some(&path("other.pem")));
        if answer.status.success() {
            assert!(text_of(&answer.stdout).contains("\"n\":1000"), "{answer:?}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{answer:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(!sql(&url, Some(&path("one.pem"))).status.success());

    // A client that says nothing does not keep the server from stopping.
    let address = server.url.trim_start_matches("http://").to_owned();
    let _silent = std::net::TcpStream::connect(address).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_certificate_that_is_not_good_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("certificate.pem"), "nonsense").unwrap();
    std::fs::write(path("key.pem"), "nonsense").unwrap();
    let output = command(folder.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"])
        .env("LOGMILL_SERVER__TLS_CERTIFICATE", path("certificate.pem"))
        .env("LOGMILL_SERVER__TLS_KEY", path("key.pem"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = text_of(&output.stderr);
    assert!(error.contains("server.tls_certificate"), "{error}");
}

//! A server of S3 (moto's) as a process.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::signal;

/// How long Python may take to start on a busy machine.
const START: Duration = Duration::from_secs(120);
/// How to get what is missing.
const ADVICE: &str = "run the tests by `make test`, which installs it, or name a Python with \
                      `moto[server]==5.2.5` in LOGMILL_TEST_PYTHON";

/// A server of S3 on a free port. Dropped, it is killed.
#[derive(Debug)]
pub struct S3Server {
    child: Child,
    port: u16,
    _log: tempfile::TempDir,
}

impl S3Server {
    /// A server that takes any credentials, with a bucket.
    pub fn start(bucket: &str) -> Self {
        let server = Self::start_with(&[]);
        let answer = server.ask("PUT", &format!("/{bucket}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        server
    }

    /// A server without a bucket, and with these variables in its environment.
    pub fn start_with(environment: &[(&str, &str)]) -> Self {
        let python = python();
        // Another process may take the free port before the server does.
        for _ in 0..3 {
            if let Some(server) = Self::try_start(&python, environment) {
                return server;
            }
        }
        panic!("the server of S3 finds no free port");
    }

    fn try_start(python: &PathBuf, environment: &[(&str, &str)]) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let child = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p"])
            .arg(port.to_string())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; {ADVICE}", python.display()));
        let mut server = Self {
            child,
            port,
            _log: folder,
        };
        let begun = Instant::now();
        while begun.elapsed() < START {
            if server.try_ask("GET", "/moto-api/").is_ok() {
                return Some(server);
            }
            if server.child.try_wait().unwrap().is_some() {
                let said = std::fs::read_to_string(&log).unwrap();
                if said.contains("ddress already in use") || said.contains("in use by another") {
                    return None;
                }
                panic!("moto does not start: {said}\n{ADVICE}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("moto does not answer within {START:?}");
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends the process; nothing answers at its address any more.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it with SIGSTOP: its connections stay open and nothing answers.
    pub fn pause(&self) {
        signal(&self.child, Signal::STOP);
    }

    /// Lets it go on after [`S3Server::pause`].
    pub fn resume(&self) {
        signal(&self.child, Signal::CONT);
    }

    /// A request's whole answer.
    pub fn ask(&self, method: &str, path: &str) -> String {
        self.try_ask(method, path).unwrap()
    }

    fn try_ask(&self, method: &str, path: &str) -> std::io::Result<String> {
        let mut connection = TcpStream::connect(self.address())?;
        let address = self.address();
        write!(
            connection,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The Python that `scripts/test.sh` prepared.
fn python() -> PathBuf {
    let named = std::env::var_os("LOGMILL_TEST_PYTHON").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let python = named.or_else(|| home.map(|home| home.join(".cache/logmill/venv/bin/python")));
    let python = python.expect("HOME is set");
    assert!(python.exists(), "{} is missing: {ADVICE}", python.display());
    python
}

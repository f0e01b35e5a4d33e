//! A server process on a free port over a temporary data directory, and a small HTTP client.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a server may take to start, and a request to be answered. Far beyond what is normal: a loaded
/// machine must not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_logmill");

/// A folder that holds one server's data.
pub(crate) struct Data {
    folder: TempDir,
    settings: Vec<(String, String)>,
}

/// A running server. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    agent: ureq::Agent,
    log: Arc<Mutex<Vec<String>>>,
}

/// A response whose body was read whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Data {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            settings: Vec::new(),
        }
    }

    /// A setting for every server on this folder, such as `STORE__FLUSH_BYTES`.
    pub(crate) fn setting(mut self, name: &str, value: impl ToString) -> Self {
        self.settings
            .push((format!("LOGMILL_{name}"), value.to_string()));
        self
    }

    /// A variable of the environment of every server and command on this folder.
    pub(crate) fn variable(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts a server and waits until it is ready.
    pub(crate) fn serve(&self) -> Server {
        self.try_serve()
            .unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Starts a server; its log when it does not become ready.
    pub(crate) fn try_serve(&self) -> Result<Server, String> {
        let server = self.start()?;
        server.becomes_ready();
        Ok(server)
    }

    /// Starts a server that speaks TLS, and waits until it listens; the client of this harness does not speak it.
    pub(crate) fn serve_tls(&self) -> Server {
        self.start()
            .unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    fn start(&self) -> Result<Server, String> {
        let mut command = Command::new(BINARY);
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--data-dir",
            ])
            .arg(self.path())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (log, address) = read_log(&mut child);
        match address.recv_timeout(PATIENCE) {
            Ok(address) => {
                let url = format!("http://{address}");
                Ok(Server {
                    child,
                    url,
                    agent: agent(),
                    log,
                })
            }
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(log.lock().unwrap().join("\n"))
            }
        }
    }

    /// Runs a command of the binary in the folder, with nothing of the caller's environment that matters.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        command(self.folder.path())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .args(arguments)
            .output()
            .unwrap()
    }
}

/// The binary in a folder, its settings cleared.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("LOGMILL_URL")
        .env_remove("LOGMILL_API_KEY")
        .env_remove("DATABASE_URL");
    command.env_remove("NO_COLOR");
    command
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build();
    config.into()
}

type Lines = Arc<Mutex<Vec<String>>>;

/// Collects the child's log, and sends the address once it listens.
fn read_log(child: &mut Child) -> (Lines, mpsc::Receiver<String>) {
    let stderr = child.stderr.take().unwrap();
    let log: Lines = Arc::default();
    let lines = log.clone();
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let parsed: Option<Value> = serde_json::from_str(&line).ok();
            if let Some(event) = parsed
                && event["message"] == "listening"
                && let Some(address) = event["address"].as_str()
            {
                let _ = send.send(address.to_owned());
            }
            lines.lock().unwrap().push(line);
        }
    });
    (log, receive)
}

impl Server {
    pub(crate) fn get(&self, path: &str) -> Response {
        self.try_get(path).unwrap()
    }

    pub(crate) fn try_get(&self, path: &str) -> Result<Response, ureq::Error> {
        read(self.agent.get(format!("{}{path}", self.url)).call()?)
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.call().unwrap()).unwrap()
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.try_post(path, headers, body).unwrap()
    }

    pub(crate) fn try_post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, ureq::Error> {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.send(body)?)
    }

    /// A request of any method; none but POST, PUT and PATCH has a body.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let url = format!("{}{path}", self.url);
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = if matches!(method, "POST" | "PUT" | "PATCH") {
            self.agent.run(request.body(body).unwrap())
        } else {
            self.agent.run(request.body(()).unwrap())
        };
        read(answer.unwrap()).unwrap()
    }

    /// Ingests records and asserts that all were taken.
    pub(crate) fn ingest(&self, records: &[Value]) {
        let answer = self.ingest_ndjson(&ndjson(records), &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["accepted"], records.len());
    }

    pub(crate) fn ingest_ndjson(&self, body: &[u8], headers: &[(&str, &str)]) -> Response {
        let mut all = vec![("content-type", "application/x-ndjson")];
        all.extend_from_slice(headers);
        self.post("/ingest", &all, body)
    }

    pub(crate) fn ingest_text(&self, query: &str, body: &str) -> Response {
        self.post(
            &format!("/ingest?{query}"),
            &[("content-type", "text/plain")],
            body.as_bytes(),
        )
    }

    /// A `/query` that must succeed.
    pub(crate) fn query(&self, body: Value) -> Value {
        let answer = self.try_query(&body);
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        answer.json()
    }

    pub(crate) fn try_query(&self, body: &Value) -> Response {
        self.post_json("/query", body)
    }

    pub(crate) fn post_json(&self, path: &str, body: &Value) -> Response {
        self.post(
            path,
            &[("content-type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    /// The rows of a `/sql` that must succeed.
    pub(crate) fn sql(&self, query: &str) -> Vec<Vec<Value>> {
        let answer = self.try_sql(query);
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        serde_json::from_value(answer.json()["rows"].clone()).unwrap()
    }

    pub(crate) fn try_sql(&self, query: &str) -> Response {
        self.post_json("/sql", &json!({ "query": query }))
    }

    pub(crate) fn count(&self) -> u64 {
        self.sql("SELECT count(*) FROM logs")[0][0]
            .as_u64()
            .unwrap()
    }

    /// The value of an unlabelled sample, or the sum over the labels of a family.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        text.lines()
            .filter(|line| line.split([' ', '{']).next() == Some(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// A `/sql` that may fail.
    pub(crate) fn try_sql_raw(&self, body: &Value) -> Result<Response, ureq::Error> {
        let headers = [("content-type", "application/json")];
        self.try_post("/sql", &headers, body.to_string().as_bytes())
    }

    /// Waits until a metric has a value.
    pub(crate) fn becomes(&self, metric: &str, expected: f64) {
        let begun = Instant::now();
        while self.metric(metric) != expected {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{metric} is not {expected}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A process among many catches up first.
    fn becomes_ready(&self) {
        let begun = Instant::now();
        loop {
            let answer = self.get("/health/ready");
            if answer.status == 200 {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "not ready: {answer:?}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn flush(&self) {
        assert_eq!(self.post("/admin/flush", &[], b"").status, 200);
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and what the process says in the end.
    pub(crate) fn stop(self) -> (ExitStatus, String) {
        terminate(self.child.id());
        self.wait()
    }

    /// Waits for a process that was told to stop.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.log());
            }
            assert!(
                Instant::now() < deadline,
                "the server does not stop:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn terminate(process_id: u32) {
    signal(process_id, "-TERM");
}

/// A request over a connection of its own, for servers that may be gone or stand still.
pub(crate) fn post_once(
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    patience: Duration,
) -> Result<Response, ureq::Error> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(patience))
        .build();
    let agent: ureq::Agent = config.into();
    let mut request = agent.post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read(request.send(body)?)
}

pub(crate) fn signal(process_id: u32, signal: &str) {
    let status = Command::new("kill")
        .args([signal, &process_id.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Response, ureq::Error> {
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                value.to_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    let body = response
        .body_mut()
        .with_config()
        .limit(1 << 30)
        .read_to_vec()?;
    Ok(Response {
        status: response.status().as_u16(),
        headers,
        body,
    })
}

impl Response {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Asserts the house's error shape and returns the message.
    pub(crate) fn error(&self, status: u16, code: &str) -> String {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        assert!(
            error["request_id"]
                .as_str()
                .is_some_and(|id| !id.is_empty()),
            "{error}"
        );
        error["message"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn ndjson(records: &[Value]) -> Vec<u8> {
    let mut body = Vec::new();
    for record in records {
        body.extend_from_slice(record.to_string().as_bytes());
        body.push(b'\n');
    }
    body
}

pub(crate) fn text_of(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

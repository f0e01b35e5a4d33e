//! Many processes: two that take records in, two workers, one that answers, around Redis, Postgres and a shared folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use logmill_test_services::{PostgresServer, RedisServer, RedisServerOptions, S3Server};
use rand::Rng;
use serde_json::{Value, json};

use crate::harness::{Data, Response, Server, ndjson};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Records of a batch.
const BATCH: u64 = 50;
const DAY: &str = "2026-11-20";

/// What the processes share.
pub(crate) struct Shared {
    pub(crate) redis: RedisServer,
    pub(crate) postgres: PostgresServer,
    database: String,
    folder: tempfile::TempDir,
    s3: Option<S3Server>,
}

/// A process and its folder.
pub(crate) struct Process {
    data: Data,
    server: Mutex<Option<Server>>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self::with(RedisServerOptions::default(), None)
    }

    fn with(redis: RedisServerOptions, s3: Option<S3Server>) -> Self {
        let postgres = PostgresServer::start();
        Self {
            redis: RedisServer::start(redis),
            database: postgres.database(),
            postgres,
            folder: tempfile::tempdir().unwrap(),
            s3,
        }
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.path().join("objects")
    }

    pub(crate) fn data(&self, role: &str) -> Data {
        let data = match &self.s3 {
            None => Data::new().setting(
                "OBJECTS__URL",
                format!("file://{}", self.objects().display()),
            ),
            Some(s3) => Data::new()
                .setting("OBJECTS__URL", "s3://logs/fleet")
                .setting("OBJECTS__ENDPOINT", format!("http://{}", s3.address()))
                .setting("OBJECTS__REGION", "eu-west-1")
                .setting("OBJECTS__PATH_STYLE", "true")
                .setting("OBJECTS__ALLOW_HTTP", "true")
                .setting("OBJECTS__REQUEST_TIMEOUT_MS", 2_000)
                .variable("AWS_ACCESS_KEY_ID", "somebody")
                .variable("AWS_SECRET_ACCESS_KEY", "a-secret"),
        };
        data.setting("ROLE", role)
            .setting(
                "OBJECTS__URL",
                format!("file://{}", self.objects().display()),
            )
            .setting("FLEET__PARTITIONS", 4)
            .setting("STORE__FLUSH_INTERVAL_MS", 1_000)
            .variable("REDIS_URL", self.redis.url())
            .variable("DATABASE_URL", &self.database)
    }

    pub(crate) fn start(&self, role: &str) -> Process {
        let data = self.data(role);
        let server = Mutex::new(Some(data.serve()));
        Process { data, server }
    }
}

impl Process {
    /// Does something with the running process.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&Server) -> T) -> T {
        act(self.server.lock().unwrap().as_ref().unwrap())
    }

    pub(crate) fn url(&self) -> String {
        self.with(|server| server.url.clone())
    }

    /// SIGKILL, and another one in its place (at another address).
    pub(crate) fn kill_and_restart(&self) {
        let mut server = self.server.lock().unwrap();
        server.take().unwrap().kill();
        *server = Some(self.data.serve());
    }

    pub(crate) fn kill(&self) {
        self.server.lock().unwrap().take().unwrap().kill();
    }

    pub(crate) fn signal(&self, signal: &str) {
        self.with(|server| crate::harness::signal(server.process_id(), signal));
    }
}

fn until(what: &str, mut is_true: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

/// Sends without a connection pool that outlives a process, and with a short patience.
fn send(url: &str, key: &str, body: &[u8]) -> Option<Response> {
    let headers = [
        ("content-type", "application/x-ndjson"),
        ("idempotency-key", key),
    ];
    crate::harness::post_once(
        &format!("{url}/ingest"),
        &headers,
        body,
        Duration::from_secs(20),
    )
    .ok()
}

fn batch(number: u64) -> Vec<u8> {
    let records: Vec<Value> = (0..BATCH)
        .map(|n| {
            json!({
                "timestamp": format!("{DAY}T00:00:00Z"),
                "message": format!("record {}", number * BATCH + n),
                "n": number * BATCH + n,
            })
        })
        .collect();
    ndjson(&records)
}

/// How often each number is found.
fn counts(query: &Process) -> Option<BTreeMap<u64, u64>> {
    let sql = json!({"query": "SELECT n, count(*) FROM logs GROUP BY n"});
    let answer = query.with(|server| server.try_sql_raw(&sql)).ok()?;
    if answer.status != 200 {
        return None;
    }
    let rows = answer.json()["rows"].as_array().unwrap().clone();
    Some(
        rows.iter()
            .map(|row| (row[0].as_u64().unwrap(), row[1].as_u64().unwrap()))
            .collect(),
    )
}

/// Two of each, writers that never give a batch up, and a fault in the middle. In the end every acknowledged record is
/// found once, and nothing else.
fn survives(shared: Shared, fault: impl FnOnce(&mut Shared, &[Process], &[Process], &Process)) {
    let mut shared = shared;
    let apis = [shared.start("api"), shared.start("api")];
    let workers = [shared.start("worker"), shared.start("worker")];
    let query = shared.start("query");
    let (done, next) = (AtomicBool::new(false), AtomicU64::new(0));
    let (sent, acknowledged) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let body = batch(number);
                    sent.lock().unwrap().insert(number);
                    let mut tries = number;
                    let begun = Instant::now();
                    loop {
                        assert!(begun.elapsed() < PATIENCE, "batch {number} is never taken");
                        let api = &apis[(tries % 2) as usize];
                        tries += 1;
                        let url = api
                            .server
                            .lock()
                            .unwrap()
                            .as_ref()
                            .map(|server| server.url.clone());
                        let answer =
                            url.and_then(|url| send(&url, &format!("batch-{number}"), &body));
                        match answer {
                            Some(answer) if answer.status == 200 => break,
                            Some(answer) => {
                                assert!(matches!(answer.status, 429 | 503), "{answer:?}")
                            }
                            None => {}
                        }
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    acknowledged.lock().unwrap().insert(number);
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
        }
        until("records before the fault", || {
            acknowledged.lock().unwrap().len() > 20
        });
        let before = acknowledged.lock().unwrap().len();
        let struck = Instant::now();
        fault(&mut shared, &apis, &workers, &query);
        until("records after the fault", || {
            acknowledged.lock().unwrap().len() > before + 20
        });
        let newest = *acknowledged.lock().unwrap().last().unwrap() * BATCH;
        until("records after the fault are found", || {
            counts(&query).is_some_and(|counts| counts.contains_key(&newest))
        });
        println!("recovered after {:?}", struck.elapsed());
        done.store(true, Ordering::Release);
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    let wanted: BTreeSet<u64> = acknowledged
        .iter()
        .flat_map(|number| number * BATCH..(number + 1) * BATCH)
        .collect();
    until("every acknowledged record is found", || {
        counts(&query).is_some_and(|counts| wanted.iter().all(|n| counts.contains_key(n)))
    });
    let found = counts(&query).unwrap();
    assert!(
        found.values().all(|count| *count == 1),
        "some records are there twice"
    );
    let sent = sent.into_inner().unwrap();
    assert!(
        found.keys().all(|n| sent.contains(&(n / BATCH))),
        "found ⊆ sent"
    );
    // And when all of it is in segments.
    until("a flush", || {
        apis[0].with(|server| server.post("/admin/flush", &[], b"").status) == 200
    });
    until("nothing but segments", || {
        query.with(|s| s.metric("logmill_memtable_rows")) < 1.0
    });
    assert_eq!(counts(&query).unwrap(), found);
}

fn all<'a>(processes: impl IntoIterator<Item = &'a Process>, signal: &str) {
    for process in processes {
        process.signal(signal);
    }
}

/// Longer than a lease lasts: somebody else has taken over when it wakes.
const PAUSE: Duration = Duration::from_secs(10);

#[test]
fn a_worker_is_killed() {
    survives(Shared::new(), |_, _, workers, _| {
        workers[0].kill();
        until("the other has all partitions", || {
            workers[1].with(leads) == 4
        });
    });
}

fn leads(server: &Server) -> usize {
    let ready = server.get("/health/ready").json();
    ready["queue"]["led"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_worker_stands_still_and_wakes() {
    survives(Shared::new(), |_, _, workers, _| {
        workers[0].signal("-STOP");
        let taken = until("the other has all partitions", || {
            workers[1].with(leads) == 4
        });
        println!("taken over after {taken:?}");
        assert!(taken < Duration::from_secs(30), "{taken:?}");
        std::thread::sleep(PAUSE.saturating_sub(taken));
        workers[0].signal("-CONT");
        until("each has its share", || {
            workers.iter().all(|worker| worker.with(leads) == 2)
        });
    });
}

#[test]
fn an_api_process_is_killed() {
    survives(Shared::new(), |_, apis, _, _| apis[0].kill_and_restart());
}

#[test]
fn a_query_process_is_killed() {
    survives(Shared::new(), |_, _, _, query| query.kill_and_restart());
}

#[test]
fn redis_is_killed() {
    survives(Shared::new(), |shared, _, _, _| {
        shared.redis.kill();
        std::thread::sleep(Duration::from_secs(1));
        shared.redis.restart();
    });
}

#[test]
fn redis_stands_still() {
    survives(Shared::new(), |shared, _, _, _| {
        shared.redis.pause();
        std::thread::sleep(PAUSE);
        shared.redis.resume();
    });
}

#[test]
fn postgres_is_killed() {
    survives(Shared::new(), |shared, _, _, _| {
        shared.postgres.kill();
        std::thread::sleep(Duration::from_secs(2));
        shared.postgres.restart();
    });
}

#[test]
fn postgres_stands_still() {
    survives(Shared::new(), |shared, _, _, _| {
        shared.postgres.pause();
        std::thread::sleep(PAUSE);
        shared.postgres.resume();
    });
}

#[test]
fn s3_stands_still() {
    let shared = Shared::with(RedisServerOptions::default(), Some(S3Server::start("logs")));
    survives(shared, |shared, _, _, _| {
        let s3 = shared.s3.as_ref().unwrap();
        s3.pause();
        std::thread::sleep(PAUSE);
        s3.resume();
    });
}

/// The workers stand still and Redis fills: writers are told to wait before Redis refuses, and nothing is lost.
#[test]
fn redis_is_full() {
    let small = RedisServerOptions {
        memory_max_bytes: 48 << 20,
        ..RedisServerOptions::default()
    };
    survives(Shared::with(small, None), |_, apis, workers, _| {
        all(workers, "-STOP");
        let mut random = rand::rng();
        let mut refused = None;
        for number in 0..2_000 {
            let noise: Vec<Value> = (0..100)
                .map(|_| {
                    let noise: [u8; 1024] =
                        std::array::from_fn(|_| random.random_range(b'a'..b'z'));
                    json!({"message": String::from_utf8_lossy(&noise)})
                })
                .collect();
            let headers = [
                ("content-type", "application/x-ndjson"),
                ("x-tenant-id", "filler"),
            ];
            let url = format!("{}/ingest", apis[number % 2].url());
            let patience = Duration::from_secs(20);
            let answer =
                crate::harness::post_once(&url, &headers, &ndjson(&noise), patience).unwrap();
            if answer.status != 200 {
                refused = Some(answer);
                break;
            }
        }
        let refused = refused.expect("Redis is never full");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        let message = refused.error(429, "overloaded");
        assert!(message.contains("memory"), "{message}");
        all(workers, "-CONT");
    });
}

#[test]
fn everything_stands_still_at_once() {
    survives(Shared::new(), |_, apis, workers, query| {
        let processes = || apis.iter().chain(workers).chain([query]);
        all(processes(), "-STOP");
        std::thread::sleep(PAUSE);
        all(processes(), "-CONT");
    });
}

#[test]
fn roles_say_what_they_do_not_do() {
    let shared = Shared::new();
    let (api, worker, query) = (
        shared.start("api"),
        shared.start("worker"),
        shared.start("query"),
    );
    let refused = query.with(|server| server.ingest_ndjson(&batch(0), &[]));
    let message = refused.error(421, "wrong_role");
    assert!(
        message.contains("role query") && message.contains("api and all"),
        "{message}"
    );
    api.with(|server| server.try_sql("SELECT 1"))
        .error(421, "wrong_role");
    api.with(|server| server.post("/admin/compact", &[], b""))
        .error(421, "wrong_role");
    api.with(|server| server.ingest(&[json!({"message": "one", "n": 1})]));
    let seen = until("it is found", || counts(&query).unwrap().len() == 1);
    assert!(seen < Duration::from_secs(2), "{seen:?}");

    let ready = worker.with(|server| server.get("/health/ready").json());
    assert_eq!(ready["role"], "worker");
    assert_eq!(ready["queue"]["durability"], "always");
    until("it leads all", || worker.with(leads) == 4);
    let processes = api.with(|server| server.get("/admin/processes").json());
    let roles: BTreeSet<_> = processes["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|process| process["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, BTreeSet::from(["api", "query", "worker"]));
    assert_eq!(processes["partitions"].as_array().unwrap().len(), 4);
    let jobs = || {
        api.with(|server| server.get("/admin/jobs").json())["jobs"]
            .as_array()
            .unwrap()
            .len()
    };
    until("jobs were run", || jobs() >= 3);
    assert_eq!(worker.url().is_empty(), false);
}

#[test]
fn a_fleet_that_lacks_a_part_is_refused_with_the_reason() {
    let shared = Shared::new();
    let log = |data: Data| data.try_serve().err().unwrap();
    let without = log(Data::new().variable("REDIS_URL", shared.redis.url()));
    assert!(without.contains("DATABASE_URL is not"), "{without}");
    let without = log(Data::new().setting("ROLE", "worker"));
    assert!(
        without.contains("set REDIS_URL and DATABASE_URL"),
        "{without}"
    );
    let without = log(shared.data("all").setting("OBJECTS__URL", ""));
    assert!(without.contains("objects.url"), "{without}");
    let first = shared.start("all");
    let other = tempfile::tempdir().unwrap();
    first.with(|server| server.ingest(&[json!({"message": "one"})]));
    first.with(Server::flush);
    let elsewhere = shared
        .data("all")
        .setting("OBJECTS__URL", format!("file://{}", other.path().display()));
    let elsewhere = log(elsewhere);
    assert!(
        elsewhere.contains("not that of the other processes"),
        "{elsewhere}"
    );
}

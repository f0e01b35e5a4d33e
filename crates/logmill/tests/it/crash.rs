//! kill -9 at random moments under load: acknowledged ⊆ found ⊆ sent, each once.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::harness::{Data, Server, ndjson};

const CLIENTS: usize = 3;

/// What the clients know.
#[derive(Default)]
struct Ledger {
    sent: HashSet<String>,
    acknowledged: HashSet<String>,
    /// Batches that got no answer: their bodies and keys, to be sent again after the restart.
    unanswered: Vec<(String, Vec<String>)>,
}

#[test]
fn fifty_kills_lose_nothing_and_invent_nothing() {
    let rounds: u64 =
        std::env::var("LOGMILL_CRASH_ROUNDS").map_or(50, |text| text.parse().unwrap());
    survives_kills(Data::new(), rounds);
}

/// Serves in a folder and kills, again and again.
pub(crate) fn survives_kills(data: Data, rounds: u64) {
    // Small bounds, so that kills also hit flushes, catalog commits and changes of log files.
    let data = data
        .setting("STORE__FLUSH_BYTES", 60_000)
        .setting("STORE__FLUSH_INTERVAL_MS", 150)
        .setting("STORE__WAL_FILE_MAX_BYTES", 50_000);
    let mut random = ChaCha8Rng::seed_from_u64(20_261_125);
    let mut ledger = Ledger::default();
    for round in 0..rounds {
        let server = data.serve();
        check(&server, &ledger, round);
        retry(&server, &mut ledger);
        let pause = Duration::from_millis(random.random_range(20..400));
        run_until_killed(server, &mut ledger, round, pause);
    }
    let server = data.serve();
    retry(&server, &mut ledger);
    assert_eq!(
        ledger.sent, ledger.acknowledged,
        "every batch was acknowledged in the end"
    );
    check(&server, &ledger, rounds);
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    check(&data.serve(), &ledger, rounds + 1);
    assert!(
        ledger.sent.len() as u64 > rounds * 20,
        "the clients got {} records in",
        ledger.sent.len()
    );
}

/// Sends again what was not answered, with the same keys: it is stored once, whether it was in or not.
fn retry(server: &Server, ledger: &mut Ledger) {
    for (key, ids) in std::mem::take(&mut ledger.unanswered) {
        let answer = server.ingest_ndjson(&body(&ids), &[("idempotency-key", &key)]);
        assert_eq!(answer.status, 200, "{answer:?}");
        ledger.acknowledged.extend(ids);
    }
}

fn body(ids: &[String]) -> Vec<u8> {
    let records: Vec<_> = ids
        .iter()
        .map(|id| json!({"id": id, "service": "crash", "message": format!("record {id} {}", "x".repeat(200))}))
        .collect();
    ndjson(&records)
}

fn run_until_killed(server: Server, ledger: &mut Ledger, round: u64, pause: Duration) {
    let killed = AtomicBool::new(false);
    let url = server.url.clone();
    let ledgers: Vec<Ledger> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (killed, url) = (&killed, &url);
                scope.spawn(move || client_loop(url, round, client, killed))
            })
            .collect();
        std::thread::sleep(pause);
        server.kill();
        killed.store(true, Ordering::SeqCst);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    for part in ledgers {
        ledger.sent.extend(part.sent);
        ledger.acknowledged.extend(part.acknowledged);
        ledger.unanswered.extend(part.unanswered);
    }
}

fn client_loop(url: &str, round: u64, client: usize, killed: &AtomicBool) -> Ledger {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(30)))
        .build();
    let agent: ureq::Agent = config.into();
    let mut ledger = Ledger::default();
    for batch in 0.. {
        if killed.load(Ordering::SeqCst) {
            break;
        }
        let ids: Vec<String> = (0..20)
            .map(|n| format!("{round}-{client}-{batch}-{n}"))
            .collect();
        let key = format!("{round}-{client}-{batch}");
        ledger.sent.extend(ids.iter().cloned());
        let answer = agent
            .post(format!("{url}/ingest"))
            .header("content-type", "application/x-ndjson")
            .header("idempotency-key", &key)
            .send(&body(&ids)[..]);
        match answer {
            Ok(_) => ledger.acknowledged.extend(ids),
            Err(_) => ledger.unanswered.push((key, ids)),
        }
    }
    ledger
}

fn check(server: &Server, ledger: &Ledger, round: u64) {
    let mut found: HashMap<String, u32> = HashMap::new();
    if !ledger.sent.is_empty() {
        let answer = server.post_json(
            "/sql",
            &json!({"query": "SELECT id FROM logs", "format": "csv"}),
        );
        if answer.status == 400 {
            assert!(ledger.acknowledged.is_empty(), "round {round}: {answer:?}");
            return;
        }
        for id in answer.text().lines().skip(1) {
            *found.entry(id.to_owned()).or_default() += 1;
        }
    }
    let twice: Vec<_> = found
        .iter()
        .filter(|(_, times)| **times != 1)
        .take(5)
        .collect();
    assert!(
        twice.is_empty(),
        "round {round}: found more than once: {twice:?}"
    );
    let lost: Vec<_> = ledger
        .acknowledged
        .iter()
        .filter(|id| !found.contains_key(*id))
        .take(5)
        .collect();
    assert!(
        lost.is_empty(),
        "round {round}: acknowledged and lost: {lost:?}"
    );
    let invented: Vec<_> = found
        .keys()
        .filter(|id| !ledger.sent.contains(*id))
        .take(5)
        .collect();
    assert!(
        invented.is_empty(),
        "round {round}: found and never sent: {invented:?}"
    );
}

//! One suite over both kinds of counters, and what only shared ones have to keep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use logmill_model::TenantId;
use logmill_queue::{RedisOptions, RedisQueue};
use logmill_test_services::{RedisServer, RedisServerOptions};

use super::{Bucket, LocalQuotas, QuotaCounters, RateQuota, SharedQuotas};

const RATE: u64 = 100;

fn bucket(tenant: &str, quota: RateQuota) -> Bucket {
    Bucket {
        tenant: tenant.parse().unwrap(),
        quota,
        per_second: RATE,
    }
}

fn bytes(tenant: &str) -> Bucket {
    bucket(tenant, RateQuota::IngestBytes)
}

fn redis() -> RedisServer {
    RedisServer::start(RedisServerOptions::default())
}

/// The counters of another process.
async fn shared(server: &RedisServer) -> SharedQuotas {
    let queue = RedisQueue::open(&server.url(), RedisOptions::default(), 1).await;
    SharedQuotas::new(Arc::new(queue.unwrap()), Duration::from_secs(30))
}

async fn a_bucket_in_debt_is_waited_for(quotas: &dyn QuotaCounters) {
    let (own, other) = (bytes("acme"), bytes("beta"));
    let records = bucket("acme", RateQuota::IngestRecords);
    assert_eq!(quotas.wait(&own).await, Duration::ZERO);
    // Two seconds' worth are there, three are owed.
    quotas.charge(&own, 5 * RATE).await;
    let wait = quotas.wait(&own).await;
    let expected = Duration::from_millis(2_000)..=Duration::from_secs(3);
    assert!(expected.contains(&wait), "{wait:?}");
    assert_eq!(quotas.wait(&other).await, Duration::ZERO);
    assert_eq!(quotas.wait(&records).await, Duration::ZERO);
    quotas.charge(&own, u64::MAX).await;
    let wait = quotas.wait(&own).await;
    assert!(
        wait > Duration::from_secs(50) && wait <= Duration::from_secs(60),
        "{wait:?}"
    );
}

async fn a_debt_is_paid_with_time(quotas: &dyn QuotaCounters) {
    let own = bytes("debtor");
    quotas.charge(&own, 3 * RATE).await;
    let wait = quotas.wait(&own).await;
    assert!(wait > Duration::from_millis(500), "{wait:?}");
    tokio::time::sleep(wait + Duration::from_millis(50)).await;
    assert_eq!(quotas.wait(&own).await, Duration::ZERO);
}

async fn a_rate_of_nothing_lets_nothing_in(quotas: &dyn QuotaCounters) {
    let nothing = Bucket {
        per_second: 0,
        ..bytes("nobody")
    };
    assert!(quotas.wait(&nothing).await > Duration::ZERO);
}

async fn places_are_few_and_given_back(quotas: &dyn QuotaCounters) {
    let tenant: TenantId = "acme".parse().unwrap();
    let one = quotas.enter(&tenant, 2).await.unwrap();
    let _other = quotas.enter(&tenant, 2).await.unwrap();
    assert!(quotas.enter(&tenant, 2).await.is_none());
    let elsewhere = quotas.enter(&"beta".parse().unwrap(), 2).await;
    assert!(elsewhere.is_some());
    drop(one);
    let begun = Instant::now();
    while quotas.enter(&tenant, 2).await.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn contract(quotas: &dyn QuotaCounters) {
    a_bucket_in_debt_is_waited_for(quotas).await;
    a_debt_is_paid_with_time(quotas).await;
    a_rate_of_nothing_lets_nothing_in(quotas).await;
    places_are_few_and_given_back(quotas).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_of_one_process() {
    contract(&LocalQuotas::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_that_processes_share() {
    let server = redis();
    contract(&shared(&server).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_lets_in_closes_the_bucket_of_another() {
    let server = redis();
    let (one, other) = (shared(&server).await, shared(&server).await);
    let own = bytes("acme");
    assert_eq!(other.wait(&own).await, Duration::ZERO);
    one.charge(&own, 30 * RATE).await;
    // The other one believes what it knows for a second.
    let begun = Instant::now();
    let wait = loop {
        let wait = other.wait(&own).await;
        if !wait.is_zero() {
            break wait;
        }
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(wait > Duration::from_secs(1), "{wait:?}");
    // One that never heard of the tenant asks before it lets anything in.
    let third = shared(&server).await;
    assert!(third.wait(&own).await > Duration::from_secs(1));

    let tenant = own.tenant;
    let place = one.enter(&tenant, 1).await;
    assert!(place.is_some());
    assert!(other.enter(&tenant, 1).await.is_none());
}

/// How often scripts were called.
fn calls(server: &RedisServer) -> u64 {
    let client = std::process::Command::new("redis-cli")
        .args(["-p", &server.port().to_string(), "info", "commandstats"])
        .output()
        .unwrap();
    let text = String::from_utf8(client.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("cmdstat_evalsha:"));
    let calls = line.and_then(|line| line.split(['=', ',']).nth(1));
    calls.map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_a_row_ask_nobody() {
    let server = redis();
    let quotas = shared(&server).await;
    let own = bytes("acme");
    let begun = Instant::now();
    for _ in 0..5_000 {
        quotas.wait(&own).await;
        quotas.charge(&own, 1).await;
    }
    let most = 3 + begun.elapsed().as_millis() as u64 / 100;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let calls = calls(&server);
    assert!((2..=most).contains(&calls), "{calls} of {most}");
    // And all that they charged is known to others.
    let other = shared(&server).await;
    let begun = Instant::now();
    while other.wait(&own).await < Duration::from_secs(40) {
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_redis_counts_alone() {
    let mut server = redis();
    let quotas = shared(&server).await;
    server.pause();
    let own = bytes("acme");
    let begun = Instant::now();
    assert_eq!(quotas.wait(&own).await, Duration::ZERO);
    assert!(begun.elapsed() < Duration::from_secs(5));
    quotas.charge(&own, 10 * RATE).await;
    assert!(quotas.wait(&own).await > Duration::from_secs(5));
    let tenant = own.tenant.clone();
    let place = quotas.enter(&tenant, 1).await;
    assert!(place.is_some());
    assert!(quotas.enter(&tenant, 1).await.is_none());
    // A Redis that stood still charges once what it was told, however often it was asked meanwhile.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    quotas.wait(&own).await;
    server.resume();
    let other = shared(&server).await;
    assert!(other.wait(&own).await < Duration::from_secs(9));
    server.kill();
    assert!(quotas.wait(&own).await > Duration::ZERO);
}

//! Members and job runs.

use std::time::Duration;

use logmill_catalog::{JobRun, Member};

use crate::site::Site;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(150);

fn names(members: &[Member]) -> Vec<&str> {
    members.iter().map(|member| member.id.as_str()).collect()
}

pub(crate) async fn members_are_there_until_they_leave_or_expire(site: Site) {
    let catalog = site.open().await;
    let beat = |id, role, description, ttl| catalog.heartbeat(id, role, description, ttl);
    let alone = beat("w2", "worker", "{\"host\":\"a\"}", LONG)
        .await
        .unwrap();
    assert_eq!(names(&alone), ["w2"]);
    assert_eq!(alone[0].role, "worker");
    assert_eq!(alone[0].description, "{\"host\":\"a\"}");
    assert!(alone[0].expires_in <= LONG && alone[0].expires_in + SHORT >= LONG);
    let both = beat("w1", "query", "{}", SHORT).await.unwrap();
    assert_eq!(names(&both), ["w1", "w2"]);
    tokio::time::sleep(SHORT).await;
    let left = beat("w2", "all", "{}", LONG).await.unwrap();
    assert_eq!(names(&left), ["w2"]);
    assert_eq!(left[0].role, "all");
    let back = beat("w1", "query", "{}", LONG).await.unwrap();
    assert_eq!(names(&back), ["w1", "w2"]);
    catalog.leave("w2").await.unwrap();
    catalog.leave("w2").await.unwrap();
    let left = beat("w1", "query", "{}", LONG).await.unwrap();
    assert_eq!(names(&left), ["w1"]);
}

pub(crate) async fn the_last_run_of_a_job_is_kept(site: Site) {
    let catalog = site.open().await;
    let run = |name: &str, started_at_ns: i64| JobRun {
        name: name.to_owned(),
        holder: "w1".to_owned(),
        started_at_ns,
        finished_at_ns: started_at_ns + 7,
        outcome: "succeeded".to_owned(),
        detail: "12 segments".to_owned(),
    };
    for (name, at) in [("sweep", 1), ("merge", 2), ("sweep", 3)] {
        catalog.record_job(run(name, at)).await.unwrap();
    }
    let runs = catalog.job_runs().await.unwrap();
    assert_eq!(runs, [run("merge", 2), run("sweep", 3)]);
}

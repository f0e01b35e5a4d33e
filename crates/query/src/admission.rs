//! Admission: which query runs next, where more are asked than may run at once.
//!
//! A query that cannot run waits in the queue of its tenant, for at most its own time. A place that becomes free goes to
//! the tenant of which the fewest queries run, and of several such to the one that was served longest ago; within a tenant
//! to who came first. So a tenant's first query waits for one other to end, however many another tenant has waiting.
//!
//! Invariant: nobody waits while a place is free.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use logmill_model::TenantId;
use logmill_query_api::{Error, QueryLimits, Result};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// Longest time that can be waited for; what is beyond it is for ever.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// How long a query may take from when it is asked, and when that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit {
    limit: Duration,
    pub(crate) deadline: Instant,
}

impl TimeLimit {
    /// The time of a query that is asked now.
    pub(crate) fn from_now(limit: Duration) -> Self {
        let deadline = Instant::now() + limit.min(FOR_EVER);
        Self { limit, deadline }
    }

    fn limit_ms(&self) -> u64 {
        u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX)
    }

    /// The error of a query that takes longer.
    pub(crate) fn exceeded(&self) -> Error {
        let limit_ms = self.limit_ms();
        Error::Timeout { limit_ms }
    }
}

/// Lets queries in; all clones have the same places.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    bounds: Bounds,
    state: Arc<Mutex<State>>,
}

/// How many queries may run, and how many may wait.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    running: u64,
    queued: u64,
    queued_per_tenant: u64,
}

/// A query's place, in its tenant's queue and then among those that run; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Admission,
    tenant: TenantId,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.open().leave(&self.tenant, self.number);
    }
}

impl Admission {
    pub(crate) fn new(limits: &QueryLimits) -> Self {
        let bounds = Bounds {
            running: limits.max_concurrent.max(1),
            queued: limits.max_queued,
            queued_per_tenant: limits.max_queued_per_tenant,
        };
        Self {
            bounds,
            state: Arc::default(),
        }
    }

    /// A place to run in, when it is the query's turn. Dropping what this returns, done or not, gives the place back.
    ///
    /// # Errors
    /// [`Error::TooManyQueries`] at once where too many wait already, [`Error::NeverRan`] when the time is over.
    pub(crate) async fn enter(&self, tenant: &TenantId, time: TimeLimit) -> Result<Place> {
        let (place, turn) = self.come(tenant)?;
        let came = Instant::now();
        let told = match turn {
            Some(turn) => timeout_at(time.deadline, turn).await,
            None => Ok(Ok(())),
        };
        let waited = came.elapsed().as_secs_f64();
        metrics::histogram!("logmill_query_wait_seconds").record(waited);
        match told {
            Ok(told) => {
                told.expect("who waits is told before being taken out of the queue");
                Ok(place)
            }
            Err(_elapsed) => {
                let limit_ms = time.limit_ms();
                Err(Error::NeverRan { limit_ms })
            }
        }
    }

    /// A place, and what tells that its turn has come, unless it has already.
    fn come(&self, tenant: &TenantId) -> Result<(Place, Option<oneshot::Receiver<()>>)> {
        let mut state = self.open();
        let turn = if state.running < self.bounds.running {
            state.serve(tenant);
            None
        } else {
            Some(state.queue(tenant, &self.bounds)?)
        };
        state.came += 1;
        let place = Place {
            admission: self.clone(),
            tenant: tenant.clone(),
            number: state.came,
        };
        state.report();
        Ok((place, turn))
    }

    fn open(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    running: u64,
    waiting: u64,
    /// Queries that came; the last one's number.
    came: u64,
    /// Queries that were let in.
    served: u64,
    /// Those with queries, and as long as anybody waits those that had some meanwhile.
    tenants: HashMap<TenantId, Tenant>,
}

#[derive(Debug, Default)]
struct Tenant {
    running: u64,
    /// Which of all queries that were let in was the last of the tenant's; 0: none was.
    served: u64,
    queue: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    turn: oneshot::Sender<()>,
}

impl State {
    /// Lets a query of the tenant in.
    fn serve(&mut self, tenant: &TenantId) {
        self.running += 1;
        self.served += 1;
        let tenant = self.tenants.entry(tenant.clone()).or_default();
        tenant.running += 1;
        tenant.served = self.served;
    }

    /// Puts the next query into its tenant's queue.
    fn queue(&mut self, tenant: &TenantId, bounds: &Bounds) -> Result<oneshot::Receiver<()>> {
        let queue = self.tenants.get(tenant).map(|tenant| tenant.queue.len());
        let too_many = |waiting: u64, setting: &'static str| Error::TooManyQueries {
            running: bounds.running,
            waiting,
            setting,
        };
        if queue.unwrap_or(0) as u64 >= bounds.queued_per_tenant {
            let setting = "query.max_queued_per_tenant";
            return Err(too_many(bounds.queued_per_tenant, setting));
        }
        if self.waiting >= bounds.queued {
            return Err(too_many(bounds.queued, "query.max_queued"));
        }
        let (turn, told) = oneshot::channel();
        let number = self.came + 1;
        let tenant = self.tenants.entry(tenant.clone()).or_default();
        tenant.queue.push_back(Waiter { number, turn });
        self.waiting += 1;
        Ok(told)
    }

    /// Takes a query out, wherever it is.
    fn leave(&mut self, tenant: &TenantId, number: u64) {
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            let mut queue = tenant.queue.iter();
            if let Some(position) = queue.position(|waiter| waiter.number == number) {
                tenant.queue.remove(position);
                self.waiting -= 1;
            } else {
                tenant.running -= 1;
                self.running -= 1;
                self.serve_next();
            }
        }
        if self.waiting == 0 {
            // There is nobody whom it could be compared with.
            self.tenants.retain(|_, tenant| tenant.running > 0);
        }
        self.report();
    }

    /// Lets the next of those that wait in, if any does.
    fn serve_next(&mut self) {
        let waiting = self.tenants.iter_mut().filter_map(|(id, tenant)| {
            let number = tenant.queue.front()?.number;
            Some(((tenant.running, tenant.served, number), id, tenant))
        });
        let next = waiting.min_by_key(|(order, ..)| *order);
        let Some((_, id, tenant)) = next else { return };
        let Some(waiter) = tenant.queue.pop_front() else {
            return;
        };
        let id = id.clone();
        self.waiting -= 1;
        self.serve(&id);
        // One that has just gone away has its place still, and gives it back.
        let _ = waiter.turn.send(());
    }

    #[allow(clippy::cast_precision_loss, reason = "a few queries")]
    fn report(&self) {
        metrics::gauge!("logmill_queries_running").set(self.running as f64);
        metrics::gauge!("logmill_queries_waiting").set(self.waiting as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_concurrent: u64, max_queued: u64, max_queued_per_tenant: u64) -> Admission {
        Admission::new(&QueryLimits {
            max_concurrent,
            max_queued,
            max_queued_per_tenant,
            ..QueryLimits::default()
        })
    }

    fn id(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    struct Query {
        tenant: &'static str,
        turn: Option<oneshot::Receiver<()>>,
        _place: Place,
    }

    impl Query {
        fn of(tenant: &'static str, admission: &Admission) -> Self {
            let (place, turn) = admission.come(&id(tenant)).unwrap();
            Self {
                tenant,
                turn,
                _place: place,
            }
        }

        fn runs(&mut self) -> bool {
            if let Some(turn) = &mut self.turn
                && turn.try_recv().is_ok()
            {
                self.turn = None;
            }
            self.turn.is_none()
        }
    }

    /// The first that runs.
    fn running(queries: &mut Vec<Query>) -> Query {
        let place = queries.iter_mut().position(Query::runs);
        queries.remove(place.expect("a place is free and nobody runs"))
    }

    #[test]
    fn who_comes_first_runs_first_within_a_tenant() {
        let admission = admission(2, 10, 10);
        let mut queries = Vec::from(["a"; 5].map(|name| Query::of(name, &admission)));
        let all_running = |queries: &mut Vec<Query>| -> Vec<bool> {
            queries.iter_mut().map(Query::runs).collect()
        };
        assert_eq!(all_running(&mut queries), [true, true, false, false, false]);
        drop(queries.remove(1));
        assert_eq!(all_running(&mut queries), [true, true, false, false]);
    }

    #[test]
    fn a_tenant_that_floods_does_not_delay_another() {
        let admission = admission(1, 100, 50);
        let mut queries: Vec<Query> = (0..50).map(|_| Query::of("a", &admission)).collect();
        queries.extend(["b", "b", "b", "c"].map(|name| Query::of(name, &admission)));
        let order: Vec<&str> = (0..54).map(|_| running(&mut queries).tenant).collect();
        assert_eq!(order[..9], ["a", "b", "c", "a", "b", "a", "b", "a", "a"]);
        assert!(admission.open().tenants.is_empty(), "all places are free");
    }

    #[test]
    fn the_tenant_with_the_fewest_running_queries_is_next() {
        let admission = admission(3, 10, 10);
        let queries = ["a", "a", "b", "a", "b"].map(|name| Query::of(name, &admission));
        let [first, _second, of_b, mut next_of_a, mut next_of_b] = queries;
        drop(of_b);
        assert!(next_of_b.runs(), "two of a run and none of b");
        assert!(!next_of_a.runs());
        drop(first);
        assert!(next_of_a.runs(), "nobody else waits");
    }

    #[test]
    fn tenants_that_always_come_back_do_not_starve_one_that_waits() {
        let admission = admission(1, 10, 10);
        let mut queries = Vec::from(["a", "x", "x", "b"].map(|name| Query::of(name, &admission)));
        let mut order = Vec::new();
        for _ in 0..7 {
            let ends = running(&mut queries);
            order.push(ends.tenant);
            if ends.tenant != "x" {
                queries.push(Query::of(ends.tenant, &admission));
            }
        }
        assert_eq!(order, ["a", "x", "b", "a", "x", "b", "a"]);
    }

    #[test]
    fn who_goes_away_leaves_the_queue() {
        let admission = admission(1, 2, 2);
        let [runs, gone, mut waits] = ["a", "b", "b"].map(|name| Query::of(name, &admission));
        assert!(admission.come(&id("b")).is_err(), "the queue is full");
        drop(gone);
        assert_eq!(admission.open().waiting, 1);
        drop(runs);
        assert!(waits.runs());
        drop(waits);
        let state = admission.open();
        assert_eq!((state.running, state.waiting), (0, 0));
        assert!(state.tenants.is_empty());
    }

    #[test]
    fn who_goes_away_when_told_gives_the_place_to_the_next() {
        let admission = admission(1, 2, 2);
        let [runs, mut gone, mut waits] = ["a", "a", "a"].map(|name| Query::of(name, &admission));
        // Nobody hears that its turn has come.
        gone.turn = None;
        drop(runs);
        assert!(!waits.runs());
        drop(gone);
        assert!(waits.runs());
    }

    #[test]
    fn queues_have_bounds() {
        let admission = admission(1, 3, 2);
        let _all = ["a", "a", "a", "b"].map(|name| Query::of(name, &admission));
        let refusal = |tenant: &str| {
            let error = admission.come(&id(tenant)).unwrap_err();
            assert_eq!(error.code(), "too_many_queries");
            error.to_string()
        };
        let message = refusal("a");
        assert!(
            message.contains("2 wait (query.max_queued_per_tenant)"),
            "{message}"
        );
        let message = refusal("b");
        assert!(message.contains("3 wait (query.max_queued)"), "{message}");
        assert_eq!(admission.open().waiting, 3);
    }

    #[tokio::test]
    async fn who_waits_too_long_never_ran() {
        let admission = admission(1, 10, 10);
        let long = || TimeLimit::from_now(Duration::MAX);
        let runs = admission.enter(&id("a"), long()).await.unwrap();
        let brief = TimeLimit::from_now(Duration::from_millis(20));
        let error = admission.enter(&id("a"), brief).await.unwrap_err();
        assert_eq!(error.code(), "query_timeout");
        assert!(error.to_string().contains("never ran"), "{error}");
        assert_eq!(admission.open().waiting, 0);
        let other = admission.clone();
        let waits = tokio::spawn(async move { other.enter(&id("b"), long()).await });
        tokio::task::yield_now().await;
        assert_eq!(admission.open().waiting, 1);
        drop(runs);
        drop(waits.await.unwrap().unwrap());
        assert!(admission.open().tenants.is_empty());
    }

    #[tokio::test]
    async fn a_future_that_is_dropped_waits_no_more() {
        let admission = admission(1, 10, 10);
        let _runs = Query::of("a", &admission);
        let tenant = id("a");
        let waits = admission.enter(&tenant, TimeLimit::from_now(Duration::MAX));
        let given_up = tokio::time::timeout(Duration::ZERO, waits).await;
        assert!(given_up.is_err());
        assert_eq!(admission.open().waiting, 0);
    }
}

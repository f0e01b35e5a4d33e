//! Trying again: exponential backoff with full jitter, bounded by tries and by time.
//!
//! The caller says for each error whether another try can help ([`Transient`]) or not (`None`): what cannot
//! succeed fails at once. Pauses are drawn evenly between nothing and a bound that doubles ("full jitter",
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>), so that many processes that lost
//! the same server do not come back to it at the same moment.
//!
//! Does not care what is tried. An operation has to be safe to repeat, and to have a timeout of its own.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How often and for how long to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Tries in all; 1 never repeats.
    pub tries_max: u32,
    /// No try begins later than this after the first; one that is under way may take its own timeout longer.
    pub total_ms: u64,
    /// Bound of the first pause; it doubles with every try.
    pub pause_ms: u64,
    /// Longest bound of a pause.
    pub pause_max_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries_max: 10,
            total_ms: 8_000,
            pause_ms: 20,
            pause_max_ms: 2_000,
        }
    }
}

/// An error after which another try may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transient {
    /// What kind of error it is, for metrics: a few fixed names for each component.
    pub class: &'static str,
    /// How long it usually lasts.
    pub pace: Pace,
}

/// How long a transient error usually lasts, so how soon to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Gone at once, such as an idle connection that was closed: the bound of pauses begins at `pause_ms`.
    Quick,
    /// A server that starts, or a failover: the bound begins eight times higher.
    Slow,
}

impl Transient {
    /// An error that is usually gone at once.
    pub const fn quick(class: &'static str) -> Self {
        Self {
            class,
            pace: Pace::Quick,
        }
    }

    /// An error that usually takes a while to go.
    pub const fn slow(class: &'static str) -> Self {
        Self {
            class,
            pace: Pace::Slow,
        }
    }
}

impl RetryPolicy {
    /// The bound of the pause after the `failures`-th failure (from 1 on).
    pub fn pause_bound(&self, failures: u32, pace: Pace) -> Duration {
        let base = match pace {
            Pace::Quick => self.pause_ms,
            Pace::Slow => self.pause_ms.saturating_mul(8),
        };
        let doublings = failures.saturating_sub(1).min(32);
        let bound = base.saturating_mul(1 << doublings).min(self.pause_max_ms);
        Duration::from_millis(bound)
    }

    /// The bound of time of the whole, without the last try's own timeout.
    pub const fn total(&self) -> Duration {
        Duration::from_millis(self.total_ms)
    }

    /// Runs `operation` until it succeeds, fails for good, or the bounds are reached: then the last error is returned.
    ///
    /// Counts every repetition in `logmill_retries_total` and every giving up in `logmill_retries_exhausted_total`, both
    /// with the labels `component` and `class`.
    pub async fn run<T, E, Operation, Running>(
        &self,
        component: &'static str,
        transient: impl Fn(&E) -> Option<Transient>,
        mut operation: Operation,
    ) -> Result<T, E>
    where
        E: std::fmt::Display,
        Operation: FnMut() -> Running,
        Running: Future<Output = Result<T, E>>,
    {
        let deadline = Instant::now() + self.total();
        let mut failures = 0;
        loop {
            let error = match operation().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let Some(Transient { class, pace }) = transient(&error) else {
                return Err(error);
            };
            failures += 1;
            let bound = self.pause_bound(failures, pace);
            let pause = rand::rng().random_range(Duration::ZERO..=bound);
            if failures >= self.tries_max || Instant::now() + pause >= deadline {
                metrics::counter!("logmill_retries_exhausted_total", "component" => component, "class" => class)
                    .increment(1);
                return Err(error);
            }
            metrics::counter!("logmill_retries_total", "component" => component, "class" => class)
                .increment(1);
            tracing::debug!(component, class, failures, ?pause, %error, "trying again");
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;

    use super::*;

    fn policy(tries_max: u32, total_ms: u64) -> RetryPolicy {
        RetryPolicy {
            tries_max,
            total_ms,
            pause_ms: 1,
            pause_max_ms: 4,
        }
    }

    /// Fails `failures` times, then succeeds; says how often it was called.
    async fn run(
        policy: RetryPolicy,
        failures: u32,
        class: Option<Transient>,
    ) -> (u32, Result<u32, String>) {
        let calls = Cell::new(0);
        let operation = || {
            calls.set(calls.get() + 1);
            let failed = calls.get() <= failures;
            ready(if failed { Err("no".to_owned()) } else { Ok(7) })
        };
        let outcome = policy.run("test", |_: &String| class, operation).await;
        (calls.get(), outcome)
    }

    #[tokio::test]
    async fn tries_until_it_works_or_the_tries_are_used_up() {
        let quick = Some(Transient::quick("lost"));
        assert_eq!(run(policy(5, 60_000), 4, quick).await, (5, Ok(7)));
        let (calls, outcome) = run(policy(5, 60_000), 5, quick).await;
        assert_eq!((calls, outcome.is_err()), (5, true));
    }

    #[tokio::test]
    async fn what_cannot_succeed_fails_at_once() {
        let (calls, outcome) = run(policy(5, 60_000), 1, None).await;
        assert_eq!((calls, outcome.is_err()), (1, true));
    }

    #[tokio::test]
    async fn the_time_is_bounded_however_many_tries_are_left() {
        let begun = Instant::now();
        let slow = Some(Transient::slow("loading"));
        let (calls, outcome) = run(policy(u32::MAX, 40), u32::MAX, slow).await;
        assert!(outcome.is_err() && calls > 2, "{calls} {outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn the_bound_of_a_pause_doubles_up_to_a_limit() {
        let policy = RetryPolicy::default();
        let bounds =
            |pace| [1, 2, 3, 20, u32::MAX].map(|n| policy.pause_bound(n, pace).as_millis());
        assert_eq!(bounds(Pace::Quick), [20, 40, 80, 2_000, 2_000]);
        assert_eq!(bounds(Pace::Slow), [160, 320, 640, 2_000, 2_000]);
    }
}

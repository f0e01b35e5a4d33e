//! Failed attempts by address: a token bucket each, in a bounded table.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::AuthOptions;
use crate::options::size;

/// Counts failed attempts.
#[derive(Debug)]
pub(crate) struct Failures {
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
    burst: f64,
    per_second: f64,
    max_addresses: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Attempts that may still fail.
    left: f64,
    at: Instant,
}

impl Failures {
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub(crate) fn new(options: &AuthOptions) -> Self {
        Self {
            buckets: Mutex::default(),
            burst: options.failures_burst as f64,
            per_second: options.failures_per_minute as f64 / 60.0,
            max_addresses: size(options.failures_max_addresses),
        }
    }

    /// How long the address is to wait, if it failed too often.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let buckets = self.buckets.lock();
        let bucket = buckets
            .get(&network(address))
            .or_else(|| buckets.get(&ALL_OTHERS))?;
        let left = self.left(bucket, now);
        (left < 1.0).then(|| Duration::from_secs_f64((1.0 - left) / self.per_second))
    }

    /// One more attempt failed.
    pub(crate) fn count(&self, address: IpAddr, now: Instant) {
        let mut buckets = self.buckets.lock();
        let mut address = network(address);
        if !buckets.contains_key(&address) && buckets.len() >= self.max_addresses {
            buckets.retain(|_, bucket| self.left(bucket, now) < self.burst);
            if buckets.len() >= self.max_addresses {
                // So many at once are one attack: they share what is left.
                address = ALL_OTHERS;
            }
        }
        let bucket = buckets.entry(address).or_insert(Bucket {
            left: self.burst,
            at: now,
        });
        bucket.left = (self.left(bucket, now) - 1.0).max(0.0);
        bucket.at = now;
    }

    fn left(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + since * self.per_second).min(self.burst)
    }
}

/// No client comes from here.
const ALL_OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Who has one address of IPv6 has a /64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(max_addresses: u64) -> Failures {
        Failures::new(&AuthOptions {
            failures_burst: 3,
            failures_per_minute: 60,
            failures_max_addresses: max_addresses,
            ..AuthOptions::default()
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_waits_after_its_burst_and_only_that_one() {
        let failures = failures(10);
        let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(failures.wait(one, now), None);
            failures.count(one, now);
        }
        assert_eq!(failures.wait(one, now), Some(Duration::from_secs(1)));
        assert_eq!(failures.wait(other, now), None);
        assert_eq!(failures.wait(one, now + Duration::from_secs(1)), None);
        failures.count(one, now + Duration::from_secs(1));
        assert!(failures.wait(one, now + Duration::from_secs(1)).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let failures = failures(10);
        let now = Instant::now();
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
            failures.count(address(host), now);
        }
        assert!(failures.wait(address("2001:db8::4"), now).is_some());
        assert_eq!(failures.wait(address("2001:db8:0:1::4"), now), None);
        failures.count(address("::ffff:10.0.0.9"), now);
        assert!(failures.buckets.lock().contains_key(&address("10.0.0.9")));
    }

    #[test]
    fn the_table_is_bounded_and_a_flood_does_not_empty_it() {
        let failures = failures(4);
        let now = Instant::now();
        let known = address("10.0.0.1");
        for _ in 0..3 {
            failures.count(known, now);
        }
        for n in 0..100_u8 {
            failures.count(address(&format!("10.0.1.{n}")), now);
        }
        assert!(failures.buckets.lock().len() <= 5);
        assert!(failures.wait(known, now).is_some());
        assert!(failures.wait(address("10.9.9.9"), now).is_some());
        let later = now + Duration::from_secs(60);
        failures.count(address("10.0.2.1"), later);
        assert_eq!(failures.buckets.lock().len(), 1);
    }
}

//! A made-up online shop: the sample data of `seed` and `load-test`.
//!
//! Eight services, requests that pass through several of them under one trace id, a day's rhythm, a deploy, and an
//! incident in which the payment provider times out. The same seed and times give the same bytes.

mod shop;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use shop::Shop;

/// What is generated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SampleOptions {
    pub(crate) records: u64,
    pub(crate) seed: u64,
    /// First instant, nanoseconds since the epoch.
    pub(crate) start_ns: i64,
    /// First instant after.
    pub(crate) end_ns: i64,
}

/// Generates records as NDJSON lines, in order of their requests.
pub(crate) struct Sample {
    shop: Shop,
    random: ChaCha8Rng,
    options: SampleOptions,
    made: u64,
    waiting: std::collections::VecDeque<String>,
}

impl Sample {
    pub(crate) fn new(options: SampleOptions) -> Self {
        let random = ChaCha8Rng::seed_from_u64(options.seed);
        Self {
            shop: Shop::new(),
            random,
            options,
            made: 0,
            waiting: std::collections::VecDeque::new(),
        }
    }

    /// The time of the next request: more by day than by night.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "an instant within the span, to a microsecond or so"
    )]
    fn now_ns(&self) -> (i64, f64) {
        let SampleOptions {
            records,
            start_ns,
            end_ns,
            ..
        } = self.options;
        let even = (self.made as f64 + 0.5) / records.max(1) as f64;
        let span = (end_ns - start_ns) as f64;
        let days = span / 86_400e9;
        // The derivative stays positive, so that time goes forward.
        let wave =
            (even * days * std::f64::consts::TAU).sin() / (days.max(0.1) * std::f64::consts::TAU);
        let at = (even + 0.6 * wave).clamp(0.0, 1.0);
        (start_ns + (at * span) as i64, at)
    }
}

impl Iterator for Sample {
    /// A JSON object without a line break.
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.made >= self.options.records {
            return None;
        }
        while self.waiting.is_empty() {
            let (now_ns, progress) = self.now_ns();
            self.shop
                .request(now_ns, progress, &mut self.random, &mut self.waiting);
        }
        self.made += 1;
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn options(records: u64, seed: u64) -> SampleOptions {
        let end_ns = 1_795_132_800_000_000_000;
        SampleOptions {
            records,
            seed,
            start_ns: end_ns - 86_400_000_000_000,
            end_ns,
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_records() {
        let lines = |seed| Sample::new(options(2_000, seed)).collect::<Vec<_>>();
        assert_eq!(lines(1), lines(1));
        assert_ne!(lines(1), lines(2));
        assert_eq!(lines(1).len(), 2_000);
    }

    #[test]
    fn the_sample_has_what_real_logs_have() {
        let records: Vec<Value> = Sample::new(options(20_000, 3))
            .map(|line| serde_json::from_str(&line).unwrap())
            .collect();
        let distinct = |name: &str| {
            records
                .iter()
                .filter_map(|r| r[name].as_str())
                .collect::<BTreeSet<_>>()
                .len()
        };
        assert!(distinct("service") >= 8, "{}", distinct("service"));
        assert!(distinct("level") >= 4);
        assert!(distinct("trace_id") > 1_000);
        let errors = records.iter().filter(|r| r["level"] == "error").count();
        assert!((100..4_000).contains(&errors), "{errors}");
        let traces = records
            .iter()
            .filter(|r| r["message"].as_str().is_some_and(|m| m.contains("\n\tat ")));
        assert!(traces.count() > 5);
        assert!(records.iter().any(|r| {
            r["message"]
                .as_str()
                .is_some_and(|m| m.contains("declined"))
        }));
        let times: Vec<&str> = records
            .iter()
            .filter_map(|r| r["timestamp"].as_str())
            .collect();
        assert!(
            times
                .iter()
                .all(|time| ("2026-11-18T23:5".."2026-11-20T00:01").contains(time))
        );
    }
}

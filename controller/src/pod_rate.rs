//! How many Pods are created a second: `resourceRateLimit` of the configuration. argo: workflowpod.go, rateLimiter.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A rate, and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Pods a second.
    pub limit: f64,
    /// Pods at once.
    pub burst: u32,
}

/// A bucket of tokens that may be owed: who comes later waits longer, and nobody asks again.
#[derive(Debug, Default)]
pub struct PodRate(Mutex<Option<Bucket>>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    since: Instant,
}

impl PodRate {
    /// How long to wait before the next Pod; it is counted as created then.
    pub fn reserve(&self, rate: Rate, now: Instant) -> Duration {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let burst = f64::from(rate.burst);
        let bucket = bucket.get_or_insert(Bucket { tokens: burst, since: now });
        let gained = now.saturating_duration_since(bucket.since).as_secs_f64() * rate.limit;
        bucket.tokens = (bucket.tokens + gained).min(burst) - 1.0;
        bucket.since = now;
        Duration::from_secs_f64((-bucket.tokens / rate.limit).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_then_one_after_another() {
        let (rate, pods, begin) = (Rate { limit: 2.0, burst: 3 }, PodRate::default(), Instant::now());
        let after = |millis| begin + Duration::from_millis(millis);
        let waits: Vec<u128> = (0..5).map(|_| pods.reserve(rate, begin).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 500, 1000]);
        assert_eq!(pods.reserve(rate, after(1000)).as_millis(), 500);
        assert_eq!(pods.reserve(rate, after(60_000)), Duration::ZERO);
        let waits: Vec<u128> = (0..3).map(|_| pods.reserve(rate, after(60_000)).as_millis()).collect();
        assert_eq!(waits, [0, 0, 500]);
    }
}

//! Repeating what may pass the second time: exponential pauses with jitter, within a deadline.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Result;

/// How often and how long a request is repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The first pause.
    pub first: Duration,
    /// Each pause is this many times the one before.
    pub factor: f64,
    /// No pause is longer.
    pub longest: Duration,
    /// At most this many tries, the first included.
    pub tries: u32,
    /// No new try begins after this time.
    pub within: Duration,
    /// A body of which nothing arrives for this time is broken off; what is missing of it is asked for again.
    pub stall: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            first: Duration::from_millis(200),
            factor: 2.0,
            longest: Duration::from_secs(10),
            tries: 20,
            within: Duration::from_secs(60),
            stall: Duration::from_secs(20),
        }
    }
}

impl Retry {
    /// A single try.
    pub fn never() -> Self {
        Retry { tries: 1, ..Retry::default() }
    }

    /// Runs `operation` until it succeeds, fails for good ([`crate::Error::retry`]), or tries or time are used up; the
    /// last error is returned. A `run` around this one, such as a whole transfer's around its requests', does not repeat
    /// what was repeated enough here.
    ///
    /// # Errors
    /// The last try's; [`crate::Error::Exhausted`] where another could have been made.
    pub async fn run<T, F, Fut>(&self, what: &str, mut operation: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let begin = Instant::now();
        let mut pause = self.first;
        for attempt in 1.. {
            let error = match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let wait = jitter(pause);
            if !error.retry() || attempt >= self.tries || begin.elapsed() + wait > self.within {
                return Err(error.exhausted());
            }
            tracing::warn!(attempt, ?wait, "{what} failed and is tried again: {error}");
            tokio::time::sleep(wait).await;
            pause = pause.mul_f64(self.factor).min(self.longest);
        }
        unreachable!("the loop ends by returning")
    }
}

/// Between half and the whole of `pause`, so that many Pods do not come back at the same moment.
fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8) >> 11;
    pause.mul_f64(0.5 + 0.5 * (random as f64 / (1u64 << 53) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Error};
    use std::cell::Cell;

    async fn tries(retry: Retry, fail: impl Fn(u32) -> Option<Error>) -> (u32, bool) {
        let count = Cell::new(0);
        let outcome = retry
            .run("test", || {
                count.set(count.get() + 1);
                let result = fail(count.get()).map_or(Ok(()), Err);
                async move { result }
            })
            .await;
        (count.get(), outcome.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn only_passing_failures_are_repeated() {
        let retry = Retry::default();
        assert_eq!(tries(retry.clone(), |n| (n < 4).then(|| Error::transient("get", "503"))).await, (4, true));
        assert_eq!(tries(retry.clone(), |_| Some(Error::permanent("get", "403"))).await, (1, false));
        assert_eq!(tries(Retry { tries: 3, ..retry }, |_| Some(Error::transient("get", "503"))).await, (3, false));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_repeated_enough_is_not_begun_anew() {
        let retry = Retry { tries: 3, ..Retry::default() };
        for (damaged, class) in [(false, Class::Transient), (true, Class::Corrupt)] {
            let fail = || match damaged {
                false => Error::transient("get", "503"),
                true => Error::corrupt("s3://b/k", "another checksum"),
            };
            let (count, begun) = (Cell::new(0), Cell::new(0));
            let request = || {
                count.set(count.get() + 1);
                async move { Err::<(), _>(fail()) }
            };
            let whole = retry.run("whole", || {
                begun.set(begun.get() + 1);
                retry.run("request", request)
            });
            let error = whole.await.unwrap_err();
            assert_eq!((count.get(), begun.get(), error.class(), error.retry()), (3, 1, class, false));
            assert_eq!(error.to_string(), fail().to_string());
            // What no request of its own repeats is begun anew.
            let begun = tries(retry.clone(), |n| (n < 3).then(fail)).await;
            assert_eq!(begun, (3, true));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_holds() {
        let begin = Instant::now();
        let retry = Retry { within: Duration::from_secs(30), tries: u32::MAX, ..Retry::default() };
        assert!(!tries(retry, |_| Some(Error::transient("get", "503"))).await.1);
        assert!(begin.elapsed() <= Duration::from_secs(30) && begin.elapsed() > Duration::from_secs(15));
    }
}

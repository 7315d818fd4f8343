//! Pauses between attempts at what has failed.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crate::error::ApiError;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Pauses that double from 100 ms to 10 s, each between half and all of it, so that those who failed together do not come
/// back together.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures += 1;
        let chance = RandomState::new().hash_one(self.failures) % 1000;
        whole.mul_f64(0.5 + chance as f64 / 2000.0)
    }

    /// It went well: the next failure is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Sends a request until it is answered for good.
///
/// # Errors
/// What sending it again cannot help.
pub async fn retried<T, F: Future<Output = Result<T, ApiError>>>(request: impl Fn() -> F) -> Result<T, ApiError> {
    let mut backoff = Backoff::default();
    loop {
        match request().await {
            Err(error) if error.is_transient() => error.wait(&mut backoff).await,
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut backoff = Backoff::default();
        let first = backoff.pause();
        assert!(first >= FIRST / 2 && first <= FIRST);
        let last = (0..20).map(|_| backoff.pause()).last().unwrap();
        assert!(last >= LONGEST / 2 && last <= LONGEST);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_sent_again_until_that_cannot_help() {
        let sent = std::cell::Cell::new(0);
        let answered = |codes: &'static [u16]| {
            sent.set(0);
            let request = || async {
                let code = codes.get(sent.get()).copied();
                sent.set(sent.get() + 1);
                code.map_or(Ok(()), |code| {
                    Err(ApiError::Refused { code, reason: String::new(), message: String::new(), retry_after: None })
                })
            };
            let begun = tokio::time::Instant::now();
            async move { (retried(request).await, begun.elapsed()) }
        };
        let (answer, took) = answered(&[503, 429]).await;
        assert!(answer.is_ok() && took >= FIRST, "{answer:?} after {took:?}");
        assert_eq!(sent.get(), 3);
        let (answer, _) = answered(&[500, 404]).await;
        assert!(answer.unwrap_err().is_not_found());
        assert_eq!(sent.get(), 2);
    }
}

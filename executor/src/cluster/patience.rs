//! How long failed requests are repeated: for ever, until somebody says by when this process must be done.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, pending, select};
use tokio::sync::watch;

/// The first pause between two tries.
const FIRST: Duration = Duration::from_secs(1);
/// No pause is longer (argo: taskresult.go, the backoff of the executor's reports).
const LONGEST: Duration = Duration::from_secs(30);

/// The time that repeated requests may take. Clones share their limit.
#[derive(Clone, Debug)]
pub struct Patience {
    until: watch::Receiver<Option<Instant>>,
}

/// The other end of a [`Patience`]: says when it is over.
#[derive(Clone, Debug)]
pub struct Limit {
    until: watch::Sender<Option<Instant>>,
}

impl Limit {
    /// What waits with the patience that belongs to this gives up at `at`. An earlier moment that was told before stays.
    pub fn set(&self, at: Instant) {
        self.until.send_modify(|until| *until = Some(until.map_or(at, |before| before.min(at))));
    }
}

impl Patience {
    /// Without end.
    pub fn endless() -> Self {
        Self::limited().0
    }

    /// Without end until the limit is set, from any thread.
    pub fn limited() -> (Self, Limit) {
        let (sender, receiver) = watch::channel(None);
        (Self { until: receiver }, Limit { until: sender })
    }

    /// When it is over, as far as that is known now.
    pub fn until(&self) -> Option<Instant> {
        *self.until.borrow()
    }

    /// Awaits the work, or gives it up when the time is over.
    pub async fn bound<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), pin!(self.over())).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    async fn over(&self) {
        let mut until = self.until.clone();
        loop {
            let known = *until.borrow_and_update();
            match known {
                Some(at) => match select(pin!(tokio::time::sleep_until(at.into())), pin!(until.changed())).await {
                    Either::Right((Ok(()), _)) => {}
                    Either::Right((Err(_), sleep)) => return sleep.await,
                    Either::Left(_) => return,
                },
                None => {
                    if until.changed().await.is_err() {
                        return pending().await;
                    }
                }
            }
        }
    }
}

/// The pauses between tries: 1 s, doubled each time up to 30 s, each between half and the whole of that, so that many Pods
/// do not come back at the same moment.
#[derive(Debug)]
pub struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Pauses {
    /// The next pause; at least `least`, when the server asked for that, but not beyond the longest.
    pub fn next(&mut self, least: Option<Duration>) -> Duration {
        let random = RandomState::new().hash_one(0u8) >> 11;
        let pause = self.next.mul_f64(0.5 + 0.5 * (random as f64 / (1u64 << 53) as f64));
        self.next = (self.next * 2).min(LONGEST);
        pause.max(least.unwrap_or_default()).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        let mut pauses = Pauses::default();
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let (pause, most) = (pauses.next(None), Duration::from_secs(seconds));
            assert!(pause >= most / 2 && pause <= most, "{pause:?} for {most:?}");
        }
        assert_eq!(Pauses::default().next(Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(Pauses::default().next(Some(Duration::from_secs(700))), LONGEST);
    }

    #[test]
    fn a_limit_ends_what_would_never_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (patience, limit) = Patience::limited();
        let told = std::thread::spawn(move || {
            limit.set(Instant::now() + Duration::from_millis(20));
            limit.set(Instant::now() + Duration::from_secs(3600));
        });
        assert_eq!(runtime.block_on(patience.bound(pending::<()>())), None);
        told.join().unwrap();
        assert_eq!(runtime.block_on(Patience::endless().bound(async { 1 })), Some(1));
    }
}

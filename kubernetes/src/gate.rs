//! A gate that requests pass: once it is shut nothing goes out, and what is under way is given up.

use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::ApiError;

/// Requests that may pass together: more than ever are.
const MANY: u32 = 1 << 20;

/// Lets requests pass until it is shut, which is for good.
#[derive(Debug)]
pub struct Gate {
    passes: Semaphore,
    shut: watch::Sender<bool>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { passes: Semaphore::new(MANY as usize), shut: watch::Sender::new(false) }
    }
}

impl Gate {
    /// Does a request, unless the gate is shut before it is answered.
    ///
    /// # Errors
    /// The request's own, and [`ApiError::Shut`].
    pub(crate) async fn pass<T>(&self, request: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let mut shut = self.shut.subscribe();
        let passing = async {
            // It is never closed.
            let _pass = self.passes.acquire().await.map_err(|_| ApiError::Shut)?;
            request.await
        };
        tokio::select! {
            biased;
            _ = shut.wait_for(|shut| *shut) => Err(ApiError::Shut),
            answer = passing => answer,
        }
    }

    /// Lets nothing more begin, waits for the answers to what is under way, at most for a time, and shuts.
    pub async fn close(&self, longest: Duration) {
        // Whoever asks from here on stands in line behind this, and finds the gate shut.
        let _all = tokio::time::timeout(longest, self.passes.acquire_many(MANY)).await;
        self.shut();
    }

    /// Shuts at once. An answer that is still to come is not waited for.
    pub fn shut(&self) {
        self.shut.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;

    async fn answer(answered: oneshot::Receiver<()>) -> Result<(), ApiError> {
        answered.await.map_err(|_| ApiError::Unreachable("nobody answers".into()))
    }

    /// A request that is answered when the test says so.
    fn passing(gate: &Arc<Gate>, asked: oneshot::Receiver<()>) -> JoinHandle<Result<(), ApiError>> {
        let gate = gate.clone();
        tokio::spawn(async move { gate.pass(answer(asked)).await })
    }

    #[tokio::test]
    async fn what_is_under_way_ends_when_it_is_shut() {
        let gate = Arc::new(Gate::default());
        let (_never, asked) = oneshot::channel();
        let under_way = passing(&gate, asked);
        gate.pass(async { Ok(()) }).await.unwrap();
        gate.shut();
        assert!(matches!(under_way.await.unwrap(), Err(ApiError::Shut)));
        assert!(matches!(gate.pass(async { Ok(()) }).await, Err(ApiError::Shut)));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_waits_for_answers_and_begins_nothing() {
        let gate = Arc::new(Gate::default());
        let (answered, asked) = oneshot::channel();
        let (begun, began) = oneshot::channel();
        let under_way = tokio::spawn({
            let gate = gate.clone();
            async move {
                gate.pass(async {
                    let _ = begun.send(());
                    answer(asked).await
                })
                .await
            }
        });
        began.await.unwrap();
        let closing = gate.close(Duration::from_secs(2));
        tokio::pin!(closing);
        assert!(futures_util::poll!(closing.as_mut()).is_pending());
        let late = gate.pass(async { Ok(()) });
        tokio::pin!(late);
        assert!(futures_util::poll!(late.as_mut()).is_pending());
        answered.send(()).unwrap();
        closing.await;
        under_way.await.unwrap().unwrap();
        assert!(matches!(late.await, Err(ApiError::Shut)));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_waits_no_longer_than_it_is_told_to() {
        let gate = Arc::new(Gate::default());
        let (_never, asked) = oneshot::channel();
        let under_way = passing(&gate, asked);
        tokio::task::yield_now().await;
        gate.close(Duration::from_secs(2)).await;
        assert!(matches!(under_way.await.unwrap(), Err(ApiError::Shut)));
    }
}

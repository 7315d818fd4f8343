//! Whether the controller lives and is ready, as Kubernetes' probes ask.
//!
//! It lives while its dispatcher, through which everything passes, takes its turns: the answer comes from there. It is ready
//! once it knows which workflows there are. A replica that waits for the Lease is both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{Mutex, mpsc, oneshot};

/// A dispatcher that does not answer for so long has died.
const PATIENCE: Duration = Duration::from_secs(5);

/// A question that the dispatcher answers.
pub type Ping = oneshot::Sender<()>;

/// What is known.
pub struct Health {
    works: AtomicBool,
    listed: AtomicBool,
    ask: mpsc::Sender<Ping>,
    asked: Mutex<mpsc::Receiver<Ping>>,
}

impl Default for Health {
    fn default() -> Health {
        let (ask, asked) = mpsc::channel(1);
        Health { works: AtomicBool::new(false), listed: AtomicBool::new(false), ask, asked: Mutex::new(asked) }
    }
}

impl Health {
    /// This replica works from now on.
    pub fn works(&self) {
        self.works.store(true, Ordering::Relaxed);
    }

    /// The workflows that there are have been listed.
    pub fn listed(&self) {
        self.listed.store(true, Ordering::Relaxed);
    }

    /// The next question. For the dispatcher alone.
    pub async fn asked(&self) -> Option<Ping> {
        self.asked.lock().await.recv().await
    }

    /// `/healthz`
    pub async fn lives(&self) -> (StatusCode, String) {
        if !self.works.load(Ordering::Relaxed) {
            return (StatusCode::OK, "ok: waits for another replica to end\n".into());
        }
        let (ping, pong) = oneshot::channel();
        let asked = async {
            self.ask.send(ping).await.ok()?;
            pong.await.ok()
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Some(())) => (StatusCode::OK, "ok\n".into()),
            _ => {
                let words = format!("the dispatcher has not answered for {} s\n", PATIENCE.as_secs());
                (StatusCode::SERVICE_UNAVAILABLE, words)
            }
        }
    }

    /// `/readyz`
    pub fn ready(&self) -> (StatusCode, String) {
        if self.works.load(Ordering::Relaxed) && !self.listed.load(Ordering::Relaxed) {
            return (StatusCode::SERVICE_UNAVAILABLE, "the workflows have not been listed yet\n".into());
        }
        (StatusCode::OK, "ok\n".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_lives_while_the_dispatcher_answers() {
        let health = Health::default();
        assert_eq!((health.lives().await.0, health.ready().0), (StatusCode::OK, StatusCode::OK));
        health.works();
        assert_eq!(health.lives().await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(health.ready().0, StatusCode::SERVICE_UNAVAILABLE);
        health.listed();
        assert_eq!(health.ready().0, StatusCode::OK);
        let health = std::sync::Arc::new(health);
        let dispatcher = health.clone();
        let answers = tokio::spawn(async move {
            while let Some(ping) = dispatcher.asked().await {
                let _ = ping.send(());
            }
        });
        // The question that nobody answered is the first.
        assert_eq!(health.lives().await.0, StatusCode::OK);
        answers.abort();
    }
}

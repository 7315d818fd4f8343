//! Reads that workflows share: when many ask for one object, one request answers all who have come by then.
//!
//! Nobody is told what was there before he asked: who comes while a read is under way waits for the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

/// By path, who waits for the next read of what is being read.
type Waiting<T> = FxHashMap<String, Vec<oneshot::Sender<T>>>;

/// Reads of objects of one kind.
pub struct SharedReads<T>(Arc<Mutex<Waiting<T>>>);

impl<T> Default for SharedReads<T> {
    fn default() -> SharedReads<T> {
        SharedReads(Arc::default())
    }
}

impl<T> Clone for SharedReads<T> {
    fn clone(&self) -> SharedReads<T> {
        SharedReads(self.0.clone())
    }
}

impl<T: Clone + Send + 'static> SharedReads<T> {
    /// What a read of the object there brings that begins from now on. It goes on for the others when whoever asked first is gone.
    pub async fn ask<F>(&self, path: &str, read: impl Fn() -> F + Clone + Send + 'static) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (to, answer) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting();
            let is_first = !waiting.contains_key(path);
            waiting.entry(path.to_owned()).or_default().push(to);
            is_first
        };
        if is_first {
            tokio::spawn(self.clone().serve(path.to_owned(), read.clone()));
        }
        match answer.await {
            Ok(found) => found,
            // The read has died, and with it whoever waited for it.
            Err(_) => read().await,
        }
    }

    /// Reads for as long as somebody waits.
    async fn serve<F>(self, path: String, read: impl Fn() -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        while let Some(askers) = self.next(&path) {
            if let Ok(found) = tokio::spawn(read()).await {
                for asker in askers {
                    // Who is gone needs no answer.
                    let _ = asker.send(found.clone());
                }
            }
        }
    }

    /// Those who wait now; where nobody does, the next to come is a first one again.
    fn next(&self, path: &str) -> Option<Vec<oneshot::Sender<T>>> {
        let mut waiting = self.waiting();
        let askers = std::mem::take(waiting.get_mut(path)?);
        if askers.is_empty() {
            waiting.remove(path);
            return None;
        }
        Some(askers)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    const ROUND_TRIP: Duration = Duration::from_secs(1);

    /// Tells when each read began.
    fn moment() -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = Instant> + Send>> + Clone + Send + 'static {
        || {
            Box::pin(async {
                let begun = Instant::now();
                sleep(ROUND_TRIP).await;
                begun
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_share_a_read_that_begins_when_they_have_asked() {
        let (reads, count) = (SharedReads::default(), Arc::new(AtomicU32::new(0)));
        let mut all = tokio::task::JoinSet::new();
        for number in 0..100 {
            let (reads, count) = (reads.clone(), count.clone());
            all.spawn(async move {
                sleep(Duration::from_millis(number * 25)).await;
                let asked = Instant::now();
                let read = moment();
                let counted = move || {
                    count.fetch_add(1, Ordering::Relaxed);
                    read()
                };
                let begun = reads.ask("one", counted).await;
                assert!(begun >= asked, "what was read before is not told");
                assert!(asked.elapsed() <= 2 * ROUND_TRIP, "at most one read is waited for");
            });
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
        // They came for 2.5 s, and a read takes one.
        assert_eq!(count.load(Ordering::Relaxed), 4);
        assert!(reads.waiting().is_empty(), "nothing is left of it");
    }

    #[tokio::test(start_paused = true)]
    async fn others_are_answered_when_the_first_one_goes() {
        let reads = SharedReads::default();
        let first = tokio::spawn({
            let reads = reads.clone();
            async move { reads.ask("one", moment()).await }
        });
        let other = tokio::spawn({
            let reads = reads.clone();
            async move { reads.ask("one", moment()).await }
        });
        sleep(ROUND_TRIP / 2).await;
        first.abort();
        let elsewhere = Instant::now();
        reads.ask("two", moment()).await;
        assert_eq!(elsewhere.elapsed(), ROUND_TRIP, "other objects are not waited for");
        other.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_dies_is_not_the_end_of_reading() {
        let (reads, fails) = (SharedReads::default(), Arc::new(AtomicU32::new(1)));
        let read = move || {
            let fails = fails.clone();
            async move {
                assert_eq!(fails.swap(0, Ordering::Relaxed), 0, "on purpose");
                7
            }
        };
        assert_eq!(reads.ask("one", read.clone()).await, 7);
        assert_eq!(reads.ask("one", read).await, 7);
    }
}

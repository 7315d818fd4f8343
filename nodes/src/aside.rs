//! Work that takes long and waits for nothing: while it is done on a thread of tokio's, the tasks of that thread stand still.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Bytes of JSON or gzip from which on work on them is long: a millisecond and more.
pub(crate) const LONG: usize = 64 * 1024;

/// Does work on so many bytes. Where they are many, other tasks of this thread go on in another one meanwhile. The task that
/// calls this waits: nothing is copied for another thread, and what the task does keeps its order.
pub(crate) fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    // A runtime of one thread has nowhere to go on.
    let elsewhere = || Handle::try_current().is_ok_and(|here| here.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes >= LONG && elsewhere() { block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_of_the_thread_go_on() {
        let (to, from) = channel();
        let long = tokio::spawn(async move {
            tokio::spawn(async move { to.send(()) });
            // Without the other task it does not end.
            aside(LONG, || from.recv_timeout(Duration::from_secs(30)))
        });
        long.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn one_thread_does_it_itself() {
        assert_eq!(aside(LONG, || 1), 1);
    }

    #[test]
    fn no_runtime_is_needed() {
        assert_eq!(aside(LONG, || 1), 1);
    }
}

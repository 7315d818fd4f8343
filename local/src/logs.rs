//! Shows what containers write while they write it, and tells of results that `wait` reports before its end.
//!
//! Containers write into files of the run's folder, so nothing is lost with this process; what is shown here is read back
//! from there. Where the kernel gives no inotify, lines are shown when their container ends.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use nix::sys::inotify::WatchDescriptor;
use tiphys_engine::NodeId;
use tokio::sync::{mpsc, oneshot};

use crate::tail::{Tail, Watcher};
use crate::view::{Happening, LogLine, Observer};

/// A container of a node.
type Key = (NodeId, String);

/// What is asked of the task that follows the files.
#[derive(Debug)]
enum Order {
    Follow { key: Key, display_name: String, path: PathBuf },
    Finish { key: Key, done: oneshot::Sender<()> },
}

/// The logs of a run's running containers.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    orders: Option<mpsc::UnboundedSender<Order>>,
}

impl Logs {
    /// Follows logs, on the calling runtime; without an observer nothing is followed.
    pub fn start(observer: Option<Observer>) -> Logs {
        let orders = observer.map(|observer| {
            let (orders, queue) = mpsc::unbounded_channel();
            tokio::spawn(Follower { observer, watcher: Watcher::new().ok(), followed: HashMap::new() }.run(queue));
            orders
        });
        Logs { orders }
    }

    /// Begins to show a container's log.
    pub fn follow(&self, node: &NodeId, container: &str, display_name: &str, path: &Path) {
        let key = (node.clone(), container.to_owned());
        self.send(Order::Follow { key, display_name: display_name.to_owned(), path: path.to_owned() });
    }

    /// Shows the rest of a container's log; returns when it has been shown.
    pub async fn finish(&self, node: &NodeId, container: &str) {
        let (done, shown) = oneshot::channel();
        if self.send(Order::Finish { key: (node.clone(), container.to_owned()), done }) {
            let _ = shown.await;
        }
    }

    fn send(&self, order: Order) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }
}

struct Followed {
    display_name: String,
    tail: Tail,
    watch: Option<WatchDescriptor>,
}

struct Follower {
    observer: Observer,
    watcher: Option<Watcher<Key>>,
    followed: HashMap<Key, Followed>,
}

impl Follower {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let changed = async {
                match &mut self.watcher {
                    Some(watcher) => watcher.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                changed = changed => match changed {
                    Ok(keys) => keys.iter().for_each(|key| self.show(key, false)),
                    Err(_) => self.watcher = None,
                },
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Follow { key, display_name, path } => {
                let watch = self.watcher.as_mut().and_then(|watcher| watcher.watch(&path, key.clone()).ok());
                self.followed.insert(key, Followed { display_name, tail: Tail::new(&path), watch });
            }
            Order::Finish { key, done } => {
                self.show(&key, true);
                if let (Some(followed), Some(watcher)) = (self.followed.remove(&key), &mut self.watcher)
                    && let Some(watch) = followed.watch
                {
                    watcher.forget(watch);
                }
                let _ = done.send(());
            }
        }
    }

    fn show(&mut self, key: &Key, at_end: bool) {
        let Some(Followed { display_name, tail, .. }) = self.followed.get_mut(key) else { return };
        tail.read(at_end, |text| {
            (self.observer)(Happening::Log(LogLine {
                node: display_name.clone(),
                container: key.1.clone(),
                text: text.to_owned(),
            }));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::sync::Arc;

    #[tokio::test]
    async fn lines_are_shown_as_they_come_and_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = File::create(&path).unwrap();
        let (to, mut lines) = mpsc::unbounded_channel();
        let logs = Logs::start(Some(Arc::new(move |happening| to.send(happening).unwrap())));
        let node = NodeId::from("n");
        logs.follow(&node, "main", "step", &path);
        file.write_all(b"one\ntwo").unwrap();
        let text = |happening| match happening {
            Happening::Log(LogLine { node, container, text }) => format!("{node}/{container}: {text}"),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(lines.recv().await.unwrap()), "step/main: one");
        logs.finish(&node, "main").await;
        assert_eq!(text(lines.try_recv().unwrap()), "step/main: two");
        // Nothing is followed, and nothing waits.
        Logs::start(None).finish(&node, "main").await;
    }
}

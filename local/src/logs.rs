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
type Container = (NodeId, String);

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Log(Container),
    Results(NodeId),
}

/// What is asked of the task that follows the files.
#[derive(Debug)]
enum Order {
    Follow { key: Container, display_name: String, path: PathBuf },
    Finish { key: Container, done: oneshot::Sender<()> },
    FollowResults { node: NodeId, path: PathBuf, changed: mpsc::UnboundedSender<()> },
    FinishResults { node: NodeId },
}

/// The logs and results of a run's running containers.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    orders: mpsc::UnboundedSender<Order>,
    shows: bool,
}

impl Logs {
    /// Follows files, on the calling runtime; without an observer, results only.
    pub fn start(observer: Option<Observer>) -> Logs {
        let (orders, queue) = mpsc::unbounded_channel();
        let shows = observer.is_some();
        let follower =
            Follower { observer, watcher: Watcher::new().ok(), followed: HashMap::new(), results: HashMap::new() };
        tokio::spawn(follower.run(queue));
        Logs { orders, shows }
    }

    /// Begins to show a container's log.
    pub fn follow(&self, node: &NodeId, container: &str, display_name: &str, path: &Path) {
        if self.shows {
            let key = (node.clone(), container.to_owned());
            self.send(Order::Follow { key, display_name: display_name.to_owned(), path: path.to_owned() });
        }
    }

    /// Shows the rest of a container's log; returns when it has been shown.
    pub async fn finish(&self, node: &NodeId, container: &str) {
        let (done, shown) = oneshot::channel();
        if self.shows && self.send(Order::Finish { key: (node.clone(), container.to_owned()), done }) {
            let _ = shown.await;
        }
    }

    /// Tells whenever a file in the folder of a node's results is new, until the sender is closed.
    pub fn follow_results(&self, node: &NodeId, path: &Path, changed: mpsc::UnboundedSender<()>) {
        self.send(Order::FollowResults { node: node.clone(), path: path.to_owned(), changed });
    }

    /// Ends what [`Logs::follow_results`] began.
    pub fn finish_results(&self, node: &NodeId) {
        self.send(Order::FinishResults { node: node.clone() });
    }

    fn send(&self, order: Order) -> bool {
        self.orders.send(order).is_ok()
    }
}

struct Followed {
    display_name: String,
    tail: Tail,
    watch: Option<WatchDescriptor>,
}

struct Results {
    changed: mpsc::UnboundedSender<()>,
    watch: Option<WatchDescriptor>,
}

struct Follower {
    observer: Option<Observer>,
    watcher: Option<Watcher<Key>>,
    followed: HashMap<Container, Followed>,
    results: HashMap<NodeId, Results>,
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
                    Ok(keys) => keys.iter().for_each(|key| self.see(key)),
                    Err(_) => self.watcher = None,
                },
            }
        }
    }

    fn see(&mut self, key: &Key) {
        match key {
            Key::Log(container) => self.show(container, false),
            Key::Results(node) => {
                if let Some(results) = self.results.get(node) {
                    // A Pod that is over wants to know no more.
                    let _ = results.changed.send(());
                }
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Follow { key, display_name, path } => {
                let watch = self.watch(&path, Key::Log(key.clone()));
                self.followed.insert(key.clone(), Followed { display_name, tail: Tail::new(&path), watch });
                // What was written before the watch was there tells of itself no more.
                self.show(&key, false);
            }
            Order::Finish { key, done } => {
                self.show(&key, true);
                if let Some(followed) = self.followed.remove(&key) {
                    self.forget(followed.watch);
                }
                let _ = done.send(());
            }
            Order::FollowResults { node, path, changed } => {
                let watch = self.watch(&path, Key::Results(node.clone()));
                self.results.insert(node, Results { changed, watch });
            }
            Order::FinishResults { node } => {
                if let Some(results) = self.results.remove(&node) {
                    self.forget(results.watch);
                }
            }
        }
    }

    fn watch(&mut self, path: &Path, key: Key) -> Option<WatchDescriptor> {
        self.watcher.as_mut()?.watch(path, key).ok()
    }

    fn forget(&mut self, watch: Option<WatchDescriptor>) {
        if let (Some(watch), Some(watcher)) = (watch, &mut self.watcher) {
            watcher.forget(watch);
        }
    }

    fn show(&mut self, key: &Container, at_end: bool) {
        let (Some(Followed { display_name, tail, .. }), Some(observer)) = (self.followed.get_mut(key), &self.observer)
        else {
            return;
        };
        tail.read(at_end, |text| {
            observer(Happening::Log(LogLine {
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
        // Nothing is shown, and nothing waits.
        let logs = Logs::start(None);
        logs.finish(&node, "main").await;
        let (changed, mut told) = mpsc::unbounded_channel();
        logs.follow_results(&node, folder.path(), changed);
        // The watch is in place once a further order has been obeyed: one is given until a change is told.
        while told.try_recv().is_err() {
            File::create(folder.path().join("result.json")).unwrap();
            tokio::task::yield_now().await;
        }
        logs.finish_results(&node);
        while told.recv().await.is_some() {}
    }
}

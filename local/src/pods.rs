//! The Pods of a run: at most so many at once, the others wait in line.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use tiphys_engine::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::pod::{PodJob, Progress, Shop, run};

/// A Pod that was asked for and is not over.
#[derive(Debug)]
struct Entry {
    /// Ends it; None once that was asked.
    end: Option<oneshot::Sender<()>>,
    /// Whether it counts against the limit: it has begun, and is no daemon that is ready.
    counts: bool,
}

/// All Pods of a run that are not over.
pub(crate) struct Pods {
    limit: NonZeroUsize,
    shop: Arc<Shop>,
    to: mpsc::UnboundedSender<Progress>,
    entries: HashMap<NodeId, Entry>,
    line: VecDeque<PodJob>,
    counting: usize,
    tasks: JoinSet<()>,
}

impl Pods {
    pub fn new(limit: NonZeroUsize, shop: Arc<Shop>, to: mpsc::UnboundedSender<Progress>) -> Pods {
        Pods { limit, shop, to, entries: HashMap::new(), line: VecDeque::new(), counting: 0, tasks: JoinSet::new() }
    }

    /// Starts a Pod, now or when there is room. One that is there already is not started again.
    pub fn create(&mut self, node: &NodeId, job: impl FnOnce(oneshot::Receiver<()>) -> PodJob) {
        if self.entries.contains_key(node) {
            return;
        }
        let (end, ended) = oneshot::channel();
        self.entries.insert(node.clone(), Entry { end: Some(end), counts: false });
        self.line.push_back(job(ended));
        self.start_next();
    }

    /// Ends a Pod. False if there is none that had begun: it will never be heard of then.
    pub fn end(&mut self, node: &NodeId) -> bool {
        if let Some(place) = self.line.iter().position(|job| job.request.node_id == node.as_str()) {
            self.line.remove(place);
            self.entries.remove(node);
            return false;
        }
        let Some(entry) = self.entries.get_mut(node) else { return false };
        if let Some(end) = entry.end.take() {
            // A task that is over already needs no order.
            let _ = end.send(());
        }
        true
    }

    /// Ends all Pods.
    pub fn end_all(&mut self) {
        let nodes: Vec<NodeId> = self.entries.keys().cloned().collect();
        for node in nodes {
            self.end(&node);
        }
    }

    /// A daemon is up: it no longer keeps others from starting.
    pub fn make_room(&mut self, node: &NodeId) {
        if let Some(entry) = self.entries.get_mut(node)
            && std::mem::take(&mut entry.counts)
        {
            self.counting -= 1;
        }
        self.start_next();
    }

    /// A Pod is over.
    pub fn over(&mut self, node: &NodeId) {
        self.make_room(node);
        self.entries.remove(node);
        // What has ended is let go of.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Whether nothing runs or waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn start_next(&mut self) {
        while self.counting < self.limit.get()
            && let Some(job) = self.line.pop_front()
        {
            if let Some(entry) = self.entries.get_mut(job.request.node_id.as_str()) {
                entry.counts = true;
                self.counting += 1;
            }
            self.tasks.spawn(run(job, self.shop.clone(), self.to.clone()));
        }
    }
}

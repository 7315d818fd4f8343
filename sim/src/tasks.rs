//! The tasks of the cluster: what its agents carry out, and what can be seen of it.

use std::collections::BTreeMap;

use tiphys_api::NodeResult;
use tiphys_engine::{Fact, NodeId};

struct Task {
    /// What will come of it.
    outcome: NodeResult,
    /// Whether it has.
    done: bool,
}

/// The tasks by node.
#[derive(Default)]
pub(crate) struct Tasks(BTreeMap<NodeId, Task>);

impl Tasks {
    pub fn contains(&self, node: &NodeId) -> bool {
        self.0.contains_key(node)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn nodes(&self) -> Vec<NodeId> {
        self.0.keys().cloned().collect()
    }

    pub fn add(&mut self, node: NodeId, outcome: NodeResult) {
        self.0.insert(node, Task { outcome, done: false });
    }

    pub fn remove(&mut self, node: &NodeId) {
        self.0.remove(node);
    }

    /// A task comes out as it was meant to. False: it was taken back.
    pub fn end(&mut self, node: &NodeId) -> bool {
        self.0.get_mut(node).map(|task| task.done = true).is_some()
    }

    /// What can be seen of a task.
    pub fn fact(&self, node: &NodeId) -> Option<Fact> {
        let task = self.0.get(node)?;
        let result = if task.done { task.outcome.clone() } else { NodeResult::default() };
        Some(Fact::NodeResult { node: node.clone(), result: Box::new(result) })
    }
}

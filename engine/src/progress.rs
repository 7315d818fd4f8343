//! What composite nodes sum up of everything that can be reached from them: progress (argo: progress/updater.go) and the use of
//! resources (argo: util/resource/updater.go).
//!
//! In Argo's graph what follows a node hangs under it, so that a group's sums include the groups after it. Keeping
//! those up to date at every event would cost as much as the workflow is long. They are computed when the workflow
//! is over, and when a driver asks; the workflow's own are always up to date.

use std::collections::{BTreeMap, HashMap, HashSet};

use tiphys_api::{NodeStatus, NodeType};

use crate::id::NodeId;
use crate::node::{has_own_progress, parse_progress};
use crate::run::{Run, phase_fulfilled};

/// What is summed up.
#[derive(Clone, Default)]
struct Sum {
    done: i64,
    total: i64,
    /// Seconds times request, by resource.
    resources: BTreeMap<String, i64>,
}

impl Sum {
    /// A node's own share comes in.
    fn add(&mut self, node: &NodeStatus) {
        if has_own_progress(node.r#type) {
            let (done, total) = parse_progress(&node.progress);
            self.done += done;
            self.total += total;
        }
        if node.r#type == NodeType::Pod {
            charge(&mut self.resources, &node.resources_duration, 1);
        }
    }
}

/// Adds what was used so many times.
fn charge(total: &mut BTreeMap<String, i64>, used: &BTreeMap<String, i64>, times: i64) {
    for (resource, seconds) in used {
        *total.entry(resource.clone()).or_insert(0) += seconds * times;
    }
}

impl Run {
    /// Brings progress and use of resources of composite nodes up to date.
    pub fn sum_up(&mut self) {
        for (id, sum) in self.sums() {
            let Some(node) = self.wf.status.nodes.get_mut(id.as_str()) else { continue };
            let text = format!("{}/{}", sum.done, sum.total);
            let mut changed = false;
            if !has_own_progress(node.r#type) && sum.total > 0 && node.progress != text {
                node.progress = text;
                changed = true;
            }
            if phase_fulfilled(node) && node.resources_duration != sum.resources {
                node.resources_duration = sum.resources;
                changed = true;
            }
            if changed {
                self.changed.insert(id);
            }
        }
    }

    /// What a Pod has used is known; `before` is what was known of it until then.
    pub(crate) fn note_use(&mut self, before: &BTreeMap<String, i64>, used: &BTreeMap<String, i64>) {
        if before != used {
            let total = &mut self.wf.status.resources_duration;
            charge(total, before, -1);
            charge(total, used, 1);
            self.out.status_changed = true;
        }
    }

    /// What all Pods of a status that was taken over have used.
    pub(crate) fn sum_use(&mut self) {
        let mut total = BTreeMap::new();
        for node in self.wf.status.nodes.values().filter(|node| node.r#type == NodeType::Pod) {
            charge(&mut total, &node.resources_duration, 1);
        }
        self.out.status_changed |= self.wf.status.resources_duration != total;
        self.wf.status.resources_duration = total;
    }

    fn sums(&self) -> Vec<(NodeId, Sum)> {
        let nodes = &self.wf.status.nodes;
        let mut below: HashMap<&str, Sum> = HashMap::new();
        let mut sums = Vec::new();
        for (id, node) in nodes.iter().filter(|(_, node)| node.r#type != NodeType::Pod) {
            sums.push((NodeId::from(id.as_str()), self.below(id, &mut below)));
            debug_assert!(node.id == *id);
        }
        sums
    }

    /// The sum over what can be reached from a node. A chain, where every node has one child, is walked once in all.
    fn below<'a>(&'a self, start: &'a str, known: &mut HashMap<&'a str, Sum>) -> Sum {
        let mut chain = Vec::new();
        let mut at = start;
        let base = loop {
            if let Some(sum) = known.get(at) {
                break sum.clone();
            }
            let Some(node) = self.node(at) else { break Sum::default() };
            match node.children.as_slice() {
                [] => break Sum::default(),
                [only] => {
                    chain.push((at, only.as_str()));
                    at = only;
                }
                _ => break self.reachable(at),
            }
        };
        known.insert(at, base.clone());
        let mut sum = base;
        for (node, child) in chain.into_iter().rev() {
            self.node(child).into_iter().for_each(|child| sum.add(child));
            known.insert(node, sum.clone());
        }
        sum
    }

    fn reachable(&self, start: &str) -> Sum {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut open: Vec<&str> =
            self.node(start).into_iter().flat_map(|node| &node.children).map(String::as_str).collect();
        let mut sum = Sum::default();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let Some(node) = self.node(id) else { continue };
            sum.add(node);
            open.extend(node.children.iter().map(String::as_str));
        }
        sum
    }
}

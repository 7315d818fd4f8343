//! The progress of composite nodes: the sum over everything that can be reached from them. argo: progress/updater.go.
//!
//! In Argo's graph what follows a node hangs under it, so that a group's progress includes the groups after it. Keeping
//! those sums up to date at every event would cost as much as the workflow is long. They are computed when the workflow
//! is over, and when a driver asks; the workflow's own progress is always up to date.

use std::collections::{HashMap, HashSet};

use crate::id::NodeId;
use crate::node::{has_own_progress, parse_progress};
use crate::run::Run;

impl Run {
    /// Brings the progress of composite nodes up to date.
    pub fn sum_progress(&mut self) {
        let sums = self.sums();
        for (id, (done, total)) in sums {
            let id = NodeId::from(id.as_str());
            let text = format!("{done}/{total}");
            let known = self.wf.status.nodes.get_mut(id.as_str());
            if let Some(node) = known.filter(|node| total > 0 && node.progress != text) {
                node.progress = text;
                self.changed.insert(id);
            }
        }
    }

    fn sums(&self) -> HashMap<String, (i64, i64)> {
        let nodes = &self.wf.status.nodes;
        let mut below: HashMap<&str, (i64, i64)> = HashMap::new();
        let mut sums = HashMap::new();
        for (id, node) in nodes.iter().filter(|(_, node)| !has_own_progress(node.r#type)) {
            sums.insert(id.clone(), self.below(id, &mut below));
            debug_assert!(node.id == *id);
        }
        sums
    }

    /// The sum over what can be reached from a node. A chain, where every node has one child, is walked once in all.
    fn below<'a>(&'a self, start: &'a str, known: &mut HashMap<&'a str, (i64, i64)>) -> (i64, i64) {
        let mut chain = Vec::new();
        let mut at = start;
        let base = loop {
            if let Some(sum) = known.get(at) {
                break *sum;
            }
            let Some(node) = self.node(at) else { break (0, 0) };
            match node.children.as_slice() {
                [] => break (0, 0),
                [only] => {
                    chain.push((at, only.as_str()));
                    at = only;
                }
                _ => break self.reachable(at),
            }
        };
        known.insert(at, base);
        let mut sum = base;
        for (node, child) in chain.into_iter().rev() {
            let own = self.own(child);
            sum = (sum.0 + own.0, sum.1 + own.1);
            known.insert(node, sum);
        }
        sum
    }

    fn reachable(&self, start: &str) -> (i64, i64) {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut open: Vec<&str> =
            self.node(start).into_iter().flat_map(|node| &node.children).map(String::as_str).collect();
        let mut sum = (0, 0);
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let own = self.own(id);
            sum = (sum.0 + own.0, sum.1 + own.1);
            open.extend(self.node(id).into_iter().flat_map(|node| &node.children).map(String::as_str));
        }
        sum
    }

    fn own(&self, id: &str) -> (i64, i64) {
        self.node(id).filter(|node| has_own_progress(node.r#type)).map_or((0, 0), |node| parse_progress(&node.progress))
    }
}

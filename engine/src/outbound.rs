//! Outbound nodes: where what comes after a node is hung. argo: operator.go, getOutboundNodes.

use tiphys_api::{NodeStatus, NodeType};

use crate::frame::{Body, Key, Parent};
use crate::id::NodeId;
use crate::run::Run;

impl Run {
    /// The nodes under which what follows a node is hung.
    pub(crate) fn outbound(&self, id: &NodeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        self.collect_outbound(id.as_str(), &mut found);
        found
    }

    fn collect_outbound(&self, id: &str, found: &mut Vec<NodeId>) {
        let Some(node) = self.node(id) else { return };
        match node.r#type {
            NodeType::Skipped | NodeType::Suspend | NodeType::Http | NodeType::Plugin => found.push(id.into()),
            NodeType::Pod if !self.has_containers(node) => found.push(id.into()),
            NodeType::Pod | NodeType::Container | NodeType::TaskGroup => self.collect_from_children(node, found),
            NodeType::Retry if !node.children.is_empty() => {
                found.extend(node.children.last().map(|last| NodeId::from(last.as_str())));
            }
            NodeType::Steps | NodeType::Dag
                if node.memoization_status.as_ref().is_some_and(|memo| memo.hit == Some(true)) =>
            {
                found.push(id.into());
            }
            _ => {
                for next in &node.outbound_nodes {
                    self.collect_outbound(next, found);
                }
            }
        }
    }

    fn collect_from_children(&self, node: &NodeStatus, found: &mut Vec<NodeId>) {
        if node.children.is_empty() {
            found.push(node.id.as_str().into());
        }
        for id in &node.children {
            let Some(child) = self.node(id) else { continue };
            // A child of another boundary belongs to what comes after: this container is the last one.
            if node.r#type == NodeType::Container && child.boundary_id != node.boundary_id {
                found.push(node.id.as_str().into());
            } else {
                self.collect_outbound(id, found);
            }
        }
    }

    fn has_containers(&self, node: &NodeStatus) -> bool {
        node.children.iter().any(|id| {
            self.node(id).is_some_and(|child| child.r#type == NodeType::Container && child.boundary_id == node.id)
        })
    }

    /// The nodes of steps or a DAG that has ended early under which nothing hangs yet.
    fn last_made(&self, key: Key) -> Vec<NodeId> {
        match &self.frames[key].body {
            Body::Steps(body) => body.groups.last().map(|group| self.frames[*group].id.clone()).into_iter().collect(),
            Body::Dag(body) => {
                let ends = body.slots.iter().flat_map(|slot| self.outbound(&slot.node));
                ends.filter(|end| self.node(end.as_str()).is_some_and(|node| node.children.is_empty())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Writes down the outbound nodes of steps or a DAG that is over.
    pub(crate) fn mark_outbound(&mut self, key: Key) {
        let mut found = Vec::new();
        match &self.frames[key].body {
            Body::Steps(body) => {
                let last = body.groups.last().and_then(|group| self.frame_node(*group));
                for child in last.iter().flat_map(|node| &node.children) {
                    self.collect_outbound(child, &mut found);
                }
            }
            Body::Dag(body) => {
                for target in &body.targets {
                    self.collect_outbound(body.slots[*target].node.as_str(), &mut found);
                }
            }
            _ => return,
        }
        if found.is_empty() && !matches!(self.frames[key].parent, Parent::Entry | Parent::Exit) {
            // It ended before its last nodes were made. Argo writes none, so that what follows hangs under nothing.
            found = self.last_made(key);
        }
        let id = self.frames[key].id.clone();
        self.change(&id, |node| node.outbound_nodes = found.iter().map(ToString::to_string).collect());
    }
}

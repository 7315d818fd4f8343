//! `status.nodes`: the nodes of a workflow by their ids.

use std::fmt;
use std::ops::Index;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::object::Field;
use crate::status::NodeStatus;

/// A workflow's nodes by id. One is found by hash, so that this costs the same in a workflow of a hundred nodes and of a
/// hundred thousand; they lie in the order in which they came, since those that came together are needed together. All of them are
/// gone through, and written, in the order of their ids, which sorts them anew each time.
#[derive(Clone, Default, PartialEq)]
pub struct Nodes {
    by_id: IndexMap<String, NodeStatus, FxBuildHasher>,
}

impl Nodes {
    /// The node with that id.
    pub fn get(&self, id: &str) -> Option<&NodeStatus> {
        self.by_id.get(id)
    }

    /// The node with that id, to be changed.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut NodeStatus> {
        self.by_id.get_mut(id)
    }

    /// The node with that id, and its id as it is kept here.
    pub fn get_key_value(&self, id: &str) -> Option<(&String, &NodeStatus)> {
        self.by_id.get_key_value(id)
    }

    /// Whether there is a node with that id.
    pub fn contains_key(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Puts a node under an id; returns its index, which stays the same until [`Nodes::retain`].
    pub fn insert(&mut self, id: String, node: NodeStatus) -> usize {
        self.by_id.insert_full(id, node).0
    }

    /// The index of the node with that id.
    pub fn index_of(&self, id: &str) -> Option<usize> {
        self.by_id.get_index_of(id)
    }

    /// The node with that index.
    pub fn at(&self, index: usize) -> Option<&NodeStatus> {
        self.by_id.get_index(index).map(|(_, node)| node)
    }

    /// The node with that index, to be changed.
    pub fn at_mut(&mut self, index: usize) -> Option<&mut NodeStatus> {
        self.by_id.get_index_mut(index).map(|(_, node)| node)
    }

    /// Keeps the nodes for which `keep` says so; asked in no order.
    pub fn retain(&mut self, keep: impl FnMut(&String, &mut NodeStatus) -> bool) {
        self.by_id.retain(keep);
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Ids and nodes, in the order of ids.
    pub fn iter(&self) -> std::vec::IntoIter<(&String, &NodeStatus)> {
        sorted(self.by_id.iter().collect(), |(id, _)| id)
    }

    /// The ids, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &String> + Clone {
        self.iter().map(|(id, _)| id)
    }

    /// The nodes, in the order of ids.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &NodeStatus> + ExactSizeIterator + Clone {
        self.iter().map(|(_, node)| node)
    }

    /// Ids and nodes to be changed, in the order of ids.
    pub fn iter_mut(&mut self) -> std::vec::IntoIter<(&String, &mut NodeStatus)> {
        sorted(self.by_id.iter_mut().collect(), |(id, _)| id)
    }

    /// The nodes themselves, in the order of ids.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = NodeStatus> {
        self.into_iter().map(|(_, node)| node)
    }
}

fn sorted<T>(mut items: Vec<T>, id: impl Fn(&T) -> &String) -> std::vec::IntoIter<T> {
    items.sort_unstable_by(|a, b| id(a).cmp(id(b)));
    items.into_iter()
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl Index<&str> for Nodes {
    type Output = NodeStatus;
    /// Panics where there is none with that id, as maps do.
    fn index(&self, id: &str) -> &NodeStatus {
        &self.by_id[id]
    }
}

impl<'a> IntoIterator for &'a Nodes {
    type Item = (&'a String, &'a NodeStatus);
    type IntoIter = std::vec::IntoIter<Self::Item>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Nodes {
    type Item = (String, NodeStatus);
    type IntoIter = std::vec::IntoIter<Self::Item>;
    fn into_iter(self) -> Self::IntoIter {
        sorted(self.by_id.into_iter().collect(), |(id, _)| id)
    }
}

impl FromIterator<(String, NodeStatus)> for Nodes {
    fn from_iter<I: IntoIterator<Item = (String, NodeStatus)>>(items: I) -> Nodes {
        Nodes { by_id: items.into_iter().collect() }
    }
}

impl Field for Nodes {
    fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
    fn unknown_fields(&self, path: &str, found: &mut dyn FnMut(String)) {
        for (id, node) in self {
            node.unknown_fields(&format!("{path}.{id}"), found);
        }
    }
}

impl Serialize for Nodes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Nodes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of nodes")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Nodes, M::Error> {
                let mut nodes = Nodes::default();
                while let Some((id, node)) = map.next_entry()? {
                    nodes.insert(id, node);
                }
                Ok(nodes)
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_written_in_the_order_of_their_ids() {
        let text = r#"{"wf-1":{"id":"wf-1"},"wf-10":{"id":"wf-10","newer":1},"wf-2":{"id":"wf-2"}}"#;
        let nodes: Nodes = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&nodes).unwrap(), text);
        assert_eq!(nodes.keys().collect::<Vec<_>>(), ["wf-1", "wf-10", "wf-2"]);
        assert_eq!(nodes.values().next_back().unwrap().id, "wf-2");
        let mut unknown = Vec::new();
        nodes.unknown_fields("status.nodes", &mut |path| unknown.push(path));
        assert_eq!(unknown, ["status.nodes.wf-10.newer"]);
    }
}

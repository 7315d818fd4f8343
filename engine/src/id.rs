//! Names and ids of nodes and Pods.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The id of a node: the key of `status.nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The id of the node with that full name. argo: workflow_types.go, Workflow.NodeID.
    pub fn of(workflow: &str, node_name: &str) -> NodeId {
        if node_name == workflow {
            return NodeId(workflow.into());
        }
        NodeId(format!("{workflow}-{}", fnv1a_32(node_name)).into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NodeId {
    fn from(text: &str) -> Self {
        NodeId(text.into())
    }
}

impl Borrow<str> for NodeId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which way Pods are named. argo: workflow/util/pod_name.go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodNameFormat {
    /// The node's id.
    V1,
    /// Workflow, template, hash of the node's name.
    #[default]
    V2,
}

impl PodNameFormat {
    /// The word in the workflow's annotation.
    pub fn as_str(self) -> &'static str {
        match self {
            PodNameFormat::V1 => "v1",
            PodNameFormat::V2 => "v2",
        }
    }
}

/// The longest prefix of a Pod name before its hash: 253 characters less a dash and ten digits.
const MAX_PREFIX: usize = 253 - 11;

/// The name of a node's Pod.
pub fn pod_name(format: PodNameFormat, workflow: &str, node_name: &str, template: &str) -> String {
    if node_name == workflow {
        return workflow.to_string();
    }
    match format {
        PodNameFormat::V1 => NodeId::of(workflow, node_name).to_string(),
        PodNameFormat::V2 => {
            let mut prefix = workflow.to_string();
            if !template.is_empty() {
                prefix.push('-');
                prefix.push_str(template);
            }
            let mut cut = prefix.len().min(MAX_PREFIX);
            while !prefix.is_char_boundary(cut) {
                cut -= 1;
            }
            prefix.truncate(cut);
            format!("{prefix}-{}", fnv1a_32(node_name))
        }
    }
}

/// 32-bit FNV-1a, as Go's `hash/fnv.New32a`.
pub fn fnv1a_32(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_are_argos() {
        assert_eq!(NodeId::of("wf", "wf").as_str(), "wf");
        // FNV-1a test vectors: "" and "a" and "foobar".
        assert_eq!(fnv1a_32(""), 0x811c_9dc5);
        assert_eq!(fnv1a_32("a"), 0xe40c_292c);
        assert_eq!(fnv1a_32("foobar"), 0xbf9c_f968);
        assert_eq!(NodeId::of("foobar", "a").as_str(), "foobar-3826002220");
    }

    #[test]
    fn pod_names() {
        assert_eq!(pod_name(PodNameFormat::V2, "wf", "wf", "t"), "wf");
        assert_eq!(pod_name(PodNameFormat::V2, "wf", "a", "t"), "wf-t-3826002220");
        assert_eq!(pod_name(PodNameFormat::V2, "wf", "a", ""), "wf-3826002220");
        assert_eq!(pod_name(PodNameFormat::V1, "wf", "a", "t"), "wf-3826002220");
        assert_eq!(pod_name(PodNameFormat::V2, "wf", "a", &"t".repeat(300)).len(), 253);
    }
}

//! What the shadow tells of a workflow: where the live controller and ours part.

use std::collections::BTreeSet;
use std::fmt;

/// Divergences of one workflow that are told one by one. What follows is mostly more of the same, and only counted.
const TOLD: usize = 100;
/// The most characters of a value that are told.
const LONGEST: usize = 160;

/// What a divergence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// We would have made a Pod, and the live controller did not.
    PodMissing,
    /// The live controller made a Pod, and we would not have.
    PodUnexpected,
    /// Both make the Pod, of another form.
    PodSpec,
    /// We would have a node, and the live controller has none.
    NodeMissing,
    /// The live controller has a node, and we would have none.
    NodeUnexpected,
    /// Both have the node, and it ended otherwise.
    Node,
    /// The workflow itself ended otherwise.
    Workflow,
}

impl Kind {
    /// The label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::PodMissing => "pod_missing",
            Kind::PodUnexpected => "pod_unexpected",
            Kind::PodSpec => "pod_spec",
            Kind::NodeMissing => "node_missing",
            Kind::NodeUnexpected => "node_unexpected",
            Kind::Node => "node",
            Kind::Workflow => "workflow",
        }
    }
}

/// One place where the live controller and ours part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// What it is about.
    pub kind: Kind,
    /// The node's name; the workflow's where it is about the workflow.
    pub node: String,
    /// The field, as `.spec.containers[1].image`; empty where it is about the whole.
    pub at: String,
    /// `theirs / ours`, or what else there is to say.
    pub difference: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (end, more) = match self.difference.char_indices().nth(LONGEST) {
            Some((end, _)) => (end, "…"),
            None => (self.difference.len(), ""),
        };
        write!(f, "{} {}{}: {}{more}", self.kind.as_str(), self.node, self.at, &self.difference[..end])
    }
}

/// What becomes of a divergence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It was told before.
    Known,
    /// There are too many for it to be told.
    Counted,
    /// It is to be told.
    Told,
}

/// What was told of a workflow, each divergence once.
#[derive(Debug, Default)]
pub struct Report {
    known: BTreeSet<(Kind, String, String)>,
    /// Nodes of which something was told: what follows from that is not told again.
    nodes: BTreeSet<String>,
    /// Their texts, for the line at the end.
    pub lines: Vec<String>,
    /// How many there were in all.
    pub count: usize,
}

impl Report {
    /// Takes one in.
    pub fn add(&mut self, divergence: &Divergence) -> News {
        let Divergence { kind, node, at, .. } = divergence;
        let key = (*kind, node.clone(), at.clone());
        if self.known.contains(&key) {
            return News::Known;
        }
        self.count += 1;
        if self.is_full() {
            return News::Counted;
        }
        self.known.insert(key);
        if matches!(kind, Kind::Node | Kind::NodeMissing | Kind::NodeUnexpected) {
            self.nodes.insert(node.clone());
        }
        self.lines.push(divergence.to_string());
        News::Told
    }

    /// Whether something was told of how a node ended.
    pub fn knows(&self, node: &str) -> bool {
        self.nodes.contains(node)
    }

    /// Whether there were more than are told.
    pub fn is_full(&self) -> bool {
        self.lines.len() >= TOLD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_not_too_many() {
        let one = |number: usize| Divergence {
            kind: Kind::Node,
            node: format!("wf.{number}"),
            at: ".phase".into(),
            difference: "ü".repeat(LONGEST + 1),
        };
        let mut report = Report::default();
        assert_eq!([report.add(&one(0)), report.add(&one(0))], [News::Told, News::Known]);
        assert!(report.knows("wf.0") && !report.knows("wf.1"));
        assert_eq!(report.lines[0], format!("node wf.0.phase: {}…", "ü".repeat(LONGEST)));
        let told = (1..2 * TOLD).filter(|number| report.add(&one(*number)) == News::Told).count();
        assert_eq!((told, report.lines.len(), report.count), (TOLD - 1, TOLD, 2 * TOLD));
        assert!(report.is_full());
    }
}

//! What a run shows while it goes on: plain values, made for whoever draws or prints them.

use std::collections::HashSet;

use tiphys_api::{NodePhase, NodeStatus, NodeType, Time, Workflow, WorkflowPhase};

/// Something worth showing. In the order in which it happened, as far as there is one.
#[derive(Debug, Clone)]
pub enum Happening {
    /// The workflow's own state changed.
    Workflow(WorkflowView),
    /// A node is new, or changed.
    Node(Box<NodeView>),
    /// Only nodes with these ids are of interest from now on.
    Selected(HashSet<String>),
    /// A container wrote a line.
    Log(LogLine),
    /// Something the user should know and may change.
    Warning(String),
    /// What goes on that takes time, such as a pull; of interest to those who wait.
    Note(String),
}

/// The workflow's own state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkflowView {
    /// Its name.
    pub name: String,
    /// Its phase.
    pub phase: WorkflowPhase,
    /// Its message.
    pub message: String,
    /// `N/M`.
    pub progress: String,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// Whether it is suspended as a whole.
    pub suspended: bool,
}

impl WorkflowView {
    /// The state of a workflow.
    pub fn of(workflow: &Workflow) -> WorkflowView {
        let status = &workflow.status;
        WorkflowView {
            name: workflow.metadata.name.clone(),
            phase: status.phase,
            message: status.message.clone(),
            progress: status.progress.clone(),
            started_at: status.started_at,
            finished_at: status.finished_at,
            suspended: workflow.spec.suspend == Some(true),
        }
    }
}

/// The part of a node's state that is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeView {
    /// Its id.
    pub id: String,
    /// Its full name.
    pub name: String,
    /// Its short name.
    pub display_name: String,
    /// What it is.
    pub kind: NodeType,
    /// The template that it runs.
    pub template: String,
    /// Its phase.
    pub phase: NodePhase,
    /// Its message.
    pub message: String,
    /// The enclosing steps or DAG.
    pub boundary: String,
    /// The nodes after or in it.
    pub children: Vec<String>,
    /// `N/M`.
    pub progress: String,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// Whether it is a hook or exit handler.
    pub hooked: bool,
}

impl NodeView {
    /// What is shown of a node.
    pub fn of(node: &NodeStatus) -> NodeView {
        NodeView {
            id: node.id.clone(),
            name: node.name.clone(),
            display_name: node.display_name.clone(),
            kind: node.r#type,
            template: match &node.template_ref {
                Some(reference) => format!("{}/{}", reference.name, reference.template),
                None => node.template_name.clone(),
            },
            phase: node.phase,
            message: node.message.clone(),
            boundary: node.boundary_id.clone(),
            children: node.children.clone(),
            progress: node.progress.clone(),
            started_at: node.started_at,
            finished_at: node.finished_at,
            hooked: node.node_flag.as_ref().is_some_and(|flag| flag.hooked),
        }
    }
}

/// A line that a container wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The node's short name.
    pub node: String,
    /// The container.
    pub container: String,
    /// The line without its end.
    pub text: String,
}

/// Where happenings go. Called from the driver's loop, so it must not wait.
pub type Observer = std::sync::Arc<dyn Fn(Happening) + Send + Sync>;

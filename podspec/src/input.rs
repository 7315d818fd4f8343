//! What a Pod is made from.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tiphys_api::{Template, WorkflowSpec};
use tiphys_contract::TraceContext;

use crate::config::PodConfig;
use crate::solo;

/// Replaces the template tags in a JSON text; values are put in escaped, as part of a JSON string. Tags that cannot be
/// resolved stay. The error is a sentence for the user.
pub type Substitute<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// Everything that [`crate::build`] looks at.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The workflow's name.
    pub workflow_name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its uid; empty where there is none (no owner reference is written then).
    pub workflow_uid: &'a str,
    /// The merged spec: the workflow's own, its template's and the defaults'.
    pub spec: &'a WorkflowSpec,
    /// The node.
    pub request: &'a Request,
    /// The controller's configuration.
    pub config: &'a PodConfig,
    /// Resolves the variables that are left.
    pub substitute: &'a Substitute<'a>,
}

impl Input<'_> {
    /// Whether this node's Pod has no executor.
    pub(crate) fn is_solo(&self) -> bool {
        self.config.solo && solo::suffices(self)
    }
}

/// One node that needs a Pod.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The node's id.
    pub node_id: String,
    /// The node's full name.
    pub node_name: String,
    /// The Pod's name.
    pub pod_name: String,
    /// The template, with parameters substituted and artifacts located.
    pub template: Arc<Template>,
    /// The template of the enclosing steps or DAG: node selector, affinity and tolerations default to it.
    pub boundary: Option<Arc<Template>>,
    /// Whether the Pod belongs to an exit handler.
    pub on_exit: bool,
    /// Whether something refers to the node's `outputs.result`.
    pub include_script_output: bool,
    /// The moment at which the executor ends the main containers.
    pub deadline: Option<Timestamp>,
    /// `activeDeadlineSeconds` of the Pod.
    pub active_deadline_seconds: Option<i64>,
    /// Volumes that the workflow offers: `spec.volumes` with variables substituted, and its volume claims.
    pub volumes: Vec<Value>,
    /// Hosts that the Pod must not run on.
    pub avoid_hosts: Vec<String>,
    /// The trace that the Pod goes on with, where it is told.
    pub trace: Option<TraceContext>,
}

//! Pods that failed before their main containers began, for a reason that lies in the node they were on: they are made anew.
//! argo: workflow/controller/pod_restart.go, operator.go, shouldAutoRestartPod.

use tiphys_api::{NodePhase, Template};

use crate::fact::{PodPhase, PodState};
use crate::frame::{Body, Key};
use crate::id::NodeId;
use crate::plan::Action;
use crate::run::Run;

/// Reasons of the kubelet that say nothing about the Pod itself.
const REASONS: [&str; 4] = ["Evicted", "NodeShutdown", "NodeAffinity", "UnexpectedAdmissionError"];

impl Run {
    /// Has a lost Pod made anew, if it is one and that is allowed. The node is Pending until then.
    pub(crate) fn restart_if_lost(&mut self, key: Key, id: &NodeId, state: &PodState, template: &Template) -> bool {
        let Some(most) = self.config.failed_pod_restarts else { return false };
        if state.phase != PodPhase::Failed || !REASONS.contains(&state.reason.as_str()) || has_begun(template, state) {
            return false;
        }
        let (Some(node), Body::Pod(body)) = (self.node(id.as_str()), &self.frames[key].body) else { return false };
        let (pod_name, uid) = (body.pod_name.clone(), state.uid.clone());
        let decided = node.restarting_pod_uid == uid && node.phase == NodePhase::Pending;
        if body.killed || !decided && (node.restarting_pod_uid == uid || node.failed_pod_restarts >= most) {
            return false;
        }
        if !decided {
            let message = format!("Pod auto-restarting due to {}: {}", state.reason, state.message);
            self.change(id, |node| {
                node.failed_pod_restarts += 1;
                node.restarting_pod_uid = state.uid.clone();
            });
            self.mark(id, NodePhase::Pending, Some(&message));
        }
        // Asked for again where it is not known whether it was done before a restart of the driver.
        self.act(Action::ReplacePod { node: id.clone(), pod_name, uid });
        true
    }
}

/// Whether a main container has run.
fn has_begun(template: &Template, state: &PodState) -> bool {
    let is_main = |name: &str| match &template.container_set {
        Some(set) => set.containers.iter().any(|container| container.name == name),
        None => name == "main",
    };
    state.started.iter().any(|name| is_main(name))
}

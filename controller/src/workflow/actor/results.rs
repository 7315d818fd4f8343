//! Results that are not in the Pod but in the artifact repository. Nothing of such a Pod's end is told before they are here.

use tiphys_api::{Artifact, ArtifactLocation};
use tiphys_contract::{Offloaded, TaskResult};
use tiphys_engine::NodeId;
use tiphys_kubernetes::Pod;

use super::Actor;
use crate::pod_state::{self, Report, Seen};
use crate::workflow::repository::Archives;
use crate::workflow::results::Away;

/// How far results are that a Pod told by reference.
#[derive(Debug)]
pub(super) enum Fetching {
    /// They are being read.
    UnderWay {
        /// The Pod, which has gone meanwhile, as it was at last.
        gone: Option<Box<Pod>>,
    },
    /// They were told to the engine, or are in the status from before a restart.
    Told {
        /// What may be removed once they are written.
        artifact: Option<Box<Artifact>>,
    },
    /// They cannot be had, and why.
    Lost(String),
}

impl Actor {
    /// Sees to the results of a Pod that are elsewhere. Gives what the Pod has to tell; None while they are being read.
    pub(super) fn with_results(&mut self, node: &NodeId, pod: &Pod, mut seen: Seen) -> Option<Seen> {
        let Some(offloaded) = seen.offloaded().cloned() else { return Some(seen) };
        match self.fetched.get(node).filter(|(uid, _)| *uid == pod.metadata.uid) {
            Some((_, Fetching::UnderWay { .. })) => return None,
            Some((_, Fetching::Told { .. })) => seen.report = None,
            Some((_, Fetching::Lost(reason))) => pod_state::fail(&mut seen.state, reason.clone()),
            None => {
                let away = Away { artifact: offloaded.below(&self.archive_of(node)), offloaded };
                let told = seen.report.map(|report| report.result).unwrap_or_default();
                self.fetched.insert(node.clone(), (pod.metadata.uid.clone(), Fetching::UnderWay { gone: None }));
                tokio::spawn(self.place.clone().fetch_results(Box::new(pod.clone()), told, away));
                return None;
            }
        }
        Some(seen)
    }

    /// They were read, or cannot be.
    pub(super) fn results(&mut self, pod: Pod, outcome: Result<Box<TaskResult>, String>) {
        let mut seen = pod_state::read(&pod);
        let (Some(node), Some(offloaded)) = (node_of(&pod), seen.offloaded().cloned()) else { return };
        let gone = match self.fetched.remove(&node) {
            Some((uid, Fetching::UnderWay { gone })) if uid == pod.metadata.uid => gone,
            // The step was begun anew meanwhile.
            known => return self.fetched.extend(known.map(|known| (node, known))),
        };
        let is_over = self.run.node(node.as_str()).is_some_and(|known| known.phase.is_fulfilled());
        let fetching = match outcome {
            Ok(result) => {
                seen.report = Some(Report { result: *result, complete: true });
                let artifact = offloaded.below(&self.archive_of(&node));
                Fetching::Told { artifact: is_of_one(&offloaded, &pod).then(|| Box::new(artifact)) }
            }
            // It was removed before a restart, when the status had it.
            Err(_) if is_over => {
                seen.report = None;
                Fetching::Told { artifact: None }
            }
            Err(reason) => {
                pod_state::fail(&mut seen.state, reason.clone());
                Fetching::Lost(reason)
            }
        };
        self.fetched.insert(node.clone(), (pod.metadata.uid.clone(), fetching));
        self.releases[1].push(node.clone());
        self.unwritten = true;
        self.tell_pod(node, seen);
        if let Some(gone) = gone {
            self.pod_gone(*gone);
        }
    }

    /// Whether the Pod's results are being read; then its end is told after them.
    pub(super) fn waits_for_results(&self, node: &NodeId) -> bool {
        matches!(self.fetched.get(node), Some((_, Fetching::UnderWay { .. })))
    }

    /// A Pod is gone whose results are being read. Gives it back where they are not.
    pub(super) fn gone_with_results(&mut self, node: &NodeId, pod: Pod) -> Option<Pod> {
        match self.fetched.get_mut(node) {
            Some((uid, Fetching::UnderWay { gone })) if *uid == pod.metadata.uid => {
                *gone = Some(Box::new(pod));
                None
            }
            _ => Some(pod),
        }
    }

    /// The results of a node are written: what the repository has of them goes.
    pub(super) fn forget_results(&mut self, node: &NodeId) {
        if let Some((_, Fetching::Told { artifact })) = self.fetched.get_mut(node)
            && let Some(artifact) = artifact.take()
        {
            tokio::spawn(self.place.clone().forget_results(*artifact));
        }
    }

    /// Where a node's template archives: its own location, else the artifact repository.
    fn archive_of(&self, node: &NodeId) -> ArtifactLocation {
        let workflow = self.run.workflow();
        let node = self.run.node(node.as_str());
        let name = node.map_or("", |node| match &node.template_ref {
            Some(reference) => &reference.template,
            None => &node.template_name,
        });
        let config = self.place.cluster.config();
        Archives::of(workflow, self.run.spec(), &config.pod.artifact_repository).of_template(name).clone()
    }
}

/// The node whose Pod it is.
fn node_of(pod: &Pod) -> Option<NodeId> {
    pod.metadata.annotations.get(tiphys_contract::label::NODE_ID).map(|id| NodeId::from(id.as_str()))
}

/// Whether no other Pod's results can be the same object: the format of keys may leave out the Pod's name, and results that
/// are the same have the same name.
fn is_of_one(offloaded: &Offloaded, pod: &Pod) -> bool {
    let key = tiphys_contract::location::key(&offloaded.artifact.location());
    key.split('/').any(|part| part == pod.metadata.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_pods_may_share_is_not_removed() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "wf-step-1"}})).unwrap();
        for (key, own) in
            [("wf/wf-step-1/outputs-ab.json", true), ("wf/outputs-ab.json", false), ("wf/wf-step-11/o", false)]
        {
            let body = json!({"artifact": {"name": "outputs", "s3": {"key": key}}, "sha256": "ab", "bytes": 1});
            let offloaded: Offloaded = serde_json::from_value(body).unwrap();
            assert_eq!(is_of_one(&offloaded, &pod), own, "{key}");
        }
    }
}

//! The Pods of the cluster: how they live, and what can be seen of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tiphys_api::{Outputs, Time};
use tiphys_engine::{ContainerState, ContainerStatus, Fact, NodeId, PodPhase, PodState};

use crate::outcome::{Outcome, finished};

/// A Pod that is there and not over.
#[derive(Clone, Debug)]
pub struct Alive {
    /// Its node.
    pub node: NodeId,
    /// Its name.
    pub pod_name: String,
}

/// What can be seen of a Pod at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    pub state: PodState,
    /// What its executor reported so far, and whether that is all.
    pub result: Option<(Outputs, bool)>,
}

impl Sight {
    /// The facts of it: the result, and the state.
    pub fn facts(&self, node: &NodeId) -> Vec<Fact> {
        let result = self.result.iter().map(|(outputs, complete)| Fact::TaskResult {
            node: node.clone(),
            outputs: Box::new(outputs.clone()),
            progress: String::new(),
            complete: *complete,
        });
        result.chain([Fact::Pod { node: node.clone(), state: Box::new(self.state.clone()) }]).collect()
    }
}

#[derive(Clone, Debug)]
struct Pod {
    node: NodeId,
    outcome: Outcome,
    now: Sight,
    before: Sight,
}

/// The Pods by name.
#[derive(Default)]
pub(crate) struct Pods(BTreeMap<String, Pod>);

impl Pods {
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn alive(&self) -> Vec<Alive> {
        let alive = self.0.iter().filter(|(_, pod)| !is_over(&pod.now.state));
        alive.map(|(name, pod)| Alive { node: pod.node.clone(), pod_name: name.clone() }).collect()
    }

    pub fn create(&mut self, name: &str, node: NodeId, outcome: Outcome) {
        let pod = Pod { node, outcome, now: Sight::default(), before: Sight::default() };
        self.0.insert(name.to_string(), pod);
    }

    /// What can be seen of a Pod now, or what could be seen of it before its last change.
    pub fn facts(&self, name: &str, stale: bool) -> Vec<Fact> {
        self.0.get(name).map_or_else(Vec::new, |pod| (if stale { &pod.before } else { &pod.now }).facts(&pod.node))
    }

    /// Whether the supervisor of a Pod ended badly.
    pub fn is_silent(&self, name: &str) -> bool {
        let ended_badly = |container: &ContainerState| {
            container.name == "wait"
                && matches!(container.status, ContainerStatus::Terminated { exit_code, .. } if exit_code != 0)
        };
        self.0.get(name).is_some_and(|pod| pod.now.state.containers.iter().any(ended_badly))
    }

    /// A Pod begins to run. False: it is not there or did before.
    pub fn run(&mut self, name: &str) -> bool {
        let Some(pod) = self.0.get_mut(name).filter(|pod| pod.now.state.phase == PodPhase::Pending) else {
            return false;
        };
        let containers = pod.outcome.state.containers.iter().map(|container| ContainerState {
            ready: true,
            status: ContainerStatus::Running,
            ..container.clone()
        });
        let state = PodState {
            phase: PodPhase::Running,
            ip: "10.244.0.2".into(),
            host: "node1".into(),
            containers: containers.collect(),
            ..Default::default()
        };
        let result = (!pod.outcome.daemon).then(|| (Outputs::default(), false));
        pod.become_seen(Sight { state, result });
        true
    }

    /// A Pod ends as it was meant to. False: it is not there or was over.
    pub fn end(&mut self, name: &str, now: Timestamp) -> bool {
        let Some(pod) = self.0.get_mut(name).filter(|pod| !is_over(&pod.now.state)) else { return false };
        let mut state = PodState { host: "node1".into(), ..pod.outcome.state.clone() };
        for container in &mut state.containers {
            if let ContainerStatus::Terminated { finished, .. } = &mut container.status {
                finished.get_or_insert(Time::from_second(now.as_second()));
            }
        }
        let result = Some((pod.outcome.outputs.clone(), true));
        pod.become_seen(Sight { state, result });
        true
    }

    /// A Pod is killed. False: it is not there or was over.
    pub fn kill(&mut self, name: &str) -> bool {
        let Some(pod) = self.0.get_mut(name).filter(|pod| !is_over(&pod.now.state)) else { return false };
        let state = finished(PodPhase::Failed, 143, "Error", "");
        pod.become_seen(Sight { state, result: Some((Outputs::default(), true)) });
        true
    }
}

impl Pod {
    fn become_seen(&mut self, sight: Sight) {
        self.before = std::mem::replace(&mut self.now, sight);
    }
}

fn is_over(state: &PodState) -> bool {
    matches!(state.phase, PodPhase::Succeeded | PodPhase::Failed)
}

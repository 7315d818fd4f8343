//! Pods that are to end: deleted before they have begun, signalled after that, or by their deadline where no executor is in
//! them.

use std::time::Duration;

use tiphys_engine::{Fact, NodeId, PodPhase};

use super::{Actor, Running};
use crate::pod_state::is_solo;
use crate::workflow::leaving::Leaving;
use crate::workflow::signals::kill_command;

/// Grace period of a Pod that names none.
const GRACE_SECONDS: u64 = 30;

impl Actor {
    pub(super) fn end_pod(&mut self, node: &NodeId) {
        let Some(pod) = self.pods.get_mut(node) else {
            // It is not made, or not seen yet. One that appears after all is told to the engine, which asks again.
            self.asked.retain(|new| new.request.node != *node);
            self.unanswered.remove(node);
            if let Some(task) = self.creating.remove(node) {
                task.abort();
            }
            self.observe(Fact::PodGone { node: node.clone() });
            return;
        };
        match pod.phase {
            PodPhase::Pending if !std::mem::replace(&mut pod.ending, true) => {
                tokio::spawn(self.place.clone().delete(pod.leaving(), None));
            }
            PodPhase::Running => self.signal(node),
            PodPhase::Pending | PodPhase::Succeeded | PodPhase::Failed => {}
        }
    }

    /// Takes away a Pod that will be made anew; its end is told by the watch.
    pub(super) fn replace_pod(&mut self, node: NodeId, name: String, uid: String) {
        let Some(pod) = self.pods.get_mut(&node).filter(|pod| pod.uid == uid) else {
            return self.observe(Fact::PodGone { node });
        };
        // Nobody else takes it away, or labels it as done with.
        pod.released = true;
        if !std::mem::replace(&mut pod.ending, true) {
            let (reason, message) = &pod.failure;
            self.place.cluster.metrics.pod_restarted(reason, message, &self.place.namespace);
            tokio::spawn(self.place.clone().delete(Leaving { name, uid, guarded: pod.guarded }, None));
        }
    }

    /// SIGTERM to every container that runs; SIGKILL after the grace period.
    pub(super) fn signal(&mut self, node: &NodeId) {
        let Some(pod) = self.pods.get_mut(node).filter(|pod| !pod.ending) else { return };
        pod.ending = true;
        if is_solo(&pod.annotations) {
            tokio::spawn(self.place.clone().expire(pod.name.clone(), pod.uid.clone()));
            return;
        }
        let grace = Duration::from_secs(pod.grace.unwrap_or(GRACE_SECONDS));
        for (signal, after) in [(libc_signal::TERM, Duration::ZERO), (libc_signal::KILL, grace)] {
            let command = |Running { name, executor }: &Running| {
                (name.clone(), kill_command(&pod.annotations, *executor, name, signal))
            };
            let commands = pod.running.iter().map(command).collect();
            tokio::spawn(self.place.clone().signal(pod.name.clone(), commands, after));
        }
    }
}

/// Signals by number, as Linux has them: the Pod's, whatever this program runs on.
mod libc_signal {
    pub const TERM: i32 = 15;
    pub const KILL: i32 = 9;
}

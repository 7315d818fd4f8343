//! Results that are waited for, and for how long: what was begun to be reported of a step that is over may never be told to
//! its end, and neither the node nor the workflow can end before. argo: taskresult.go, recentlyCompleted.

use jiff::{SignedDuration, Timestamp};
use tiphys_api::{NodePhase, NodeStatus};

use crate::frame::Body;
use crate::id::NodeId;
use crate::run::{Event2, Run, phase_fulfilled};

/// How long results are waited for where nothing is said. argo: TASK_RESULT_TIMEOUT_DURATION.
const USUAL_PATIENCE: SignedDuration = SignedDuration::from_mins(10);

impl Run {
    fn patience(&self) -> SignedDuration {
        self.config.result_timeout.unwrap_or(USUAL_PATIENCE)
    }

    /// A node waits for nothing but its results from now on; it has done so since `ended`.
    pub(crate) fn await_results(&mut self, id: &NodeId, ended: Timestamp) {
        let until = ended.checked_add(self.patience()).unwrap_or(Timestamp::MAX);
        self.stop_awaiting(id);
        self.awaited.insert(id.clone(), until);
        self.timers.insert((until, Event2::Results(id.clone())));
    }

    /// A node's results are there, or are no longer what it waits for.
    pub(crate) fn stop_awaiting(&mut self, id: &NodeId) {
        if let Some(until) = self.awaited.remove(id) {
            self.timers.remove(&(until, Event2::Results(id.clone())));
        }
    }

    /// They have not come. The node ends as its Pod did; where it cannot do without them, it errs.
    pub(crate) fn results_overdue(&mut self, id: &NodeId) {
        self.awaited.remove(id);
        if self.node(id.as_str()).is_none_or(phase_fulfilled) {
            return;
        }
        let held = self.by_id.get(id).and_then(|key| match &mut self.frames[*key].body {
            Body::Pod(body) => body.held.take(),
            _ => None,
        });
        if held.is_some() || self.node(id.as_str()).is_some_and(awaits_results) {
            self.nothing_more_is_reported(id);
        }
        let Some(held) = held else { return };
        self.pod_observed(id, &held);
        self.stop_awaiting(id);
        if self.node(id.as_str()).is_some_and(|node| !node.phase.is_fulfilled()) {
            let message = format!(
                "the outputs of the template were not reported within {} s after the end of the Pod",
                self.patience().as_secs()
            );
            self.mark(id, NodePhase::Error, Some(&message));
        }
    }
}

/// Whether a node is over but for its results.
pub(crate) fn awaits_results(node: &NodeStatus) -> bool {
    node.phase.is_fulfilled() && node.task_result_synced == Some(false)
}

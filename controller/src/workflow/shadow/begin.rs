//! Until the live controller has begun a workflow, and from where our engine begins.

use std::sync::Arc;

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use tiphys_api::{NodeStatus, Workflow, WorkflowPhase, WorkflowStatus};
use tiphys_engine::Run;
use tiphys_kubernetes::Backoff;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::divergence::Report;
use super::pods::Pods;
use super::{Shadow, Workplace};
use crate::workflow::message::{Message, Refusal};

/// Waits until the live controller has begun the workflow. Gives it as it was before, where that was seen, and as it is now;
/// None: it is gone, or cannot be read.
pub(super) async fn begun(
    place: &Workplace,
    inbox: &mut UnboundedReceiver<Message>,
) -> Option<(Option<Workflow>, Box<Workflow>)> {
    let mut backoff = Backoff::default();
    let mut before = None;
    loop {
        let theirs = match place.read_whole("").await {
            Ok((theirs, _)) if theirs.metadata.uid == *place.uid => theirs,
            Ok(_) => return None,
            Err(Refusal::Api(error)) => {
                if !error.is_not_found() {
                    tracing::error!(namespace = %place.namespace, workflow = %place.workflow, %error, "a workflow cannot be read");
                }
                return None;
            }
            Err(Refusal::Outside { message, transient }) => {
                tracing::error!(namespace = %place.namespace, workflow = %place.workflow, error = message, "nodes cannot be read");
                if !transient {
                    return None;
                }
                tokio::time::sleep(backoff.pause()).await;
                continue;
            }
        };
        if !matches!(theirs.status.phase, WorkflowPhase::Unknown | WorkflowPhase::Pending) {
            return Some((before, theirs));
        }
        let version = theirs.metadata.resource_version.clone();
        before.get_or_insert(*theirs);
        // Pods and results are listed when it has begun.
        loop {
            match inbox.recv().await? {
                Message::Changed { version: told } if told != version => break,
                Message::Deleted => return None,
                _ => {}
            }
        }
    }
}

impl Shadow {
    /// Our engine begins where the live controller did, as far as that can be had: with what was there before it. Where
    /// something is over already, it takes over what there is, as after a restart.
    pub(super) async fn begin(
        place: Workplace,
        before: Option<Workflow>,
        theirs: Box<Workflow>,
        ignored: Arc<[String]>,
    ) -> Shadow {
        let is_over = |node: &NodeStatus| node.phase.is_fulfilled();
        let first = match before {
            Some(before) => Workflow { spec: theirs.spec.clone(), ..begin_anew(before) },
            None if theirs.status.nodes.values().any(is_over) || theirs.status.phase.is_completed() => {
                (*theirs).clone()
            }
            None => Workflow { status: WorkflowStatus::default(), ..(*theirs).clone() },
        };
        let run = Run::restore(first, place.cluster.engine(), Timestamp::now());
        let mut shadow = Shadow {
            place,
            ignored,
            run,
            prepared: Arc::default(),
            pods: Pods::default(),
            comparing: JoinSet::new(),
            locks: Default::default(),
            ending: FxHashSet::default(),
            reporting: FxHashSet::default(),
            early_pods: FxHashMap::default(),
            early_facts: FxHashMap::default(),
            away: FxHashMap::default(),
            version: String::new(),
            seen_version: None,
            reading: false,
            wake_at: None,
            report: Report::default(),
            begun_anew: 0,
            over: None,
            gone: false,
        };
        shadow.find_what_is_there().await;
        shadow.plan();
        shadow.look_at(theirs).await;
        shadow
    }

    /// Nodes have parted: our engine goes on from the live status.
    pub(super) async fn begin_anew(&mut self, theirs: &Workflow) {
        self.run = Run::restore(theirs.clone(), self.place.cluster.engine(), Timestamp::now());
        self.pods.forget_asked();
        self.locks.clear();
        self.ending.clear();
        self.early_facts.clear();
        self.early_pods.clear();
        self.find_what_is_there().await;
        self.plan();
    }
}

/// One that has waited for a place begins like a new one.
fn begin_anew(mut workflow: Workflow) -> Workflow {
    if workflow.status.nodes.is_empty() {
        workflow.status = WorkflowStatus::default();
    }
    workflow
}

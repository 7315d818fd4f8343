//! The locks that a workflow and its calls need: asking for them, waiting, going on, letting go.
//!
//! The table of locks ([`crate::Locks`]) belongs to the driver, since other workflows need the same locks. What this
//! workflow has is in its status, so that a restart finds it there. argo: operator.go, operate and executeTemplate.

use tiphys_api::{NodePhase, NodeSynchronizationStatus, NodeType, Synchronization, WorkflowPhase};

use crate::call::Prepared;
use crate::fact::Shutdown;
use crate::frame::{Body, Key};
use crate::id::NodeId;
use crate::locks::{self, LockAnswer, LockHolder, LockName, LockRequest, LockWait, locks_of};
use crate::node::{Birth, node_type};
use crate::plan::Action;
use crate::run::{Event, Run, Stage, Stop};

/// The locks of one holder.
pub(crate) struct Hold {
    locks: Vec<LockName>,
    state: HoldState,
}

/// How far a holder is.
enum HoldState {
    /// Asked for and not answered.
    Asked,
    /// Waiting, which remains to be shown where something is inside.
    Waiting(Option<LockWait>),
    /// The locks are there.
    Granted,
    /// They cannot be had.
    Refused(String),
}

impl Run {
    fn holder(&self, node: Option<&NodeId>) -> LockHolder {
        let metadata = &self.wf.metadata;
        LockHolder { workflow: format!("{}/{}", metadata.namespace, metadata.name).into(), node: node.cloned() }
    }

    /// Asks for locks, unless the status says that they are there.
    fn ask_for_locks(&mut self, block: &Synchronization, node: Option<&NodeId>) -> Result<Hold, String> {
        let locks = locks_of(block, &self.wf.metadata.namespace)?;
        let holder = self.holder(node);
        let status = self.wf.status.synchronization.as_deref();
        let has = |lock| status.is_some_and(|status| locks::is_holding(status, lock, &holder));
        if locks.iter().all(has) {
            return Ok(Hold { locks, state: HoldState::Granted });
        }
        self.act(Action::AcquireLocks(Box::new(LockRequest {
            holder,
            locks: locks.clone(),
            priority: self.spec.priority.unwrap_or(0),
            created: self.wf.metadata.creation_timestamp.map_or(self.now, |time| time.0),
        })));
        Ok(Hold { locks, state: HoldState::Asked })
    }

    /// What the table of locks says.
    pub(crate) fn locks_answered(&mut self, holder: &LockHolder, answer: LockAnswer) {
        if self.stage == Stage::Done || holder.workflow != self.holder(None).workflow {
            return;
        }
        if let LockAnswer::Lost { message } = answer {
            return self.lose_lock(&message);
        }
        let hold = match &holder.node {
            None => self.own_hold.as_mut(),
            Some(node) => self.holds.get_mut(node),
        };
        let Some(hold) = hold.filter(|hold| !matches!(hold.state, HoldState::Granted)) else { return };
        let state = match answer {
            LockAnswer::Granted => HoldState::Granted,
            LockAnswer::Waiting(wait) => HoldState::Waiting(Some(wait)),
            LockAnswer::Refused { message } | LockAnswer::Lost { message } => HoldState::Refused(message),
        };
        let (waits, granted) = (matches!(state, HoldState::Waiting(_)), matches!(state, HoldState::Granted));
        let waited = matches!(std::mem::replace(&mut hold.state, state), HoldState::Waiting(_));
        let locks = hold.locks.clone();
        self.count_waiting(&locks, waited, waits);
        if granted {
            let status = self.wf.status.synchronization.get_or_insert_default();
            locks.iter().for_each(|lock| locks::acquired(status, lock, holder));
            self.out.status_changed = true;
        }
        match holder.node.as_ref().and_then(|node| self.by_id.get(node)) {
            Some(key) => self.push(Event::Begin(*key)),
            None => self.push(Event::Workflow),
        }
    }

    /// What was begun under a lock goes on without it: everything ends. argo: controller.go, initManagers.
    fn lose_lock(&mut self, message: &str) {
        let message = format!("Failed to re-establish synchronization lock at controller startup: {message}");
        for key in 0..self.frames.len() {
            let works = self.frame_node(key).is_some_and(|node| !node.phase.is_fulfilled());
            if works && matches!(self.frames[key].body, Body::Pod(_)) {
                self.end_pod_node(key, &message);
            }
        }
        self.end(WorkflowPhase::Failed, &message);
    }

    /// The locks of a call. Until they are there it goes no further.
    pub(crate) fn lock(&mut self, key: Key, prepared: &Prepared) -> Result<(), Stop> {
        let Some(block) = prepared.processed.synchronization.as_deref() else { return Ok(()) };
        let id = self.frames[key].id.clone();
        if !self.holds.contains_key(&id) {
            let hold = self.ask_for_locks(block, Some(&id))?;
            self.holds.insert(id.clone(), hold);
        }
        let Some(hold) = self.holds.get_mut(&id) else { return Ok(()) };
        match &mut hold.state {
            HoldState::Granted => Ok(()),
            HoldState::Asked => Err(Stop::Locked),
            HoldState::Waiting(wait) => {
                let wait = wait.take();
                self.show_wait(key, prepared, wait)?;
                Err(Stop::Locked)
            }
            HoldState::Refused(message) => {
                let message = std::mem::take(message);
                self.holds.remove(&id);
                Err(Stop::Failed(message))
            }
        }
    }

    /// The node of a call that waits, or its message where it is there. argo: markNodeWaitingForLock.
    fn show_wait(&mut self, key: Key, prepared: &Prepared, wait: Option<LockWait>) -> Result<(), Stop> {
        let Some(wait) = wait else { return Ok(()) };
        let template = &prepared.processed;
        if !self.has_node(key) {
            let retried = template.retry_strategy.is_some() || self.spec.retry_strategy.is_some();
            let kind = if retried { NodeType::Retry } else { node_type(template) };
            let reports = kind == NodeType::Pod && !template.is_daemon();
            self.make_node(key, Birth { template: Some(template), reports, ..Birth::of(kind, NodePhase::Pending) });
            self.link_to_parent(key);
        }
        let id = self.frames[key].id.clone();
        self.change(&id, |node| {
            node.message.clone_from(&wait.message);
            let waiting = wait.lock.to_string();
            node.synchronization_status =
                Some(Box::new(NodeSynchronizationStatus { waiting, ..NodeSynchronizationStatus::default() }));
        });
        self.note_wait(&wait);
        if let Some(limit) = self.pending_limit(key, template)? {
            self.watch_pending(key, limit);
        }
        Ok(())
    }

    fn note_wait(&mut self, wait: &LockWait) {
        let status = self.wf.status.synchronization.get_or_insert_default();
        wait.held_by.iter().for_each(|(lock, held_by)| locks::waits(status, lock, held_by));
        self.out.status_changed = true;
    }

    /// Whether the node of a call was made when it had to wait, and nothing has come of it yet.
    pub(crate) fn has_waited(&self, key: Key) -> bool {
        self.frame_node(key).is_some_and(|node| node.synchronization_status.is_some())
    }

    /// A call that has waited goes on.
    pub(crate) fn wait_no_longer(&mut self, key: Key) {
        if !self.has_waited(key) {
            return;
        }
        let id = self.frames[key].id.clone();
        self.change(&id, |node| {
            node.synchronization_status = None;
            node.message = String::new();
            if matches!(node.r#type, NodeType::Steps | NodeType::Dag | NodeType::Retry) {
                node.phase = NodePhase::Running;
            }
        });
    }

    /// A call that waits for its locks comes to its end without them.
    pub(crate) fn end_waiting(&mut self, key: Key, message: &str) {
        if self.holds.contains_key(&self.frames[key].id) {
            self.frames[key].body = Body::Closed;
            self.mark_frame(key, NodePhase::Failed, Some(message));
        }
    }

    /// Lets go of the locks of a call that is over, or will never be.
    pub(crate) fn unlock(&mut self, key: Key) {
        let Some(hold) = self.holds.remove(&self.frames[key].id) else { return };
        self.count_waiting(&hold.locks, matches!(hold.state, HoldState::Waiting(_)), false);
        self.let_go(key, &hold.locks);
    }

    /// The same for a call that was over before its status was taken over.
    pub(crate) fn unlock_what_is_left(&mut self, key: Key) {
        let Some(status) = &self.wf.status.synchronization else { return };
        let held = locks::held_by(status, &self.holder(Some(&self.frames[key].id)));
        if !held.is_empty() {
            self.let_go(key, &held);
        }
    }

    fn let_go(&mut self, key: Key, held: &[LockName]) {
        let id = self.frames[key].id.clone();
        let holder = self.holder(Some(&id));
        if let Some(status) = &mut self.wf.status.synchronization {
            held.iter().for_each(|lock| locks::released(status, lock, &holder));
        }
        self.out.status_changed = true;
        if self.has_waited(key) {
            self.change(&id, |node| node.synchronization_status = None);
        }
        self.act(Action::ReleaseLocks(holder));
    }

    /// Keeps count of the holders that wait for each lock. What nobody waits for any more leaves the status, also what was
    /// waited for before a restart.
    fn count_waiting(&mut self, locks: &[LockName], before: bool, after: bool) {
        for lock in locks {
            let count = self.waiting_for_locks.entry(lock.clone()).or_default();
            *count = count.saturating_add(u32::from(after)).saturating_sub(u32::from(before));
            if *count > 0 {
                continue;
            }
            self.waiting_for_locks.remove(lock);
            if let Some(status) = &mut self.wf.status.synchronization {
                locks::waits_no_longer(status, lock);
            }
        }
    }

    /// The locks of the workflow itself. Returns whether it may go on.
    pub(crate) fn lock_workflow(&mut self) -> bool {
        const FAILED: &str = "Failed to acquire the synchronization lock.";
        let Some(block) = self.spec.synchronization.clone() else { return true };
        if self.own_hold.is_none() {
            match self.ask_for_locks(&block, None) {
                Ok(hold) => self.own_hold = Some(hold),
                Err(message) => {
                    self.end(WorkflowPhase::Failed, &format!("{FAILED} {message}"));
                    return false;
                }
            }
        }
        match self.own_hold.as_mut().map(|hold| &mut hold.state) {
            None | Some(HoldState::Granted) => return true,
            Some(HoldState::Asked) => {}
            Some(HoldState::Waiting(wait)) => {
                if let Some(wait) = wait.take() {
                    let phase = match self.wf.status.phase {
                        WorkflowPhase::Unknown => WorkflowPhase::Pending,
                        phase => phase,
                    };
                    self.set_phase(phase, &wait.message);
                    self.note_wait(&wait);
                }
            }
            Some(HoldState::Refused(message)) => {
                let message = format!("{FAILED} {message}");
                self.end(WorkflowPhase::Failed, &message);
                return false;
            }
        }
        self.give_up_if_terminated();
        false
    }

    /// A workflow that has not begun because it waits for its locks ends when it is terminated; Stop leaves it waiting.
    /// argo: operator.go, releaseLocksForPendingShuttingdownWfs.
    pub(crate) fn give_up_if_terminated(&mut self) {
        let waits = self.stage == Stage::Locks && self.wf.status.phase == WorkflowPhase::Pending;
        if let Some(strategy) = self.shutdown.filter(|strategy| waits && *strategy == Shutdown::Terminate) {
            self.end(WorkflowPhase::Failed, &format!("Stopped with strategy '{}'", strategy.as_str()));
        }
    }

    /// The workflow is over: the driver takes back all it has.
    pub(crate) fn unlock_workflow(&mut self) {
        self.holds.clear();
        self.waiting_for_locks.clear();
        self.own_hold = None;
        if self.wf.status.synchronization.take().is_none() {
            return;
        }
        let waiting = self.wf.status.nodes.values().filter(|node| node.synchronization_status.is_some());
        for id in waiting.map(|node| NodeId::from(node.id.as_str())).collect::<Vec<_>>() {
            self.change(&id, |node| node.synchronization_status = None);
        }
    }
}

//! What the live controller's status tells: facts that only it can know, and where nodes have parted.

use tiphys_api::{NodeResult, NodeStatus, NodeType, Workflow};
use tiphys_engine::{Fact, NodeId};

use super::end::PATIENCE;
use super::{BEGUN_ANEW, Instant, Shadow, locks, nodes, pods};
use crate::workflow::actor::is_newer;
use crate::workflow::foreign;
use crate::workflow::message::{Message, Refusal};
use crate::workflow::nodes::Held;

impl Shadow {
    /// The object has another version.
    pub(super) fn changed(&mut self, version: String) {
        if self.reading {
            self.seen_version = Some(version);
        } else if is_newer(&version, &self.version) {
            self.look_again();
        }
    }

    /// Reads the object; what changes meanwhile is read after that.
    pub(super) fn look_again(&mut self) {
        if std::mem::replace(&mut self.reading, true) {
            self.seen_version.get_or_insert_default();
            return;
        }
        let place = self.place.clone();
        tokio::spawn(async move { place.tell(Message::Read(place.read_whole("").await)) });
    }

    pub(super) async fn read(&mut self, outcome: Result<(Box<Workflow>, Held), Refusal>) {
        self.reading = false;
        match outcome {
            Ok((theirs, _)) if theirs.metadata.uid == *self.place.uid => self.look_at(theirs).await,
            Ok(_) => self.gone = true,
            Err(Refusal::Api(error)) if error.is_not_found() => self.gone = true,
            // The next change brings the next attempt.
            Err(error) => tracing::error!(workflow = %self.place.workflow, %error, "the workflow cannot be read"),
        }
        if let Some(version) = self.seen_version.take() {
            match version.as_str() {
                "" => self.look_again(),
                _ => self.changed(version),
            }
        }
    }

    pub(super) async fn look_at(&mut self, theirs: Box<Workflow>) {
        self.version.clone_from(&theirs.metadata.resource_version);
        for fact in foreign::asked(self.run.workflow(), &theirs) {
            self.observe(fact);
        }
        self.bring_back(&theirs);
        self.end_tasks(&theirs);
        self.hear(&theirs);
        self.plan();
        let parted = nodes::parted(&theirs, self.run.workflow(), &self.report);
        if !parted.is_empty() {
            parted.iter().for_each(|one| self.tell(one));
            self.begun_anew += 1;
            if self.begun_anew <= BEGUN_ANEW {
                self.begin_anew(&theirs).await;
            }
        }
        if theirs.status.phase.is_completed() && self.over.is_none() {
            if !self.run.is_finished() {
                self.find_what_is_there().await;
            }
            self.over = Some((theirs, Instant::now() + PATIENCE));
        }
    }

    /// What our engine waits for, and the live status tells. Whether there was anything.
    fn hear(&mut self, theirs: &Workflow) -> bool {
        self.answer_locks(theirs) | self.end_refused(theirs)
    }

    /// The same when nothing more will be written: what our engine comes to from now on, the status has long told.
    pub(super) fn hear_at_last(&mut self) -> bool {
        let Some((theirs, end)) = self.over.take() else { return false };
        let heard = self.hear(&theirs);
        self.over = Some((theirs, end));
        heard
    }

    fn answer_locks(&mut self, theirs: &Workflow) -> bool {
        let mut heard = false;
        let answered =
            self.locks.values().filter_map(|request| Some((request.holder.clone(), locks::answer(theirs, request)?)));
        for (holder, answer) in answered.collect::<Vec<_>>() {
            if !matches!(answer, tiphys_engine::LockAnswer::Waiting(_)) {
                self.locks.remove(&holder);
                heard = true;
            }
            self.observe(Fact::Locks { holder, answer });
        }
        heard
    }

    /// What became of tasks without Pods: results leave the task set as soon as the live controller has them.
    fn end_tasks(&mut self, theirs: &Workflow) {
        let is_task = |node: &&NodeStatus| matches!(node.r#type, NodeType::Http | NodeType::Plugin);
        let over = theirs.status.nodes.values().filter(is_task).filter(|node| node.phase.is_fulfilled());
        let open = |node: &&NodeStatus| self.run.node(&node.id).is_some_and(|our| !our.phase.is_fulfilled());
        let facts: Vec<Fact> = over.filter(open).map(result_of).collect();
        facts.into_iter().for_each(|fact| self.observe(fact));
    }

    /// Pods that we would have made and that will not be: the API server refused them, or they were ended before.
    fn end_refused(&mut self, theirs: &Workflow) -> bool {
        let mut heard = false;
        for (node, _, pod_name) in self.pods.missing() {
            let their = theirs.status.nodes.get(node.as_str()).filter(|their| their.phase.is_fulfilled());
            let ended = self.ending.contains(&node);
            let fact = match their {
                Some(_) if ended => Fact::PodGone { node: node.clone() },
                None if ended && theirs.status.phase.is_completed() => Fact::PodGone { node: node.clone() },
                Some(their) if pods::is_servers(&their.message, &pod_name) => {
                    Fact::PodRefused { node: node.clone(), message: their.message.clone(), transient: false }
                }
                _ => continue,
            };
            self.pods.drop_asked(&node);
            self.observe(fact);
            heard = true;
        }
        heard
    }
}

fn result_of(node: &NodeStatus) -> Fact {
    let result = NodeResult {
        phase: node.phase,
        message: node.message.clone(),
        outputs: node.outputs.clone(),
        progress: node.progress.clone(),
        ..NodeResult::default()
    };
    Fact::NodeResult { node: NodeId::from(node.id.as_str()), result: Box::new(result) }
}

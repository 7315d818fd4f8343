//! What a controller does with a plan: it stores the status, carries out the actions, answers the needs.

use std::collections::VecDeque;

use tiphys_engine::{
    Action, Fact, LockNews, Locks, MemoEntry, Need, Plan, PodPhase, PodRequest, TaskRequest, claims_at_hand,
};

use crate::cluster::{Carried, Cluster, Coming};

impl Cluster<'_, '_> {
    /// Stores the status, carries out the actions and answers the needs.
    pub fn carry_out(&mut self, member: usize, plan: Plan) -> Carried {
        let mut again = !plan.needs.is_empty();
        if plan.status_changed || !plan.changed.is_empty() {
            if self.is_killed() || self.dice.percent(self.faults.refuse) {
                return Carried::Crashed;
            }
            let member = &mut self.members[member];
            member.stored = member.run.workflow().clone();
            member.asked.clear();
        }
        for action in plan.actions {
            again |= self.act(member, &action);
            if self.faults.repeat_actions {
                again |= self.act(member, &action);
            }
            if self.is_killed() {
                return Carried::Crashed;
            }
        }
        for need in plan.needs {
            let fact = self.answer(member, &need);
            self.observe(member, fact);
        }
        Carried::Out { again }
    }

    /// Carries out an action. Returns whether an engine was told something at once.
    fn act(&mut self, member: usize, action: &Action) -> bool {
        match action {
            Action::CreatePod(request) => return self.create(member, request),
            Action::KillPod { pod_name, .. } | Action::ReplacePod { pod_name, .. } => {
                if self.members[member].pods.kill(pod_name) {
                    let facts = self.members[member].pods.facts(pod_name, false);
                    self.after(member, 0, Coming::Told(facts));
                }
            }
            Action::RunTask(request) => self.run_task(member, request),
            Action::EndTask { node } => self.members[member].tasks.remove(node),
            Action::EndSidecars { .. } | Action::Measure(_) => {}
            Action::SaveMemo { cache, key, node, created } => {
                let node_status = self.members[member].run.node(node.as_str());
                let outputs = node_status.and_then(|node| node.outputs.as_deref().cloned());
                let entry = MemoEntry { node: node.to_string(), outputs, created: *created };
                let place = (cache.clone(), key.clone());
                if self.memos.get(&place).is_none_or(|known| known.created < entry.created) {
                    self.memos.insert(place, entry);
                }
            }
            Action::AcquireLocks(request) => {
                let news = self.locks.acquire((**request).clone());
                return self.pass_on(news);
            }
            Action::ReleaseLocks(holder) => {
                let news = self.locks.release(holder);
                return self.pass_on(news);
            }
            Action::Finish => {
                let news = self.locks.forget(&self.key(member));
                return self.pass_on(news);
            }
        }
        false
    }

    fn create(&mut self, member: usize, request: &PodRequest) -> bool {
        if self.members[member].pods.contains(&request.pod_name) {
            return false;
        }
        let outcome = self.script.outcome(request);
        if !outcome.refused.is_empty() {
            let fact = Fact::PodRefused { node: request.node.clone(), message: outcome.refused, transient: false };
            self.observe(member, fact);
            return true;
        }
        let name = request.pod_name.clone();
        self.members[member].created.push(name.clone());
        let (daemon, seconds) = (outcome.daemon, outcome.seconds);
        let stuck = outcome.state.phase == PodPhase::Pending;
        self.members[member].pods.create(&name, request.node.clone(), outcome);
        if stuck {
            return false;
        }
        self.after(member, 0, Coming::PodRuns(name.clone()));
        if !daemon {
            self.after(member, seconds, Coming::PodEnds(name));
        }
        false
    }

    fn run_task(&mut self, member: usize, request: &TaskRequest) {
        if self.members[member].tasks.contains(&request.node) {
            return;
        }
        let (result, seconds) = self.script.result(request);
        self.members[member].tasks.add(request.node.clone(), result);
        self.after(member, seconds, Coming::TaskEnds(request.node.clone()));
    }

    fn answer(&self, member: usize, need: &Need) -> Fact {
        match need {
            Need::Template { cluster_scope, name } => {
                let (from, plural) = if *cluster_scope {
                    (&self.world.cluster_templates, "clusterworkflowtemplates")
                } else {
                    (&self.world.templates, "workflowtemplates")
                };
                let found = from.get(name).cloned().map(Box::new);
                let found = found.ok_or_else(|| format!("{plural}.argoproj.io \"{name}\" not found"));
                Fact::Template { cluster_scope: *cluster_scope, name: name.clone(), found }
            }
            Need::ConfigMap { namespace, name } => {
                let found = Ok(self.config_maps.get(name).cloned());
                Fact::ConfigMap { namespace: namespace.clone(), name: name.clone(), found }
            }
            Need::VolumeClaims => {
                let run = &self.members[member].run;
                claims_at_hand(&run.workflow().metadata.name, run.spec())
            }
            Need::Memo { cache, key } => {
                let found = Ok(self.memos.get(&(cache.clone(), key.clone())).cloned());
                Fact::Memo { cache: cache.clone(), key: key.clone(), found }
            }
        }
    }

    /// The key of a member's workflow.
    fn key(&self, member: usize) -> String {
        let metadata = &self.members[member].stored.metadata;
        format!("{}/{}", metadata.namespace, metadata.name)
    }

    /// Tells workflows of their locks, and the table of limits. Returns whether anybody was told something.
    fn pass_on(&mut self, news: LockNews) -> bool {
        let mut told = false;
        let mut open = VecDeque::from([news]);
        while let Some(news) = open.pop_front() {
            for (holder, answer) in news.told {
                let found = (0..self.members.len()).find(|member| self.key(*member) == *holder.workflow);
                let Some(member) = found else { continue };
                told = true;
                let fact = Fact::Locks { holder, answer };
                if self.dice.percent(self.faults.double) {
                    self.observe(member, fact.clone());
                }
                self.observe(member, fact);
            }
            for (namespace, name) in news.limits {
                let data = self.config_maps.get(&name).map(|map| &map.data);
                open.push_back(self.locks.config_map(&namespace, &name, data));
            }
        }
        told
    }

    /// A new table of locks, from what is stored of the workflows.
    pub fn restore_locks(&mut self) {
        self.locks = Locks::default();
        for member in 0..self.members.len() {
            let news = self.locks.restore(&self.members[member].stored);
            self.pass_on(news);
        }
    }

    /// Somebody edits a ConfigMap.
    pub fn change_config_map(&mut self, namespace: &str, name: &str, key: &str, value: &str) {
        let map = self.config_maps.entry(name.to_string()).or_default();
        map.data.insert(key.to_string(), value.to_string());
        if self.locks.reads(namespace, name) {
            let news = self.locks.config_map(namespace, name, Some(&map.data));
            self.pass_on(news);
        }
    }
}

//! Nodes without a Pod: their templates go into the workflow's WorkflowTaskSet, and the agent's Pod carries them out.
//! argo: workflow/controller/taskset.go, agent.go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tiphys_api::{NodeResult, WorkflowSpec};
use tiphys_contract::label;
use tiphys_engine::{Fact, NodeId, TaskRequest};
use tiphys_podspec::{Agent, agent};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::leaving::Leaving;
use super::message::Message;
use super::pods::Workplace;
use super::prepare::{Known, Prepared};
use tiphys_kubernetes::{ApiError, Kind, Pod, TaskSetObject};

/// The tasks of one workflow.
pub(super) struct Tasks {
    to: UnboundedSender<Change>,
    /// Those that have not ended.
    open: BTreeSet<NodeId>,
    /// Those that have, of which the set still tells: whoever takes the workflow over before their ends are written reads
    /// them there.
    over: BTreeSet<NodeId>,
}

/// A change of the task set.
enum Change {
    Run(NodeId, Value),
    End(NodeId),
    /// The agent's Pod is there no more, and these wait for another.
    AgentGone(Vec<NodeId>),
    /// Nothing more comes: the agent may end.
    Close,
}

impl Tasks {
    /// Begins to write the workflow's task set.
    pub fn begin(place: Workplace, spec: Arc<WorkflowSpec>, prepared: Arc<OnceCell<Prepared>>) -> Tasks {
        let (to, changes) = mpsc::unbounded_channel();
        tokio::spawn(Writer { place, spec, prepared, changes, agent: false }.write());
        Tasks { to, open: BTreeSet::new(), over: BTreeSet::new() }
    }

    /// Has a task carried out.
    pub fn run(&mut self, request: &TaskRequest) {
        self.open.insert(request.node.clone());
        self.over.remove(&request.node);
        let template = serde_json::to_value(&*request.template).unwrap_or_default();
        self.tell(Change::Run(request.node.clone(), template));
    }

    /// A task has ended, or nobody wants its result any longer.
    pub fn end(&mut self, node: &NodeId) {
        self.open.remove(node);
        self.over.insert(node.clone());
    }

    /// The node's end is written: its task is taken back.
    pub fn forget(&mut self, node: &NodeId) {
        if self.over.remove(node) {
            self.tell(Change::End(node.clone()));
        }
    }

    /// What follows when the agent's Pod has failed: nobody carries out what is open. argo: agent.go, updateAgentPod.
    pub fn agent_failed(&self, reason: &str) -> Vec<Fact> {
        let result = json!({"phase": "Error", "message": format!("agent pod failed with reason:\"{reason}\"")});
        let result: NodeResult = serde_json::from_value(result).unwrap_or_default();
        self.tell(Change::AgentGone(Vec::new()));
        let of_one = |node: &NodeId| Fact::NodeResult { node: node.clone(), result: Box::new(result.clone()) };
        self.open.iter().map(of_one).collect()
    }

    /// The agent's Pod is gone: whatever waits gets another.
    pub fn agent_gone(&self) {
        self.tell(Change::AgentGone(self.open.iter().cloned().collect()));
    }

    /// The workflow is over. Its agent ends, so that whatever might be asked for again is carried out again.
    pub fn close(&mut self) {
        for node in std::mem::take(&mut self.over) {
            self.tell(Change::End(node));
        }
        self.tell(Change::Close);
    }

    fn tell(&self, change: Change) {
        // The writer is gone only after the workflow's end.
        let _ = self.to.send(change);
    }
}

/// What the agent has told of a workflow's tasks.
pub(super) fn facts(set: TaskSetObject) -> impl Iterator<Item = Fact> {
    let results = set.status.nodes;
    // One of which nothing was told yet is told too: a restart finds out which are still kept.
    let silent = set.spec.tasks.into_keys().filter(|id| !results.contains_key(id)).collect::<Vec<_>>();
    let told = results.into_iter().map(|(id, result)| (id, Box::new(result)));
    let all = told.chain(silent.into_iter().map(|id| (id, Box::default())));
    all.map(|(id, result)| Fact::NodeResult { node: NodeId::from(id.as_str()), result })
}

fn failed(place: &Workplace, node: NodeId, message: &str) {
    let result = json!({"phase": "Error", "message": message});
    let result = serde_json::from_value(result).unwrap_or_default();
    place.tell(Message::Fact(Fact::NodeResult { node, result: Box::new(result) }));
}

/// The name of a workflow's agent. argo: getAgentPodName.
pub(super) fn agent_name(workflow: &str) -> String {
    format!("{}-agent", NodeId::of(workflow, "agent"))
}

struct Writer {
    place: Workplace,
    spec: Arc<WorkflowSpec>,
    prepared: Arc<OnceCell<Prepared>>,
    changes: UnboundedReceiver<Change>,
    /// Whether the agent's Pod is there.
    agent: bool,
}

impl Writer {
    /// Writes what changed, everything that came meanwhile with the next patch.
    async fn write(mut self) {
        while let Some(first) = self.changes.recv().await {
            let mut tasks: BTreeMap<NodeId, Value> = BTreeMap::new();
            let mut waiting: BTreeSet<NodeId> = BTreeSet::new();
            let mut next = Some(first);
            let mut closed = false;
            while let Some(change) = next {
                match change {
                    Change::Run(node, template) => drop(tasks.insert(node, template)),
                    Change::End(node) => drop(tasks.insert(node, Value::Null)),
                    Change::AgentGone(open) => {
                        self.agent = false;
                        waiting.extend(open);
                    }
                    Change::Close => closed = true,
                }
                next = self.changes.try_recv().ok();
            }
            waiting.retain(|id| !tasks.contains_key(id));
            waiting.extend(tasks.iter().filter(|(_, task)| !task.is_null()).map(|(id, _)| id.clone()));
            let config = self.place.cluster.config();
            let made = match self.patch(&tasks, closed).await {
                Err(error) => Err(error.to_string()),
                Ok(()) if waiting.is_empty() || self.agent || config.no_agent => Ok(()),
                Ok(()) => self.make_agent().await.map(|()| self.agent = true),
            };
            if let Err(message) = made {
                waiting.iter().for_each(|id| failed(&self.place, id.clone(), &message));
            }
            if closed {
                if !config.no_agent {
                    // Plugins do not end by themselves. argo: operator.go, markWorkflowPhase.
                    let name = agent_name(&self.place.workflow);
                    self.place
                        .clone()
                        .delete(Leaving { name, uid: String::new(), guarded: false }, config.pod_gc_grace)
                        .await;
                }
                return;
            }
        }
    }

    async fn patch(&self, tasks: &BTreeMap<NodeId, Value>, closed: bool) -> Result<(), ApiError> {
        if tasks.is_empty() && !closed {
            return Ok(());
        }
        let by_id = |keep: fn(&Value) -> bool| -> Map<String, Value> {
            tasks.iter().filter(|(_, task)| keep(task)).map(|(id, task)| (id.to_string(), task.clone())).collect()
        };
        let mut patch = json!({"spec": {"tasks": by_id(|_| true)}});
        // A workflow that was opened again has it from its first end.
        if closed || tasks.values().any(|task| !task.is_null()) {
            patch["metadata"]["labels"][label::COMPLETED] = closed.to_string().into();
        }
        let sets = Kind::WorkflowTaskSet.within(&self.place.namespace);
        let path = sets.named(&self.place.workflow);
        let over = by_id(Value::is_null);
        if !over.is_empty() {
            match self.place.cluster.change(&format!("{path}/status"), &json!({"status": {"nodes": over}})).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        match self.place.cluster.change(&path, &patch).await {
            Err(error) if error.is_not_found() => {}
            changed => return changed,
        }
        let begun = by_id(|task| !task.is_null());
        if begun.is_empty() {
            return Ok(());
        }
        let mut labels = json!({});
        let config = self.place.cluster.config();
        if !config.pod.instance_id.is_empty() {
            labels[label::CONTROLLER_INSTANCE_ID] = config.pod.instance_id.as_str().into();
        }
        let set = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTaskSet",
            "metadata": {"name": &*self.place.workflow, "labels": labels, "ownerReferences": self.place.owner()},
            "spec": {"tasks": begun},
        });
        self.place.cluster.make(sets.path(), &set).await.map(|_| ())
    }

    /// Makes the agent's Pod, with the plugins that there are now.
    ///
    /// # Errors
    /// Why there is none, in words for its tasks' messages.
    async fn make_agent(&self) -> Result<(), String> {
        let (place, spec) = (&self.place, &self.spec);
        let prepared =
            self.prepared.get_or_try_init(|| place.prepare(spec, Known { claims: true, ..Known::default() })).await?;
        let failed = |reason: String| format!("create agent pod failed with reason:\"{reason}\"");
        let plugins = place.executor_plugins(spec).await.map_err(|error| failed(error.to_string()))?;
        let mut config = prepared.config.clone();
        let pod = loop {
            let made = agent(&Agent {
                name: &agent_name(&place.workflow),
                namespace: &place.namespace,
                workflow: &place.workflow,
                uid: &place.uid,
                spec,
                plugins: &plugins,
                config: &config,
            });
            match made {
                Ok(pod) => break pod,
                Err(error) => place.learn(spec, Arc::make_mut(&mut config), error).await.map_err(failed)?,
            }
        };
        if let Some(wait) = place.reserve() {
            tokio::time::sleep(wait).await;
        }
        self.submit(&pod).await.map_err(|reason| failed(format!("failed to create Agent pod: {reason}")))
    }

    /// Creates the Pod, in place of one that is over or on its way out: of the workflow before it was opened again.
    async fn submit(&self, pod: &Value) -> Result<(), String> {
        let place = &self.place;
        let pods = Kind::Pod.within(&place.namespace);
        let path = pods.named(&agent_name(&place.workflow));
        let words = |error: ApiError| error.to_string();
        for _ in 0..2 {
            if place.cluster.make(pods.path(), pod).await.map_err(words)? {
                return Ok(());
            }
            let there: Pod = match place.cluster.read(&path).await {
                Err(error) if error.is_not_found() => continue,
                there => there.map_err(words)?,
            };
            let works = matches!(there.status.phase.as_str(), "Pending" | "Running");
            if works && there.metadata.deletion_timestamp.is_none() && there.metadata.is_of(&place.uid) {
                return Ok(());
            }
            if there.metadata.label(label::WORKFLOW) != &*place.workflow {
                break;
            }
            place.clone().delete(there.metadata.into(), Some(0)).await;
        }
        match place.cluster.make(pods.path(), pod).await.map_err(words)? {
            true => Ok(()),
            false => Err("another Pod has its name, and stays".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_taken_back_when_its_end_is_written() {
        let (to, mut changes) = mpsc::unbounded_channel();
        let mut tasks = Tasks { to, open: BTreeSet::new(), over: BTreeSet::new() };
        let node = |name: &str| NodeId::from(name);
        let mut ended = || match changes.try_recv() {
            Ok(Change::End(node)) => node.to_string(),
            Ok(Change::Close) => "close".to_owned(),
            _ => "nothing".to_owned(),
        };
        tasks.open.extend([node("a"), node("b")]);
        tasks.end(&node("a"));
        assert_eq!(ended(), "nothing");
        tasks.forget(&node("a"));
        tasks.forget(&node("a"));
        assert_eq!((ended(), ended()), ("a".into(), "nothing".into()));
        tasks.end(&node("b"));
        tasks.close();
        assert_eq!((ended(), ended()), ("b".into(), "close".into()));
    }
}

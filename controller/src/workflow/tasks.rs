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

use super::message::Message;
use super::pods::Workplace;
use super::prepare::Prepared;
use tiphys_kubernetes::{ApiError, Kind, TaskSetObject};

/// The tasks of one workflow.
pub(super) struct Tasks {
    to: UnboundedSender<Change>,
    /// Those that have not ended.
    open: BTreeSet<NodeId>,
}

/// A change of the task set.
enum Change {
    Run(NodeId, Value),
    End(NodeId),
    /// Nothing more comes: the agent may end.
    Close,
}

impl Tasks {
    /// Begins to write the workflow's task set.
    pub fn begin(place: Workplace, spec: Arc<WorkflowSpec>, prepared: Arc<OnceCell<Prepared>>) -> Tasks {
        let (to, changes) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let ready = prepared.get_or_try_init(|| place.prepare(&spec, None)).await;
            match ready {
                Ok(ready) => Writer { place, changes, agent: false }.write(&spec, ready).await,
                Err(message) => refuse(&place, changes, &message).await,
            }
        });
        Tasks { to, open: BTreeSet::new() }
    }

    /// Has a task carried out.
    pub fn run(&mut self, request: &TaskRequest) {
        self.open.insert(request.node.clone());
        let template = serde_json::to_value(&*request.template).unwrap_or_default();
        self.tell(Change::Run(request.node.clone(), template));
    }

    /// Takes a task back.
    pub fn end(&mut self, node: &NodeId) {
        self.open.remove(node);
        self.tell(Change::End(node.clone()));
    }

    /// What follows when the agent's Pod has failed: nobody carries out what is open. argo: agent.go, updateAgentPod.
    pub fn agent_failed(&self, reason: &str) -> Vec<Fact> {
        let result = json!({"phase": "Error", "message": format!("agent pod failed with reason:\"{reason}\"")});
        let result: NodeResult = serde_json::from_value(result).unwrap_or_default();
        let of_one = |node: &NodeId| Fact::NodeResult { node: node.clone(), result: Box::new(result.clone()) };
        self.open.iter().map(of_one).collect()
    }

    /// The workflow is over.
    pub fn close(&self) {
        self.tell(Change::Close);
    }

    fn tell(&self, change: Change) {
        // The writer is gone only when it could do nothing, and has told so.
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

async fn refuse(place: &Workplace, mut changes: UnboundedReceiver<Change>, message: &str) {
    while let Some(change) = changes.recv().await {
        match change {
            Change::Run(node, _) => failed(place, node, message),
            Change::End(_) => {}
            Change::Close => return,
        }
    }
}

struct Writer {
    place: Workplace,
    changes: UnboundedReceiver<Change>,
    /// Whether the agent's Pod is there.
    agent: bool,
}

impl Writer {
    /// Writes what changed, everything that came meanwhile with the next patch.
    async fn write(mut self, spec: &WorkflowSpec, prepared: &Prepared) {
        while let Some(first) = self.changes.recv().await {
            let mut tasks: BTreeMap<NodeId, Value> = BTreeMap::new();
            let mut next = Some(first);
            let mut closed = false;
            while let Some(change) = next {
                match change {
                    Change::Run(node, template) => drop(tasks.insert(node, template)),
                    Change::End(node) => drop(tasks.insert(node, Value::Null)),
                    Change::Close => closed = true,
                }
                next = self.changes.try_recv().ok();
            }
            let begun: Vec<NodeId> =
                tasks.iter().filter(|(_, task)| !task.is_null()).map(|(id, _)| id.clone()).collect();
            if let Err(error) = self.patch(&tasks, closed).await {
                begun.iter().for_each(|id| failed(&self.place, id.clone(), &error.to_string()));
            } else if !begun.is_empty() && !self.agent && !self.place.cluster.config().no_agent {
                match self.make_agent(spec, prepared).await {
                    Ok(()) => self.agent = true,
                    Err(error) => {
                        let message =
                            format!("create agent pod failed with reason:\"failed to create Agent pod: {error}\"");
                        begun.iter().for_each(|id| failed(&self.place, id.clone(), &message));
                    }
                }
            }
            if closed {
                return;
            }
        }
    }

    async fn patch(&self, tasks: &BTreeMap<NodeId, Value>, closed: bool) -> Result<(), ApiError> {
        let by_id = |keep: fn(&Value) -> bool| -> Map<String, Value> {
            tasks.iter().filter(|(_, task)| keep(task)).map(|(id, task)| (id.to_string(), task.clone())).collect()
        };
        let mut patch = json!({"spec": {"tasks": by_id(|_| true)}});
        if closed {
            patch["metadata"]["labels"][label::COMPLETED] = "true".into();
        }
        let sets = Kind::WorkflowTaskSet.within(&self.place.namespace);
        let path = sets.named(&self.place.workflow);
        let over = by_id(Value::is_null);
        if !over.is_empty() {
            match self.place.change(&format!("{path}/status"), &json!({"status": {"nodes": over}})).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        match self.place.change(&path, &patch).await {
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
        self.place.make(sets.path(), &set).await.map(|_| ())
    }

    async fn make_agent(&self, spec: &WorkflowSpec, prepared: &Prepared) -> Result<(), ApiError> {
        let place = &self.place;
        // argo: getAgentPodName
        let name = format!("{}-agent", NodeId::of(&place.workflow, "agent"));
        let pod = agent(&Agent {
            name: &name,
            namespace: &place.namespace,
            workflow: &place.workflow,
            uid: &place.uid,
            spec,
            config: &prepared.config,
        });
        if let Some(wait) = place.reserve() {
            tokio::time::sleep(wait).await;
        }
        place.make(Kind::Pod.within(&place.namespace).path(), &pod).await.map(|_| ())
    }
}

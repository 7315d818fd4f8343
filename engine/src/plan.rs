//! What the engine wants done.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tiphys_api::Template;

use crate::id::NodeId;
use crate::locks::{LockHolder, LockRequest};

/// The engine's answer: what changed, what to do, what it must be told, and when to ask again without a new fact.
#[derive(Debug, Default)]
pub struct Plan {
    /// Nodes whose status changed since the last plan; look them up in the run's status.
    pub changed: Vec<NodeId>,
    /// Whether the workflow's own status (phase, message, outputs, conditions, …) changed.
    pub status_changed: bool,
    /// Effects, each idempotent. Status goes out first where the order matters: an action may be lost and is asked for
    /// again after a restart.
    pub actions: Vec<Action>,
    /// Facts that are missing. Each is asked for once; work that needs it waits.
    pub needs: Vec<Need>,
    /// The moment at which the engine has something to do by itself (backoff, deadline, suspend duration).
    pub wake_at: Option<Timestamp>,
}

/// One idempotent effect.
#[derive(Clone, Debug)]
pub enum Action {
    /// Make the Pod of a node. "Already exists" is success.
    CreatePod(Box<PodRequest>),
    /// End a node's Pod: one that has not started is deleted, otherwise its containers get SIGTERM and, after the grace
    /// period, SIGKILL. A Pod that is gone or over is success.
    KillPod {
        /// The node.
        node: NodeId,
        /// The Pod's name.
        pod_name: String,
    },
    /// Take a Pod away that has failed; when it is gone, [`crate::Fact::PodGone`] has another one made. One that is gone is
    /// success.
    ReplacePod {
        /// The node.
        node: NodeId,
        /// The Pod's name.
        pod_name: String,
        /// The Pod's uid: the one that comes after it has the same name.
        uid: String,
    },
    /// The main containers of a Pod are over while others run: those that do not end by themselves (sidecars that were
    /// injected) get SIGTERM and, after the grace period, SIGKILL. argo: operator.go, cleanUpPod.
    EndSidecars {
        /// The node.
        node: NodeId,
        /// The Pod's name.
        pod_name: String,
    },
    /// Carry out an `http` or `plugin` template: put it into the workflow's WorkflowTaskSet, or do it in this process. One
    /// that is there already is not begun again. What came of it is told with [`crate::Fact::NodeResult`].
    RunTask(Box<TaskRequest>),
    /// Take a task back: its node is over, by its result or without it. On a cluster the template and the result leave
    /// the WorkflowTaskSet; what is still under way is of no use to anybody. A task that is not there is success.
    EndTask {
        /// The node.
        node: NodeId,
    },
    /// Store a memoized result, with its time. An entry that is there already and as young or younger stays: after a restart
    /// results are told again.
    SaveMemo {
        /// The ConfigMap.
        cache: String,
        /// The key.
        key: String,
        /// The node it comes from.
        node: NodeId,
        /// When the node was over, which is how old the result is.
        created: Timestamp,
    },
    /// Locks are needed, all of them together: [`crate::Locks::acquire`]. The answer is [`crate::Fact::Locks`], at once or
    /// when it is the holder's turn. Asking again for what one has, or waits for, is fine.
    AcquireLocks(Box<LockRequest>),
    /// The holder's locks are free, and its place in line: [`crate::Locks::release`]. One that has none is fine.
    ReleaseLocks(LockHolder),
    /// A metric that the workflow defines has a value. It is told once; what it counts is lost with the process, as all
    /// metrics are.
    Measure(Box<Measurement>),
    /// The workflow has ended: let go of whatever was kept for it, its locks too ([`crate::Locks::forget`]).
    Finish,
}

/// A missing fact.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Need {
    /// A (Cluster)WorkflowTemplate; answered by [`crate::Fact::Template`].
    Template {
        /// A ClusterWorkflowTemplate?
        cluster_scope: bool,
        /// The object's name.
        name: String,
    },
    /// A ConfigMap; answered by [`crate::Fact::ConfigMap`].
    ConfigMap {
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
    },
    /// The workflow's own volume claims (`volumeClaimTemplates`), which are made where they are not there yet; answered by
    /// [`crate::Fact::VolumeClaims`], or by [`crate::Fact::VolumeClaimRefused`].
    VolumeClaims,
    /// A memoized result; answered by [`crate::Fact::Memo`].
    Memo {
        /// The ConfigMap.
        cache: String,
        /// The key.
        key: String,
    },
}

/// The template of a node that has no Pod.
#[derive(Clone, Debug)]
pub struct TaskRequest {
    /// The node's id: the task's key in the WorkflowTaskSet.
    pub node: NodeId,
    /// The node's full name.
    pub node_name: String,
    /// The template, with everything substituted.
    pub template: Arc<Template>,
}

/// Everything about one node that its Pod is made of. `podspec` turns it into a Pod.
#[derive(Clone, Debug)]
pub struct PodRequest {
    /// The node's id.
    pub node: NodeId,
    /// The node's full name.
    pub node_name: String,
    /// The Pod's name.
    pub pod_name: String,
    /// The template, with parameters substituted and artifacts located.
    pub template: Arc<Template>,
    /// The template of the enclosing steps or DAG: node selector, affinity and tolerations default to it.
    pub boundary: Option<Arc<Template>>,
    /// Whether the Pod belongs to an exit handler: the workflow's deadline and Stop do not end it.
    pub on_exit: bool,
    /// Whether something refers to the node's `outputs.result`.
    pub include_script_output: bool,
    /// The moment at which the executor ends the main containers (ARGO_DEADLINE).
    pub deadline: Option<Timestamp>,
    /// `activeDeadlineSeconds` of the Pod: the smallest of the template's, its timeout's and what is left of the workflow's.
    pub active_deadline_seconds: Option<i64>,
    /// `spec.volumes` of the workflow with variables substituted.
    pub volumes: Vec<Value>,
    /// The workflow's own variables, as they were when the Pod was asked for.
    pub globals: Arc<BTreeMap<String, String>>,
    /// The node's: inputs, `pod.name`, `node.name`, `retries`, ….
    pub variables: BTreeMap<String, String>,
    /// Hosts on which earlier attempts failed, where the retry strategy asks to keep away from them.
    pub avoid_hosts: Vec<String>,
}

impl PodRequest {
    /// Variables that may still stand in texts that are put into the Pod late (archive location keys, pod spec patches, Pod
    /// metadata): the node's own before the workflow's.
    pub fn all_variables(&self) -> BTreeMap<String, String> {
        let mut all = (*self.globals).clone();
        all.extend(self.variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }
}

/// A value of a metric that a workflow or template defines.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The metric's name, without any prefix.
    pub name: String,
    /// What it says.
    pub help: String,
    /// Labels in the order in which they are written.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub measured: Measured,
}

/// What is done to a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// A counter grows.
    Counter {
        /// By so much.
        value: f64,
    },
    /// A gauge changes.
    Gauge {
        /// How.
        operation: GaugeOperation,
        /// By or to so much.
        value: f64,
    },
    /// A histogram takes in a value.
    Histogram {
        /// Upper bounds of its buckets; none means the usual ones.
        bounds: Vec<f64>,
        /// The value.
        value: f64,
    },
    /// A gauge of the seconds since a moment, which goes on by itself until another moment, or until the workflow is over.
    Duration {
        /// From when.
        since: Timestamp,
        /// To when, once that is known.
        until: Option<Timestamp>,
    },
}

/// How a gauge changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaugeOperation {
    /// It becomes the value.
    Set,
    /// It grows by the value.
    Add,
    /// It shrinks by the value.
    Sub,
}

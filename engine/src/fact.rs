//! What a driver observed and tells the engine.
//!
//! Facts may come late, twice or in another order than they happened: each carries the whole of what is known of its
//! object, and the engine keeps the furthest state it has seen.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use tiphys_api::{ArtifactRepositoryRefStatus, NodePhase, NodeResult, Outputs, Time, WorkflowSpec};

use crate::estimate::Baseline;
use crate::id::NodeId;
use crate::locks::{LockAnswer, LockHolder};

/// One observation.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The answer to [`crate::Need::Template`]: the template's spec, or why there is none.
    Template {
        /// A ClusterWorkflowTemplate?
        cluster_scope: bool,
        /// The object's name.
        name: String,
        /// The spec, with the labels and annotations its `workflowMetadata` brings inside; or the API server's words.
        found: Result<Box<WorkflowSpec>, String>,
    },
    /// The answer to [`crate::Need::ConfigMap`].
    ConfigMap {
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
        /// Its labels and data, None where there is no such object; or why that is not known, in the API server's words.
        found: ConfigMapFound,
    },
    /// The answer to [`crate::Need::Memo`]: the entry under the key, if there is one.
    Memo {
        /// The name of the ConfigMap that is the cache.
        cache: String,
        /// The key.
        key: String,
        /// The entry.
        found: Result<Option<MemoEntry>, String>,
    },
    /// The state of a node's Pod.
    Pod {
        /// The node whose Pod it is.
        node: NodeId,
        /// The state.
        state: Box<PodState>,
    },
    /// A node's Pod does not exist (any more), although the engine asked for it.
    PodGone {
        /// The node whose Pod it was.
        node: NodeId,
    },
    /// A node's Pod could not be made.
    PodRefused {
        /// The node.
        node: NodeId,
        /// Why, in words for the node's message.
        message: String,
        /// Whether asking again later can help (quota, overload). The node stays Pending and the driver asks again by
        /// itself; otherwise the node errs.
        transient: bool,
    },
    /// What the executor reported of a node.
    TaskResult {
        /// The node.
        node: NodeId,
        /// Outputs so far.
        outputs: Box<Outputs>,
        /// `N/M`, empty when nothing was reported.
        progress: String,
        /// Whether nothing more will be reported.
        complete: bool,
    },
    /// A measurement ([`crate::Action::Measure`]) that contradicts what the metric was before, in words for the workflow's
    /// condition MetricsError.
    MetricRefused {
        /// Why.
        message: String,
    },
    /// What became of a task: a node without a Pod ([`crate::Action::RunTask`]). After a restart a driver tells of every
    /// task that is still kept somewhere, also of those without a result: the engine takes back those whose node is over.
    NodeResult {
        /// The node.
        node: NodeId,
        /// What was reported. In phase Unknown nothing was yet; a task that is not over may report more later. A task
        /// that cannot be carried out (no agent's Pod, say) is in phase Error.
        result: Box<NodeResult>,
    },
    /// Which artifact repository the workflow's artifacts go to, for those who look for them (argo: operator.go, operate).
    ArtifactRepository(Box<ArtifactRepositoryRefStatus>),
    /// A workflow before this one, by which durations are estimated.
    Baseline(Box<Baseline>),
    /// The volume claims that exist for the workflow (argo: operator.go, createPVCs, deletePVCs).
    VolumeClaims(Vec<Value>),
    /// A volume claim of the workflow cannot be made.
    VolumeClaimRefused {
        /// Why.
        message: String,
        /// Whether the driver asks again by itself.
        transient: bool,
    },
    /// The answer to [`crate::Action::AcquireLocks`], as the table of locks tells it.
    Locks {
        /// Who asked.
        holder: LockHolder,
        /// What became of it.
        answer: LockAnswer,
    },
    /// The status cannot be written any more, and why: it is too large for whatever could hold it. argo: operator.go,
    /// persistWorkflowSizeLimitErr.
    Unwritable(String),
    /// The user asks to stop: exit handlers run (`Stop`) or not (`Terminate`).
    Shutdown(Shutdown),
    /// The user suspends or resumes the whole workflow. Resuming also ends suspend nodes (argo: util.go, ResumeWorkflow).
    Suspended(bool),
    /// The user has changed the object's spec in something else than `suspend` and `shutdown`, which are as they were.
    Spec(Box<WorkflowSpec>),
    /// The user ends one suspend node, or sets outputs of it.
    SuspendNode {
        /// The node.
        node: NodeId,
        /// The phase to give, None to leave it.
        phase: Option<NodePhase>,
        /// The message to give.
        message: String,
        /// Values of supplied output parameters.
        parameters: BTreeMap<String, String>,
    },
}

impl Fact {
    /// The answer to [`crate::Need::VolumeClaims`], once and for all: the volumes over them, or why one cannot be made.
    pub fn volume_claims(answer: Result<Vec<Value>, String>) -> Fact {
        match answer {
            Ok(volumes) => Fact::VolumeClaims(volumes),
            Err(message) => Fact::VolumeClaimRefused { message, transient: false },
        }
    }
}

/// What came of looking for a ConfigMap.
pub type ConfigMapFound = Result<Option<ConfigMapData>, String>;

/// A ConfigMap as far as the engine cares.
#[derive(Clone, Debug, Default)]
pub struct ConfigMapData {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Text data.
    pub data: BTreeMap<String, String>,
}

/// A memoized result.
#[derive(Clone, Debug)]
pub struct MemoEntry {
    /// The node that it came from.
    pub node: String,
    /// Its outputs.
    pub outputs: Option<Outputs>,
    /// When it was stored.
    pub created: Timestamp,
}

/// How a workflow is asked to end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Running Pods end; exit handlers still run.
    Stop,
    /// Running Pods end; nothing more runs.
    Terminate,
}

impl Shutdown {
    /// The word in `spec.shutdown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Shutdown::Stop => "Stop",
            Shutdown::Terminate => "Terminate",
        }
    }
}

/// The phase of a Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodPhase {
    /// Not all init containers are done, or not scheduled yet.
    #[default]
    Pending,
    /// At least one container runs.
    Running,
    /// Every container ended with 0.
    Succeeded,
    /// Every container ended, at least one badly; or the Pod was evicted or ran into its deadline.
    Failed,
}

/// The state of a Pod, from its status (or from the local sandbox).
#[derive(Clone, Debug, Default)]
pub struct PodState {
    /// The Pod's uid.
    pub uid: String,
    /// Its phase.
    pub phase: PodPhase,
    /// `status.message`, for instance of an eviction or a deadline.
    pub message: String,
    /// `status.reason`.
    pub reason: String,
    /// The message of the PodScheduled condition while it is Unschedulable.
    pub unschedulable: String,
    /// The Pod's address.
    pub ip: String,
    /// The name of the machine it runs on.
    pub host: String,
    /// Init containers in order, then containers in order.
    pub containers: Vec<ContainerState>,
    /// Containers that run or have run, by name; told of a Pod that has failed.
    pub started: Vec<String>,
    /// Seconds times request, by resource (argo: util/resource/duration.go); empty while unknown.
    pub resources_duration: BTreeMap<String, i64>,
}

/// One container of a Pod.
#[derive(Clone, Debug)]
pub struct ContainerState {
    /// Its name.
    pub name: String,
    /// Whether it is an init container (native sidecars are not).
    pub init: bool,
    /// Whether its readiness probe succeeded.
    pub ready: bool,
    /// What it does.
    pub status: ContainerStatus,
}

/// What a container does.
#[derive(Clone, Debug)]
pub enum ContainerStatus {
    /// Not started.
    Waiting {
        /// For instance `ImagePullBackOff`; empty while nothing is wrong.
        reason: String,
        /// Details.
        message: String,
    },
    /// Started.
    Running,
    /// Ended.
    Terminated {
        /// Exit code, 128 + n for signal n.
        exit_code: i32,
        /// `Completed`, `Error`, `OOMKilled`, …
        reason: String,
        /// The termination message.
        message: String,
        /// When it ended.
        finished: Option<Time>,
    },
}

//! The parts of objects that the controller looks at. What is not named here is dropped while it is read, so that neither
//! managed fields nor the specs of thousands of Pods take memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tiphys_api::{NodeResult, Outputs, Time};

/// Of an object's metadata.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace: String,
    /// The uid.
    pub uid: String,
    /// The version.
    pub resource_version: String,
    /// When it was made.
    pub creation_timestamp: Option<Time>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whom it belongs to.
    pub owner_references: Vec<Owner>,
    /// Who must agree before it goes.
    pub finalizers: Vec<String>,
    /// When it was deleted, while somebody has not agreed.
    pub deletion_timestamp: Option<Time>,
}

/// An owner.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Its uid.
    pub uid: String,
}

impl Metadata {
    /// A label, empty where there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// Whether a workflow with this uid owns it. Of two workflows that have a name one after the other, only one does.
    pub fn is_of(&self, uid: &str) -> bool {
        self.owner_references.iter().any(|owner| owner.uid == uid)
    }
}

/// A list of objects, or a page of one.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub struct List<T> {
    /// The list's own metadata.
    pub metadata: ListMetadata,
    /// The objects.
    #[serde(default = "Vec::new", deserialize_with = "null_is_none")]
    pub items: Vec<T>,
}

/// Of a list's metadata.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMetadata {
    /// The version of the whole.
    pub resource_version: String,
    /// Where the next page begins; empty on the last.
    pub r#continue: String,
}

/// A list of metadata that has none is written `null`.
fn null_is_none<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An object without its content. A Workflow's changes with every write of our own, and is read only when somebody else
/// wrote; a ConfigMap's is read when somebody needs it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ObjectMeta {
    /// Its metadata.
    pub metadata: Metadata,
}

/// A WorkflowTaskResult.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TaskResultObject {
    /// Its metadata; the name is the node's id.
    pub metadata: Metadata,
    /// Outputs so far.
    pub outputs: Option<Outputs>,
    /// `N/M`
    pub progress: String,
}

/// A WorkflowTaskSet; its name is the workflow's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TaskSetObject {
    /// Its metadata.
    pub metadata: Metadata,
    /// What is to be done.
    pub spec: TaskSetSpec,
    /// What came of it.
    pub status: TaskSetStatus,
}

/// Of a WorkflowTaskSet's spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TaskSetSpec {
    /// Templates by node id, which are not looked at.
    pub tasks: BTreeMap<String, serde::de::IgnoredAny>,
}

/// A WorkflowTaskSet's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TaskSetStatus {
    /// Results by node id.
    pub nodes: BTreeMap<String, NodeResult>,
}

/// A Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Its metadata.
    pub metadata: Metadata,
    /// What it was to be.
    pub spec: PodSpec,
    /// What it is.
    pub status: PodStatus,
}

/// Of a Pod's spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node it was given to.
    pub node_name: String,
    /// Init containers.
    pub init_containers: Vec<SpecContainer>,
    /// Containers.
    pub containers: Vec<SpecContainer>,
    /// Seconds between SIGTERM and SIGKILL.
    pub termination_grace_period_seconds: Option<u64>,
    /// What it asked for as a whole.
    pub resources: Resources,
}

/// Of a container's spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpecContainer {
    /// Its name.
    pub name: String,
    /// `Always` on an init container makes it a sidecar.
    pub restart_policy: String,
    /// What it asked for.
    pub resources: Resources,
    /// What it mounts.
    pub volume_mounts: Vec<Mount>,
}

/// Of a container's volume mounts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// Where it sees the volume.
    pub mount_path: String,
}

/// Resources of a container, or of a Pod as a whole.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Quantities by name.
    pub requests: BTreeMap<String, Value>,
    /// Quantities by name; a request that is missing is as large as its limit.
    pub limits: BTreeMap<String, Value>,
}

/// A Pod's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`
    pub phase: String,
    /// Details.
    pub message: String,
    /// `Evicted`, `DeadlineExceeded`, …
    pub reason: String,
    /// Its address.
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Init containers.
    pub init_container_statuses: Vec<ContainerStatus>,
    /// Containers.
    pub container_statuses: Vec<ContainerStatus>,
}

/// A condition of a Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// `PodScheduled`, …
    pub r#type: String,
    /// `True`, `False`, `Unknown`
    pub status: String,
    /// One word.
    pub reason: String,
    /// Details.
    pub message: String,
}

/// A container's status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// Whether its readiness probe succeeded.
    pub ready: bool,
    /// What it does.
    pub state: State,
}

/// What a container does: one of these, or nothing yet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct State {
    /// Not started.
    pub waiting: Option<Waiting>,
    /// Started.
    pub running: Option<Value>,
    /// Ended.
    pub terminated: Option<Terminated>,
}

/// Why it has not started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// One word.
    pub reason: String,
    /// Details.
    pub message: String,
}

/// How it ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    /// Its exit code.
    pub exit_code: i32,
    /// One word.
    pub reason: String,
    /// The termination message.
    pub message: String,
    /// When it started.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
}

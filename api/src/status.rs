//! What has become of a workflow: its status and its nodes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::artifact::ArtifactRepository;
use crate::nodes::Nodes;
use crate::object::object;
use crate::phase::{NodePhase, NodeType, WorkflowPhase};
use crate::scalar::Time;
use crate::template::{Inputs, Outputs, Template, TemplateRef};
use crate::workflow::WorkflowSpec;

object! {
    /// The state of a workflow.
    pub struct WorkflowStatus {
        "phase" => phase: WorkflowPhase,
        "startedAt" => started_at: Option<Time>,
        "finishedAt" => finished_at: Option<Time>,
        "estimatedDuration" => estimated_duration: i64,
        "progress" => progress: String,
        "message" => message: String,
        "compressedNodes" => compressed_nodes: String,
        "nodes" => nodes: Nodes,
        "offloadNodeStatusVersion" => offload_node_status_version: String,
        "storedTemplates" => stored_templates: BTreeMap<String, Template>,
        "persistentVolumeClaims" => persistent_volume_claims: Vec<Value>,
        "outputs" => outputs: Option<Box<Outputs>>,
        "conditions" => conditions: Vec<Condition>,
        "resourcesDuration" => resources_duration: BTreeMap<String, i64>,
        "storedWorkflowTemplateSpec" => stored_workflow_template_spec: Option<Box<WorkflowSpec>>,
        "synchronization" => synchronization: Option<Box<SynchronizationStatus>>,
        "artifactRepositoryRef" => artifact_repository_ref: Option<Box<ArtifactRepositoryRefStatus>>,
        "artifactGCStatus" => artifact_gc_status: Option<Box<ArtGcStatus>>,
        "taskResultsCompletionStatus" => task_results_completion_status: BTreeMap<String, bool>,
    }
}

impl WorkflowStatus {
    /// All of it but its nodes, which are most of it.
    pub fn without_nodes(&self) -> WorkflowStatus {
        WorkflowStatus {
            phase: self.phase,
            started_at: self.started_at,
            finished_at: self.finished_at,
            estimated_duration: self.estimated_duration,
            progress: self.progress.clone(),
            message: self.message.clone(),
            compressed_nodes: self.compressed_nodes.clone(),
            nodes: Nodes::default(),
            offload_node_status_version: self.offload_node_status_version.clone(),
            stored_templates: self.stored_templates.clone(),
            persistent_volume_claims: self.persistent_volume_claims.clone(),
            outputs: self.outputs.clone(),
            conditions: self.conditions.clone(),
            resources_duration: self.resources_duration.clone(),
            stored_workflow_template_spec: self.stored_workflow_template_spec.clone(),
            synchronization: self.synchronization.clone(),
            artifact_repository_ref: self.artifact_repository_ref.clone(),
            artifact_gc_status: self.artifact_gc_status.clone(),
            task_results_completion_status: self.task_results_completion_status.clone(),
            extra: self.extra.clone(),
        }
    }
}

object! {
    /// The state of one node of a workflow.
    pub struct NodeStatus {
        "id" => id: String,
        "name" => name: String,
        "displayName" => display_name: String,
        "type" => r#type: NodeType,
        "templateName" => template_name: String,
        "templateRef" => template_ref: Option<Box<TemplateRef>>,
        "templateScope" => template_scope: String,
        "phase" => phase: NodePhase,
        "boundaryID" => boundary_id: String,
        "message" => message: String,
        "startedAt" => started_at: Option<Time>,
        "finishedAt" => finished_at: Option<Time>,
        "estimatedDuration" => estimated_duration: i64,
        "progress" => progress: String,
        "resourcesDuration" => resources_duration: BTreeMap<String, i64>,
        "podIP" => pod_ip: String,
        "daemoned" => daemoned: Option<bool>,
        "nodeFlag" => node_flag: Option<Box<NodeFlag>>,
        "inputs" => inputs: Option<Box<Inputs>>,
        "outputs" => outputs: Option<Box<Outputs>>,
        "children" => children: Vec<String>,
        "outboundNodes" => outbound_nodes: Vec<String>,
        "hostNodeName" => host_node_name: String,
        "memoizationStatus" => memoization_status: Option<Box<MemoizationStatus>>,
        "synchronizationStatus" => synchronization_status: Option<Box<NodeSynchronizationStatus>>,
        "taskResultSynced" => task_result_synced: Option<bool>,
        "failedPodRestarts" => failed_pod_restarts: i64,
        "restartingPodUID" => restarting_pod_uid: String,
    }
}

object! {
    /// How a node came to be.
    pub struct NodeFlag {
        "hooked" => hooked: bool,
        "retried" => retried: bool,
    }
}

object! {
    /// One observed condition of a workflow.
    pub struct Condition {
        "type" => r#type: String,
        "status" => status: String,
        "message" => message: String,
    }
}

object! {
    /// Whether a node's result came from a cache.
    pub struct MemoizationStatus {
        "hit" => hit: Option<bool>,
        "key" => key: String,
        "cacheName" => cache_name: String,
    }
}

object! {
    /// The locks a workflow holds or waits for.
    pub struct SynchronizationStatus {
        "semaphore" => semaphore: Option<Box<SemaphoreStatus>>,
        "mutex" => mutex: Option<Box<MutexStatus>>,
    }
}

object! {
    /// The semaphores a workflow holds or waits for.
    pub struct SemaphoreStatus {
        "holding" => holding: Vec<SemaphoreHolding>,
        "waiting" => waiting: Vec<SemaphoreHolding>,
    }
}

object! {
    /// One semaphore and who holds it.
    pub struct SemaphoreHolding {
        "semaphore" => semaphore: String,
        "holders" => holders: Vec<String>,
    }
}

object! {
    /// The mutexes a workflow holds or waits for.
    pub struct MutexStatus {
        "holding" => holding: Vec<MutexHolding>,
        "waiting" => waiting: Vec<MutexHolding>,
    }
}

object! {
    /// One mutex and who holds it.
    pub struct MutexHolding {
        "mutex" => mutex: String,
        "holder" => holder: String,
    }
}

object! {
    /// The lock a node waits for.
    pub struct NodeSynchronizationStatus {
        "waiting" => waiting: String,
    }
}

object! {
    /// The artifact repository that was chosen for a workflow.
    pub struct ArtifactRepositoryRefStatus {
        "configMap" => config_map: String,
        "key" => key: String,
        "namespace" => namespace: String,
        "default" => default: bool,
        "artifactRepository" => artifact_repository: Option<Box<ArtifactRepository>>,
    }
}

object! {
    /// How far artifact deletion has come.
    pub struct ArtGcStatus {
        "strategiesProcessed" => strategies_processed: BTreeMap<String, bool>,
        "podsRecouped" => pods_recouped: BTreeMap<String, bool>,
        "notSpecified" => not_specified: bool,
    }
}

//! The other kinds of the API group: cron, task results and sets, events, artifact collection.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::artifact::{Artifact, ArtifactLocation};
use crate::kube::ObjectMeta;
use crate::object::object;
use crate::phase::NodePhase;
use crate::scalar::Time;
use crate::status::Condition;
use crate::template::{Outputs, Template};
use crate::workflow::{Arguments, WorkflowSpec, WorkflowTemplateRef};

object! {
    /// A workflow that is started by a schedule.
    pub struct CronWorkflow {
        "apiVersion" => api_version: String,
        "kind" => kind: String,
        "metadata" => metadata: ObjectMeta,
        "spec" => spec: CronWorkflowSpec,
        "status" => status: CronWorkflowStatus,
    }
}

object! {
    /// The schedule, and what to start.
    pub struct CronWorkflowSpec {
        "workflowSpec" => workflow_spec: WorkflowSpec,
        "concurrencyPolicy" => concurrency_policy: String,
        "suspend" => suspend: bool,
        "startingDeadlineSeconds" => starting_deadline_seconds: Option<i64>,
        "successfulJobsHistoryLimit" => successful_jobs_history_limit: Option<i64>,
        "failedJobsHistoryLimit" => failed_jobs_history_limit: Option<i64>,
        "timezone" => timezone: String,
        "workflowMetadata" => workflow_metadata: Option<ObjectMeta>,
        "stopStrategy" => stop_strategy: Option<Box<StopStrategy>>,
        "schedules" => schedules: Vec<String>,
        "when" => when: String,
    }
}

object! {
    /// When a schedule ends for good.
    pub struct StopStrategy {
        "expression" => expression: String,
    }
}

object! {
    /// The state of a schedule.
    pub struct CronWorkflowStatus {
        "active" => active: Vec<Value>,
        "lastScheduledTime" => last_scheduled_time: Option<Time>,
        "conditions" => conditions: Vec<Condition>,
        "succeeded" => succeeded: i64,
        "failed" => failed: i64,
        "phase" => phase: String,
    }
}

object! {
    /// What the executor reports of one node.
    pub struct WorkflowTaskResult {
        "apiVersion" => api_version: String,
        "kind" => kind: String,
        "metadata" => metadata: ObjectMeta,
        "phase" => phase: NodePhase,
        "message" => message: String,
        "outputs" => outputs: Option<Box<Outputs>>,
        "progress" => progress: String,
    }
}

object! {
    /// Phase, message, outputs and progress of one node.
    pub struct NodeResult {
        "phase" => phase: NodePhase,
        "message" => message: String,
        "outputs" => outputs: Option<Box<Outputs>>,
        "progress" => progress: String,
    }
}

object! {
    /// Work for the agent.
    pub struct WorkflowTaskSet {
        "apiVersion" => api_version: String,
        "kind" => kind: String,
        "metadata" => metadata: ObjectMeta,
        "spec" => spec: WorkflowTaskSetSpec,
        "status" => status: WorkflowTaskSetStatus,
    }
}

object! {
    /// Templates to run, by node id.
    pub struct WorkflowTaskSetSpec {
        "tasks" => tasks: BTreeMap<String, Template>,
    }
}

object! {
    /// Results, by node id.
    pub struct WorkflowTaskSetStatus {
        "nodes" => nodes: BTreeMap<String, NodeResult>,
    }
}

object! {
    /// A rule that starts a workflow when an event arrives.
    pub struct WorkflowEventBinding {
        "apiVersion" => api_version: String,
        "kind" => kind: String,
        "metadata" => metadata: ObjectMeta,
        "spec" => spec: WorkflowEventBindingSpec,
    }
}

object! {
    /// Which events, and what to start.
    pub struct WorkflowEventBindingSpec {
        "event" => event: Event,
        "submit" => submit: Option<Box<Submit>>,
    }
}

object! {
    /// Selects events by an expression.
    pub struct Event {
        "selector" => selector: String,
    }
}

object! {
    /// What to start on an event.
    pub struct Submit {
        "workflowTemplateRef" => workflow_template_ref: WorkflowTemplateRef,
        "metadata" => metadata: ObjectMeta,
        "arguments" => arguments: Option<Box<Arguments>>,
    }
}

object! {
    /// Artifacts to delete.
    pub struct WorkflowArtifactGCTask {
        "apiVersion" => api_version: String,
        "kind" => kind: String,
        "metadata" => metadata: ObjectMeta,
        "spec" => spec: ArtifactGcSpec,
        "status" => status: ArtifactGcStatus,
    }
}

object! {
    /// Artifacts to delete, by node.
    pub struct ArtifactGcSpec {
        "artifactsByNode" => artifacts_by_node: BTreeMap<String, ArtifactNodeSpec>,
    }
}

object! {
    /// Artifacts of one node to delete.
    pub struct ArtifactNodeSpec {
        "archiveLocation" => archive_location: Option<Box<ArtifactLocation>>,
        "artifacts" => artifacts: BTreeMap<String, Artifact>,
    }
}

object! {
    /// What was deleted, by node.
    pub struct ArtifactGcStatus {
        "artifactResultsByNode" => artifact_results_by_node: BTreeMap<String, ArtifactResultNodeStatus>,
    }
}

object! {
    /// What was deleted of one node.
    pub struct ArtifactResultNodeStatus {
        "artifactResults" => artifact_results: BTreeMap<String, ArtifactResult>,
    }
}

object! {
    /// Whether one artifact was deleted.
    pub struct ArtifactResult {
        "name" => name: String,
        "success" => success: bool,
        "error" => error: Option<String>,
    }
}

//! The Workflow object, its spec and what a spec is made of besides templates.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::artifact::{Artifact, ArtifactRepositoryRef, WorkflowLevelArtifactGc};
use crate::kube::ObjectMeta;
use crate::object::object;
use crate::policy::{Metrics, RetryStrategy, Synchronization};
use crate::status::WorkflowStatus;
use crate::template::{Metadata, Parameter, Template, TemplateRef};

object! {
    /// A workflow: what to run (`spec`) and what has come of it (`status`).
    pub struct Workflow {
        "apiVersion" => api_version: String,
        "kind" => kind: String,
        "metadata" => metadata: ObjectMeta,
        "spec" => spec: WorkflowSpec,
        "status" => status: WorkflowStatus,
    }
}

impl Workflow {
    /// The spec that is executed: what was put together from the template that the workflow names, else its own, in which the
    /// defaults are. argo: workflow_types.go, GetExecSpec.
    pub fn executed_spec(&self) -> &WorkflowSpec {
        self.status.stored_workflow_template_spec.as_deref().unwrap_or(&self.spec)
    }
}

object! {
    /// A spec kept in a namespace for others to refer to.
    pub struct WorkflowTemplate {
        "apiVersion" => api_version: String,
        "kind" => kind: String,
        "metadata" => metadata: ObjectMeta,
        "spec" => spec: WorkflowSpec,
    }
}

object! {
    /// A spec kept for the whole cluster to refer to.
    pub struct ClusterWorkflowTemplate {
        "apiVersion" => api_version: String,
        "kind" => kind: String,
        "metadata" => metadata: ObjectMeta,
        "spec" => spec: WorkflowSpec,
    }
}

object! {
    /// What to run: templates, the entry point, and settings for all of its Pods.
    pub struct WorkflowSpec {
        "templates" => templates: Vec<Template>,
        "entrypoint" => entrypoint: String,
        "arguments" => arguments: Arguments,
        "serviceAccountName" => service_account_name: String,
        "automountServiceAccountToken" => automount_service_account_token: Option<bool>,
        "executor" => executor: Option<Box<ExecutorConfig>>,
        "volumes" => volumes: Vec<Value>,
        "volumeClaimTemplates" => volume_claim_templates: Vec<Value>,
        "parallelism" => parallelism: Option<i64>,
        "artifactRepositoryRef" => artifact_repository_ref: Option<Box<ArtifactRepositoryRef>>,
        "suspend" => suspend: Option<bool>,
        "nodeSelector" => node_selector: BTreeMap<String, String>,
        "affinity" => affinity: Option<Value>,
        "tolerations" => tolerations: Vec<Value>,
        "imagePullSecrets" => image_pull_secrets: Vec<Value>,
        "hostNetwork" => host_network: Option<bool>,
        "dnsPolicy" => dns_policy: Option<Value>,
        "dnsConfig" => dns_config: Option<Value>,
        "onExit" => on_exit: String,
        "ttlStrategy" => ttl_strategy: Option<Box<TtlStrategy>>,
        "activeDeadlineSeconds" => active_deadline_seconds: Option<i64>,
        "priority" => priority: Option<i64>,
        "schedulerName" => scheduler_name: String,
        "podGC" => pod_gc: Option<Box<PodGc>>,
        "podPriorityClassName" => pod_priority_class_name: String,
        "hostAliases" => host_aliases: Vec<Value>,
        "securityContext" => security_context: Option<Value>,
        "podSpecPatch" => pod_spec_patch: String,
        "podDisruptionBudget" => pod_disruption_budget: Option<Value>,
        "metrics" => metrics: Option<Box<Metrics>>,
        "shutdown" => shutdown: String,
        "workflowTemplateRef" => workflow_template_ref: Option<Box<WorkflowTemplateRef>>,
        "synchronization" => synchronization: Option<Box<Synchronization>>,
        "volumeClaimGC" => volume_claim_gc: Option<Box<VolumeClaimGc>>,
        "retryStrategy" => retry_strategy: Option<Box<RetryStrategy>>,
        "podMetadata" => pod_metadata: Option<Box<Metadata>>,
        "templateDefaults" => template_defaults: Option<Box<Template>>,
        "archiveLogs" => archive_logs: Option<bool>,
        "hooks" => hooks: BTreeMap<String, LifecycleHook>,
        "workflowMetadata" => workflow_metadata: Option<Box<WorkflowMetadata>>,
        "artifactGC" => artifact_gc: Option<Box<WorkflowLevelArtifactGc>>,
        "executorPlugins" => executor_plugins: Vec<ExecutorPlugin>,
        "podResources" => pod_resources: Option<Value>,
        "resourceClaims" => resource_claims: Vec<Value>,
    }
}

object! {
    /// Values handed to a template or to the whole workflow.
    pub struct Arguments {
        "parameters" => parameters: Vec<Parameter>,
        "artifacts" => artifacts: Vec<Artifact>,
    }
}

object! {
    /// Names the template whose spec a workflow takes as its own.
    pub struct WorkflowTemplateRef {
        "name" => name: String,
        "clusterScope" => cluster_scope: bool,
    }
}

object! {
    /// Labels and annotations that a workflow gets from its template or from expressions.
    pub struct WorkflowMetadata {
        "labels" => labels: BTreeMap<String, String>,
        "annotations" => annotations: BTreeMap<String, String>,
        "labelsFrom" => labels_from: BTreeMap<String, LabelValueFrom>,
    }
}

object! {
    /// A label's value computed by an expression.
    pub struct LabelValueFrom {
        "expression" => expression: String,
    }
}

object! {
    /// A template to run when an expression becomes true, or at the end (`exit`).
    pub struct LifecycleHook {
        "template" => template: String,
        "arguments" => arguments: Arguments,
        "templateRef" => template_ref: Option<Box<TemplateRef>>,
        "expression" => expression: String,
    }
}

object! {
    /// How long a finished workflow is kept, in seconds.
    pub struct TtlStrategy {
        "secondsAfterCompletion" => seconds_after_completion: Option<i64>,
        "secondsAfterSuccess" => seconds_after_success: Option<i64>,
        "secondsAfterFailure" => seconds_after_failure: Option<i64>,
    }
}

object! {
    /// When a workflow's Pods are deleted.
    pub struct PodGc {
        "strategy" => strategy: String,
        "labelSelector" => label_selector: Option<Value>,
        "deleteDelayDuration" => delete_delay_duration: String,
    }
}

object! {
    /// When a workflow's volume claims are deleted.
    pub struct VolumeClaimGc {
        "strategy" => strategy: String,
    }
}

object! {
    /// The service account of the executor's containers.
    pub struct ExecutorConfig {
        "serviceAccountName" => service_account_name: String,
    }
}

object! {
    /// An executor plugin declared by the workflow itself.
    pub struct ExecutorPlugin {
        "metadata" => metadata: ObjectMeta,
        "spec" => spec: ExecutorPluginSpec,
    }
}

object! {
    /// What a plugin is made of.
    pub struct ExecutorPluginSpec {
        "sidecar" => sidecar: ExecutorPluginSidecar,
    }
}

object! {
    /// The container that serves a plugin.
    pub struct ExecutorPluginSidecar {
        "automountServiceAccountToken" => automount_service_account_token: bool,
        "container" => container: Value,
    }
}

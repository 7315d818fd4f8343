//! A template: one unit of work, and everything that can be said of it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::artifact::{Artifact, ArtifactLocation};
use crate::kube::{Container, KeySelector, LocalObjectReference};
use crate::object::object;
use crate::policy::{Metrics, RetryStrategy, Synchronization};
use crate::scalar::{AnyString, IntOrString, Item};
use crate::workflow::{Arguments, ExecutorConfig, LifecycleHook};

object! {
    /// One unit of work. Exactly one of the type fields (`container`, `script`, `steps`, `dag`, …) is set.
    pub struct Template {
        "name" => name: String,
        "inputs" => inputs: Inputs,
        "outputs" => outputs: Outputs,
        "nodeSelector" => node_selector: BTreeMap<String, String>,
        "affinity" => affinity: Option<Value>,
        "metadata" => metadata: Metadata,
        "daemon" => daemon: Option<bool>,
        "steps" => steps: Option<Vec<Vec<Task>>>,
        "container" => container: Option<Box<Container>>,
        "containerSet" => container_set: Option<Box<ContainerSet>>,
        "script" => script: Option<Box<Container>>,
        "resource" => resource: Option<Box<Resource>>,
        "dag" => dag: Option<Box<Dag>>,
        "suspend" => suspend: Option<Box<Suspend>>,
        "data" => data: Option<Box<Data>>,
        "http" => http: Option<Box<Http>>,
        "plugin" => plugin: Option<Value>,
        "volumes" => volumes: Vec<Value>,
        "initContainers" => init_containers: Vec<Container>,
        "sidecars" => sidecars: Vec<Container>,
        "archiveLocation" => archive_location: Option<Box<ArtifactLocation>>,
        "activeDeadlineSeconds" => active_deadline_seconds: Option<IntOrString>,
        "retryStrategy" => retry_strategy: Option<Box<RetryStrategy>>,
        "parallelism" => parallelism: Option<i64>,
        "failFast" => fail_fast: Option<bool>,
        "tolerations" => tolerations: Vec<Value>,
        "schedulerName" => scheduler_name: String,
        "priorityClassName" => priority_class_name: String,
        "serviceAccountName" => service_account_name: String,
        "automountServiceAccountToken" => automount_service_account_token: Option<bool>,
        "executor" => executor: Option<Box<ExecutorConfig>>,
        "hostAliases" => host_aliases: Vec<Value>,
        "securityContext" => security_context: Option<Value>,
        "podSpecPatch" => pod_spec_patch: String,
        "metrics" => metrics: Option<Box<Metrics>>,
        "synchronization" => synchronization: Option<Box<Synchronization>>,
        "memoize" => memoize: Option<Box<Memoize>>,
        "timeout" => timeout: String,
        "annotations" => annotations: BTreeMap<String, String>,
        "pendingTimeout" => pending_timeout: String,
        "podResources" => pod_resources: Option<Value>,
        "resourceClaims" => resource_claims: Vec<Value>,
    }
}

object! {
    /// What a template takes.
    pub struct Inputs {
        "parameters" => parameters: Vec<Parameter>,
        "artifacts" => artifacts: Vec<Artifact>,
    }
}

object! {
    /// What a template declares to give, or what a node gave.
    pub struct Outputs {
        "parameters" => parameters: Vec<Parameter>,
        "artifacts" => artifacts: Vec<Artifact>,
        "result" => result: Option<String>,
        "exitCode" => exit_code: Option<String>,
    }
}

object! {
    /// Labels and annotations for a Pod.
    pub struct Metadata {
        "annotations" => annotations: BTreeMap<String, String>,
        "labels" => labels: BTreeMap<String, String>,
    }
}

object! {
    /// A named text value, declared or given.
    pub struct Parameter {
        "name" => name: String,
        "default" => default: Option<AnyString>,
        "value" => value: Option<AnyString>,
        "valueFrom" => value_from: Option<Box<ValueFrom>>,
        "globalName" => global_name: String,
        "enum" => r#enum: Vec<AnyString>,
        "description" => description: Option<AnyString>,
    }
}

object! {
    /// Where a parameter's value comes from.
    pub struct ValueFrom {
        "path" => path: String,
        "jsonPath" => json_path: String,
        "jqFilter" => jq_filter: String,
        "event" => event: String,
        "parameter" => parameter: String,
        "supplied" => supplied: Option<Value>,
        "configMapKeyRef" => config_map_key_ref: Option<KeySelector>,
        "default" => default: Option<AnyString>,
        "expression" => expression: String,
    }
}

object! {
    /// A step of `steps` or a task of `dag`: which template to run, with what, when and how often. `dependencies` and `depends` belong to DAG tasks only.
    pub struct Task {
        "name" => name: String,
        "template" => template: String,
        "inline" => inline: Option<Box<Template>>,
        "arguments" => arguments: Arguments,
        "templateRef" => template_ref: Option<Box<TemplateRef>>,
        "dependencies" => dependencies: Vec<String>,
        "withItems" => with_items: Vec<Item>,
        "withParam" => with_param: String,
        "withSequence" => with_sequence: Option<Box<Sequence>>,
        "when" => when: String,
        "continueOn" => continue_on: Option<Box<ContinueOn>>,
        "onExit" => on_exit: String,
        "depends" => depends: String,
        "hooks" => hooks: BTreeMap<String, LifecycleHook>,
    }
}

object! {
    /// Names a template inside a (Cluster)WorkflowTemplate.
    pub struct TemplateRef {
        "name" => name: String,
        "template" => template: String,
        "clusterScope" => cluster_scope: bool,
    }
}

object! {
    /// A loop over numbers.
    pub struct Sequence {
        "count" => count: Option<IntOrString>,
        "start" => start: Option<IntOrString>,
        "end" => end: Option<IntOrString>,
        "format" => format: String,
    }
}

object! {
    /// Which failures do not stop what comes after.
    pub struct ContinueOn {
        "error" => error: bool,
        "failed" => failed: bool,
    }
}

object! {
    /// Tasks ordered by their dependencies.
    pub struct Dag {
        "target" => target: String,
        "tasks" => tasks: Vec<Task>,
        "failFast" => fail_fast: Option<bool>,
    }
}

object! {
    /// A pause, until resumed or for a duration.
    pub struct Suspend {
        "duration" => duration: String,
    }
}

object! {
    /// Several main containers in one Pod.
    pub struct ContainerSet {
        "containers" => containers: Vec<Container>,
        "volumeMounts" => volume_mounts: Vec<Value>,
        "retryStrategy" => retry_strategy: Option<Box<ContainerSetRetryStrategy>>,
    }
}

object! {
    /// Retries inside the Pod of a container set.
    pub struct ContainerSetRetryStrategy {
        "duration" => duration: String,
        "retries" => retries: Option<IntOrString>,
    }
}

object! {
    /// An operation on a Kubernetes object.
    pub struct Resource {
        "action" => action: String,
        "mergeStrategy" => merge_strategy: String,
        "manifest" => manifest: String,
        "manifestFrom" => manifest_from: Option<Box<ManifestFrom>>,
        "setOwnerReference" => set_owner_reference: bool,
        "successCondition" => success_condition: String,
        "failureCondition" => failure_condition: String,
        "flags" => flags: Vec<String>,
    }
}

object! {
    /// A manifest that is an input artifact.
    pub struct ManifestFrom {
        "artifact" => artifact: Option<Box<Artifact>>,
    }
}

object! {
    /// Lists artifacts and transforms the list.
    pub struct Data {
        "source" => source: DataSource,
        "transformation" => transformation: Vec<TransformationStep>,
    }
}

object! {
    /// Where a data template reads from.
    pub struct DataSource {
        "artifactPaths" => artifact_paths: Option<Box<Artifact>>,
    }
}

object! {
    /// One expression over the data so far.
    pub struct TransformationStep {
        "expression" => expression: String,
    }
}

object! {
    /// A request made by the agent.
    pub struct Http {
        "method" => method: String,
        "url" => url: String,
        "headers" => headers: Vec<HttpHeader>,
        "timeoutSeconds" => timeout_seconds: Option<i64>,
        "successCondition" => success_condition: String,
        "body" => body: String,
        "bodyFrom" => body_from: Option<Box<HttpBodySource>>,
        "insecureSkipVerify" => insecure_skip_verify: bool,
    }
}

object! {
    /// A request header.
    pub struct HttpHeader {
        "name" => name: String,
        "value" => value: String,
        "valueFrom" => value_from: Option<Box<HttpHeaderSource>>,
    }
}

object! {
    /// A header's value from a Secret.
    pub struct HttpHeaderSource {
        "secretKeyRef" => secret_key_ref: Option<KeySelector>,
    }
}

object! {
    /// A request body as base64 bytes.
    pub struct HttpBodySource {
        "bytes" => bytes: String,
    }
}

object! {
    /// Reuse of an earlier result with the same key.
    pub struct Memoize {
        "key" => key: String,
        "cache" => cache: Option<Box<Cache>>,
        "maxAge" => max_age: String,
    }
}

object! {
    /// Where memoized results are kept.
    pub struct Cache {
        "configMap" => config_map: Option<LocalObjectReference>,
    }
}

/// The kind of work a template does: which of its type fields is set. argo: workflow_types.go, Template.GetType.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TemplateType {
    /// `container`
    Container,
    /// `containerSet`
    ContainerSet,
    /// `steps`
    Steps,
    /// `script`
    Script,
    /// `resource`
    Resource,
    /// `dag`
    Dag,
    /// `suspend`
    Suspend,
    /// `data`
    Data,
    /// `http`
    Http,
    /// `plugin`
    Plugin,
}

impl Template {
    /// The first type field that is set, in Argo's order; None where there is none.
    pub fn template_type(&self) -> Option<TemplateType> {
        self.template_types().next()
    }

    /// Every type field that is set.
    pub fn template_types(&self) -> impl Iterator<Item = TemplateType> {
        [
            (self.container.is_some(), TemplateType::Container),
            (self.container_set.is_some(), TemplateType::ContainerSet),
            (self.steps.is_some(), TemplateType::Steps),
            (self.script.is_some(), TemplateType::Script),
            (self.resource.is_some(), TemplateType::Resource),
            (self.dag.is_some(), TemplateType::Dag),
            (self.suspend.is_some(), TemplateType::Suspend),
            (self.data.is_some(), TemplateType::Data),
            (self.http.is_some(), TemplateType::Http),
            (self.plugin.is_some(), TemplateType::Plugin),
        ]
        .into_iter()
        .filter_map(|(set, kind)| set.then_some(kind))
    }

    /// Whether a Pod of its own does the work.
    pub fn is_pod(&self) -> bool {
        use TemplateType::*;
        matches!(self.template_type(), Some(Container | ContainerSet | Script | Resource | Data))
    }

    /// Whether no other template is called: everything but steps and DAGs.
    pub fn is_leaf(&self) -> bool {
        self.template_type().is_some_and(|kind| !matches!(kind, TemplateType::Steps | TemplateType::Dag))
    }

    /// Whether the template stays running while what follows it runs.
    pub fn is_daemon(&self) -> bool {
        self.daemon == Some(true)
    }
}

impl Inputs {
    /// The input parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }
    /// The input artifact of that name.
    pub fn artifact(&self, name: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }
}

impl Outputs {
    /// The output artifact of that name.
    pub fn artifact(&self, name: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }
}

impl Arguments {
    /// The argument parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }
    /// The argument artifact of that name.
    pub fn artifact(&self, name: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }
}

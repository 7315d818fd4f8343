//! The kinds of objects that a manifest may hold.

use std::collections::BTreeMap;

use serde_json::Value;

use super::secret::Secret;
use crate::kinds::{CronWorkflow, WorkflowArtifactGCTask, WorkflowEventBinding, WorkflowTaskResult, WorkflowTaskSet};
use crate::kube::ObjectMeta;
use crate::object::{Field, object};
use crate::workflow::{ClusterWorkflowTemplate, Workflow, WorkflowTemplate};

object! {
    /// Configuration and parameter values, by key.
    pub struct ConfigMap {
        "apiVersion" => api_version: String,
        "kind" => kind: String,
        "metadata" => metadata: ObjectMeta,
        "data" => data: BTreeMap<String, String>,
        "binaryData" => binary_data: BTreeMap<String, String>,
        "immutable" => immutable: bool,
    }
}

/// An object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// `Workflow`
    Workflow(Box<Workflow>),
    /// `WorkflowTemplate`
    WorkflowTemplate(Box<WorkflowTemplate>),
    /// `ClusterWorkflowTemplate`
    ClusterWorkflowTemplate(Box<ClusterWorkflowTemplate>),
    /// `CronWorkflow`
    CronWorkflow(Box<CronWorkflow>),
    /// `WorkflowTaskResult`
    WorkflowTaskResult(Box<WorkflowTaskResult>),
    /// `WorkflowTaskSet`
    WorkflowTaskSet(Box<WorkflowTaskSet>),
    /// `WorkflowEventBinding`
    WorkflowEventBinding(Box<WorkflowEventBinding>),
    /// `WorkflowArtifactGCTask`
    WorkflowArtifactGCTask(Box<WorkflowArtifactGCTask>),
    /// `ConfigMap`
    ConfigMap(Box<ConfigMap>),
    /// `Secret`
    Secret(Box<Secret>),
    /// Anything else, as it was written.
    Other(Value),
}

macro_rules! each {
    ($object:expr, $typed:ident => $with:expr, $other:ident => $without:expr) => {
        match $object {
            Object::Workflow($typed) => $with,
            Object::WorkflowTemplate($typed) => $with,
            Object::ClusterWorkflowTemplate($typed) => $with,
            Object::CronWorkflow($typed) => $with,
            Object::WorkflowTaskResult($typed) => $with,
            Object::WorkflowTaskSet($typed) => $with,
            Object::WorkflowEventBinding($typed) => $with,
            Object::WorkflowArtifactGCTask($typed) => $with,
            Object::ConfigMap($typed) => $with,
            Object::Secret($typed) => $with,
            Object::Other($other) => $without,
        }
    };
}

impl Object {
    /// The kind as it was written; empty for what is no Kubernetes object.
    pub fn kind(&self) -> &str {
        each!(self, typed => &typed.kind, value => value["kind"].as_str().unwrap_or_default())
    }

    /// The name of the object; empty where it has none.
    pub fn name(&self) -> &str {
        each!(self, typed => &typed.metadata.name, value => value["metadata"]["name"].as_str().unwrap_or_default())
    }

    /// The metadata; None for kinds that are not ours.
    pub fn metadata(&self) -> Option<&ObjectMeta> {
        each!(self, typed => Some(&typed.metadata), _value => None)
    }

    pub(super) fn unknown_fields(&self, found: &mut dyn FnMut(String)) {
        each!(self, typed => typed.unknown_fields("", found), _value => {})
    }
}

//! The CustomResourceDefinitions of the API group, made from the types. argo: manifests/base/crds.
//!
//! What a user writes is described field by field, so that the API server refuses a list where text belongs, and `kubectl
//! explain` knows the names. What Kubernetes defines (volumes, containers, …) and what the controller writes (`status`) is
//! any object; so is what lies deep, or inside itself (inline templates). Fields that are not known are kept.

use serde_json::{Map, Value, json};

use crate::kinds::{CronWorkflow, WorkflowArtifactGCTask, WorkflowEventBinding, WorkflowTaskResult, WorkflowTaskSet};
use crate::object::{Field, anything};
use crate::workflow::{ClusterWorkflowTemplate, Workflow, WorkflowTemplate};

struct Kind {
    name: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    /// Whether its status is written apart from the rest.
    status: bool,
    /// Name, type and path of the columns that `kubectl get` prints.
    columns: &'static [(&'static str, &'static str, &'static str)],
    schema: fn(&mut Vec<&'static str>) -> Value,
}

const AGE: (&str, &str, &str) = ("Age", "date", ".metadata.creationTimestamp");

const KINDS: [Kind; 8] = [
    Kind {
        name: "ClusterWorkflowTemplate",
        plural: "clusterworkflowtemplates",
        short: &["clusterwftmpl", "cwft"],
        status: false,
        columns: &[AGE],
        schema: ClusterWorkflowTemplate::schema,
    },
    Kind {
        name: "CronWorkflow",
        plural: "cronworkflows",
        short: &["cwf", "cronwf"],
        status: false,
        columns: &[
            ("Schedules", "string", ".spec.schedules"),
            ("Suspend", "boolean", ".spec.suspend"),
            ("Last run", "date", ".status.lastScheduledTime"),
            AGE,
        ],
        schema: CronWorkflow::schema,
    },
    Kind {
        name: "WorkflowArtifactGCTask",
        plural: "workflowartifactgctasks",
        short: &["wfat"],
        status: true,
        columns: &[],
        schema: WorkflowArtifactGCTask::schema,
    },
    Kind {
        name: "WorkflowEventBinding",
        plural: "workfloweventbindings",
        short: &["wfeb"],
        status: false,
        columns: &[],
        schema: WorkflowEventBinding::schema,
    },
    Kind {
        name: "Workflow",
        plural: "workflows",
        short: &["wf"],
        status: false,
        columns: &[
            ("Status", "string", ".status.phase"),
            ("Age", "date", ".status.startedAt"),
            ("Message", "string", ".status.message"),
        ],
        schema: Workflow::schema,
    },
    Kind {
        name: "WorkflowTaskResult",
        plural: "workflowtaskresults",
        short: &[],
        status: false,
        columns: &[],
        schema: WorkflowTaskResult::schema,
    },
    Kind {
        name: "WorkflowTaskSet",
        plural: "workflowtasksets",
        short: &["wfts"],
        status: true,
        columns: &[],
        schema: WorkflowTaskSet::schema,
    },
    Kind {
        name: "WorkflowTemplate",
        plural: "workflowtemplates",
        short: &["wftmpl"],
        status: false,
        columns: &[AGE],
        schema: WorkflowTemplate::schema,
    },
];

/// All of them, by the names of their kinds' plurals.
pub fn definitions() -> Vec<(&'static str, Value)> {
    KINDS.iter().map(|kind| (kind.plural, definition(kind))).collect()
}

fn definition(kind: &Kind) -> Value {
    let scope = if kind.name.starts_with("Cluster") { "Cluster" } else { "Namespaced" };
    let columns = kind.columns.iter().map(|(name, kind, path)| json!({"name": name, "type": kind, "jsonPath": path}));
    let mut schema = (kind.schema)(&mut Vec::new());
    if let Some(properties) = schema["properties"].as_object_mut() {
        written_by_others(properties);
    }
    // The object itself is never null.
    schema.as_object_mut().map(|schema| schema.remove("nullable"));
    let mut version = json!({
        "name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns.collect::<Vec<_>>(),
    });
    if kind.status {
        version["subresources"] = json!({"status": {}});
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.argoproj.io", kind.plural)},
        "spec": {
            "group": "argoproj.io", "scope": scope, "versions": [version],
            "names": {
                "kind": kind.name, "listKind": format!("{}List", kind.name), "plural": kind.plural,
                "singular": kind.name.to_lowercase(), "shortNames": kind.short,
            },
        },
    })
}

/// Metadata is the API server's own, and may not be described; what the controller writes need not be.
fn written_by_others(properties: &mut Map<String, Value>) {
    for name in ["apiVersion", "kind"] {
        properties.insert(name.into(), json!({"type": "string"}));
    }
    properties.insert("metadata".into(), json!({"type": "object"}));
    for name in ["status", "outputs"] {
        if let Some(property) = properties.get_mut(name) {
            *property = anything();
        }
    }
}

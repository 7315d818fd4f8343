//! The workflow's own variables: `workflow.*`. argo: operator.go, setGlobalParameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use tiphys_api::{NodePhase, NodeStatus, Parameter, Time, Workflow, WorkflowSpec};

use crate::fact::ConfigMapFound;
use crate::plan::Need;
use crate::run::Stop;
use crate::templates::to_json;

/// A node that failed, in the order in which Argo writes its fields: workflows take the text apart. argo: failedNodeStatus.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailedNode<'a> {
    display_name: &'a str,
    message: &'a str,
    template_name: &'a str,
    phase: NodePhase,
    pod_name: String,
    finished_at: Option<Time>,
}

/// Values by name.
#[derive(Default)]
pub(crate) struct Globals {
    values: Arc<BTreeMap<String, String>>,
}

impl Globals {
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values
            .range(prefix.to_string()..)
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        Arc::make_mut(&mut self.values).insert(name.to_string(), value.into());
    }

    /// All of them as they are now.
    pub fn snapshot(&self) -> Arc<BTreeMap<String, String>> {
        self.values.clone()
    }

    /// Fills in what is known from the start. `config_map` answers for ConfigMap keys.
    pub fn load(
        &mut self,
        workflow: &Workflow,
        spec: &WorkflowSpec,
        config_map: &dyn Fn(&str) -> Option<ConfigMapFound>,
    ) -> Result<(), Stop> {
        let metadata = &workflow.metadata;
        self.set("workflow.name", &metadata.name);
        self.set("workflow.namespace", &metadata.namespace);
        self.set("workflow.mainEntrypoint", &spec.entrypoint);
        self.set("workflow.serviceAccountName", &spec.service_account_name);
        self.set("workflow.uid", &metadata.uid);
        if let Some(scheduled) = metadata.annotations.get("workflows.argoproj.io/scheduled-time") {
            self.set("workflow.scheduledTime", scheduled);
        }
        if let Some(priority) = spec.priority {
            self.set("workflow.priority", priority.to_string());
        }
        self.set_creation(metadata.creation_timestamp.map_or(Timestamp::UNIX_EPOCH, |time| time.0));
        // As Go writes a list that is not there.
        let none = spec.arguments.parameters.is_empty();
        let parameters = if none { "null".to_string() } else { to_json(&spec.arguments.parameters) };
        self.set("workflow.parameters", &parameters);
        self.set("workflow.parameters.json", parameters);
        for parameter in &spec.arguments.parameters {
            let value = global_parameter(parameter, config_map)?;
            self.set(&format!("workflow.parameters.{}", parameter.name), value);
        }
        self.set_metadata(workflow, spec);
        Ok(())
    }

    fn set_creation(&mut self, created: Timestamp) {
        let rfc3339 = Time(created).to_string();
        for (letter, _) in tiphys_expr::go::FORMAT_CHARS {
            if let Some(text) = tiphys_expr::go::strftime(letter, created) {
                self.set(&format!("workflow.creationTimestamp.{letter}"), text);
            }
        }
        self.set("workflow.creationTimestamp.s", created.as_second().to_string());
        self.set("workflow.creationTimestamp.RFC3339", &rfc3339);
        self.set("workflow.creationTimestamp", rfc3339);
    }

    fn set_metadata(&mut self, workflow: &Workflow, spec: &WorkflowSpec) {
        let metadata = &workflow.metadata;
        let from = spec.workflow_metadata.as_ref();
        let computed = |label: &str| from.is_some_and(|from| from.labels_from.contains_key(label));
        let (labels, annotations) = (nullable_map(&metadata.labels), nullable_map(&metadata.annotations));
        self.set("workflow.annotations", &annotations);
        self.set("workflow.annotations.json", annotations);
        self.set("workflow.labels", &labels);
        self.set("workflow.labels.json", labels);
        let more = from.iter().flat_map(|from| &from.annotations);
        for (name, value) in metadata.annotations.iter().chain(more) {
            self.set(&format!("workflow.annotations.{name}"), value);
        }
        let more = from.iter().flat_map(|from| &from.labels);
        for (name, value) in metadata.labels.iter().chain(more) {
            if !computed(name) {
                self.set(&format!("workflow.labels.{name}"), value);
            }
        }
    }

    /// `workflow.failures`: a quoted JSON list of the nodes that failed, in the order of their ids.
    pub fn set_failures<'a>(
        &mut self,
        nodes: impl Iterator<Item = &'a NodeStatus>,
        pod_name: impl Fn(&NodeStatus) -> String,
    ) {
        let failed: Vec<FailedNode<'_>> = nodes
            .filter(|node| node.phase.is_failed_or_error())
            .map(|node| FailedNode {
                display_name: &node.display_name,
                message: &node.message,
                template_name: template_name(node),
                phase: node.phase,
                pod_name: pod_name(node),
                finished_at: node.finished_at,
            })
            .collect();
        let text = if failed.is_empty() { "null".to_string() } else { to_json(&failed) };
        self.set("workflow.failures", tiphys_expr::go::quote(&text));
    }
}

/// A node's template name, also where it was called by reference.
pub(crate) fn template_name(node: &NodeStatus) -> &str {
    node.template_ref.as_ref().map_or(&node.template_name, |reference| &reference.template)
}

/// Go prints a map that was never made as `null`.
fn nullable_map(map: &BTreeMap<String, String>) -> String {
    if map.is_empty() { "null".into() } else { to_json(map) }
}

fn global_parameter(
    parameter: &Parameter,
    config_map: &dyn Fn(&str) -> Option<ConfigMapFound>,
) -> Result<String, Stop> {
    if let Some(value) = &parameter.value {
        return Ok(value.0.clone());
    }
    let from = parameter.value_from.as_deref();
    let Some(reference) = from.and_then(|from| from.config_map_key_ref.as_ref()) else {
        return Err(Stop::Failed(format!(
            "either value or valueFrom must be specified in order to set global parameter {}",
            parameter.name
        )));
    };
    let message = match config_map_value(&reference.name, &reference.key, config_map) {
        Ok(value) => return Ok(value),
        Err(NoValue::Unknown(need)) => return Err(Stop::Need(need)),
        Err(NoValue::Absent(message) | NoValue::Failed(message)) => message,
    };
    // argo: setGlobalParameters takes it for any failure, unlike what inputs do.
    match from.and_then(|from| from.default.as_ref()) {
        Some(default) => Ok(default.0.clone()),
        None => Err(Stop::Failed(format!(
            "failed to set global parameter {} from configmap with name {} and key {}: {message}",
            parameter.name, reference.name, reference.key
        ))),
    }
}

/// Why there is no value of a ConfigMap's key.
pub(crate) enum NoValue {
    /// The ConfigMap has not been looked for yet.
    Unknown(Need),
    /// There is no such ConfigMap or key: a default may take its place.
    Absent(String),
    /// It cannot be read, or is not for parameters.
    Failed(String),
}

/// The value of a ConfigMap's key. argo: common/configmap.go: the ConfigMap must carry the label that says it holds
/// parameters. One without any such label is not there for Argo, which watches those that have one.
pub(crate) fn config_map_value(
    name: &str,
    key: &str,
    config_map: &dyn Fn(&str) -> Option<ConfigMapFound>,
) -> Result<String, NoValue> {
    const TYPE: &str = "workflows.argoproj.io/configmap-type";
    let Some(found) = config_map(name) else {
        return Err(NoValue::Unknown(Need::ConfigMap { namespace: String::new(), name: name.to_string() }));
    };
    let found = found.map_err(|error| NoValue::Failed(format!("ConfigMap '{name}' cannot be read: {error}")))?;
    let Some((data, kind)) = found.as_ref().and_then(|data| Some((data, data.labels.get(TYPE)?))) else {
        return Err(NoValue::Absent(format!(
            "ConfigMap '{name}' does not exist. Please make sure it has the label {TYPE}: Parameter to be detectable by the controller"
        )));
    };
    if kind != "Parameter" {
        return Err(NoValue::Failed(format!(
            "ConfigMap '{name}' needs to have the label {TYPE}: Parameter to load parameters"
        )));
    }
    let absent = || NoValue::Absent(format!("ConfigMap '{name}' does not have the key '{key}'"));
    data.data.get(key).cloned().ok_or_else(absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_written_as_go_writes_them() {
        let written = |spec: serde_json::Value| {
            let spec: WorkflowSpec = serde_json::from_value(spec).unwrap();
            let mut globals = Globals::default();
            globals.load(&Workflow::default(), &spec, &|_| None).unwrap();
            ["workflow.parameters", "workflow.parameters.json"].map(|name| globals.snapshot()[name].clone())
        };
        assert_eq!(written(serde_json::json!({})), ["null", "null"]);
        let one = serde_json::json!({"arguments": {"parameters": [{"name": "a", "value": "1"}]}});
        assert_eq!(written(one), [r#"[{"name":"a","value":"1"}]"#, r#"[{"name":"a","value":"1"}]"#]);
    }

    #[test]
    fn failures_are_written_as_argo_writes_them() {
        let node: NodeStatus = serde_json::from_value(serde_json::json!({
            "id": "wf", "name": "wf", "displayName": "wf", "type": "Pod", "templateName": "fail", "phase": "Failed",
            "message": "main: Error (exit code 1)", "finishedAt": "2026-11-22T00:00:00Z",
        }))
        .unwrap();
        let mut globals = Globals::default();
        globals.set_failures([&node].into_iter(), |_| "wf-pod".into());
        // Recorded: e2e-expectedfailures-exit-handlers-0.
        let expected = concat!(
            r#""[{\"displayName\":\"wf\",\"message\":\"main: Error (exit code 1)\",\"templateName\":\"fail\","#,
            r#"\"phase\":\"Failed\",\"podName\":\"wf-pod\",\"finishedAt\":\"2026-11-22T00:00:00Z\"}]""#,
        );
        assert_eq!(globals.value("workflow.failures").unwrap(), expected);
    }
}

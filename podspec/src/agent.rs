//! The Pod of the agent, which carries out a workflow's `http` templates (argo: workflow/controller/agent.go).
//!
//! Argo mounts a service account's token from a Secret, because plugins run beside the agent and must not see it. Without
//! plugins the token is mounted as in any other Pod, so that no Secret with a token is needed.

use serde_json::{Map, Value, json};
use tiphys_api::WorkflowSpec;
use tiphys_contract::{container, env, label};

use crate::config::PodConfig;
use crate::draft::{is_empty, variable};
use crate::executor::{locked_down, log_options};
use crate::metadata::owner_reference;
use crate::names;

/// Label that tells agents from steps, for instance for network policies.
const COMPONENT: &str = "workflows.argoproj.io/component";

/// Whose agent it is.
#[derive(Clone, Copy)]
pub struct Agent<'a> {
    /// The Pod's name.
    pub name: &'a str,
    /// The workflow's namespace.
    pub namespace: &'a str,
    /// The workflow's name.
    pub workflow: &'a str,
    /// The workflow's uid.
    pub uid: &'a str,
    /// Its merged spec.
    pub spec: &'a WorkflowSpec,
    /// The controller's configuration.
    pub config: &'a PodConfig,
}

/// The agent's Pod.
pub fn agent(of: &Agent<'_>) -> Value {
    let Agent { name, namespace, workflow, uid, spec, config } = *of;
    let mut labels = json!({label::WORKFLOW: workflow, label::COMPLETED: "false", COMPONENT: "agent"});
    if !config.instance_id.is_empty() {
        labels[label::CONTROLLER_INSTANCE_ID] = config.instance_id.as_str().into();
    }
    let mut annotations = json!({label::DEFAULT_CONTAINER: container::MAIN});
    if let Some(own) = &spec.pod_metadata {
        own.labels.iter().for_each(|(name, value)| labels[name] = value.as_str().into());
        own.annotations.iter().for_each(|(name, value)| annotations[name] = value.as_str().into());
    }
    let mut pod = Map::new();
    for (field, value) in [
        ("serviceAccountName", json!(spec.service_account_name)),
        ("imagePullSecrets", json!(spec.image_pull_secrets)),
        ("nodeSelector", json!(spec.node_selector)),
        ("affinity", json!(spec.affinity)),
        ("tolerations", json!(spec.tolerations)),
        ("schedulerName", json!(spec.scheduler_name)),
        ("priorityClassName", json!(spec.pod_priority_class_name)),
        ("dnsPolicy", json!(spec.dns_policy)),
        ("dnsConfig", json!(spec.dns_config)),
    ] {
        if !is_empty(&value) {
            pod.insert(field.into(), value);
        }
    }
    pod.insert("restartPolicy".into(), "OnFailure".into());
    pod.insert(
        "securityContext".into(),
        json!({"runAsNonRoot": true, "runAsUser": 8737, "seccompProfile": {"type": "RuntimeDefault"}}),
    );
    pod.insert("volumes".into(), json!([{"name": names::VAR_RUN_VOLUME, "emptyDir": {}}]));
    pod.insert("initContainers".into(), json!([executor(of, container::INIT, "init")]));
    pod.insert("containers".into(), json!([executor(of, container::MAIN, "main")]));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "labels": labels, "annotations": annotations,
            "ownerReferences": [owner_reference(workflow, uid)],
        },
        "spec": pod,
    })
}

fn executor(of: &Agent<'_>, name: &str, word: &str) -> Value {
    let config = of.config;
    let mut args = vec!["agent".to_owned(), word.to_owned()];
    args.extend(log_options(config));
    let mut made = json!({
        "name": name,
        "image": config.executor_image,
        "command": ["argoexec"],
        "args": args,
        "env": [
            variable(env::WORKFLOW_NAME, of.workflow),
            variable(env::WORKFLOW_UID, of.uid),
            variable(env::PLUGIN_ADDRESSES, "[]"),
            variable(env::PLUGIN_NAMES, "[]"),
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "64M"}, "limits": {"cpu": "100m", "memory": "256M"}},
        // As `main`, whose root is read-only, also while it begins.
        "securityContext": locked_down(container::MAIN),
        "volumeMounts": [{"name": names::VAR_RUN_VOLUME, "mountPath": tiphys_contract::path::SHARED}],
    });
    if !config.executor_image_pull_policy.is_empty() {
        made["imagePullPolicy"] = config.executor_image_pull_policy.as_str().into();
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_runs_under_restricted_pod_security() {
        let spec: WorkflowSpec =
            serde_json::from_value(json!({"serviceAccountName": "a", "nodeSelector": {"x": "y"}})).unwrap();
        let config = PodConfig { executor_image: "e:1".into(), ..PodConfig::default() };
        let pod = agent(&Agent {
            name: "wf-1-agent",
            namespace: "n",
            workflow: "wf",
            uid: "u",
            spec: &spec,
            config: &config,
        });
        assert_eq!(pod["metadata"]["labels"][COMPONENT], "agent");
        assert_eq!(
            (&pod["spec"]["serviceAccountName"], &pod["spec"]["nodeSelector"]),
            (&json!("a"), &json!({"x": "y"}))
        );
        assert!(pod["spec"].get("affinity").is_none());
        for (list, word) in [("initContainers", "init"), ("containers", "main")] {
            let one = &pod["spec"][list][0];
            assert_eq!(one["args"][1], word);
            assert_eq!(one["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        }
    }
}

//! The Pod of the agent, which carries out a workflow's `http` and `plugin` templates (argo: workflow/controller/agent.go).
//!
//! Executor plugins are servers beside the agent, and must not see its token of the Kubernetes API. So with plugins no token
//! is mounted by itself; the agent gets one in a volume of its own, which Kubernetes makes and renews. (Argo takes the agent's
//! token from a Secret that somebody has to make.) A plugin that wants a token gets its own service account's, from a Secret.

use serde_json::{Map, Value, json};
use tiphys_api::merge::{Schema, strategic_merge};
use tiphys_api::{ExecutorPlugin, WorkflowSpec};
use tiphys_contract::{container, env, label, path};

use crate::config::PodConfig;
use crate::draft::{empty_dir, is_empty, mount, mount_read_only, parse, variable};
use crate::error::Error;
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
    /// The servers beside it, in the order in which they are asked.
    pub plugins: &'a [ExecutorPlugin],
    /// The controller's configuration.
    pub config: &'a PodConfig,
}

/// The agent's Pod.
///
/// # Errors
/// [`Error::TokenSecretUnknown`]: look up the Secret of a plugin's service account and ask again. A plugin mounts what is the
/// agent's, or `podSpecPatch` cannot be applied.
pub fn agent(of: &Agent<'_>) -> Result<Value, Error> {
    let Agent { name, namespace, workflow, uid, spec, config, .. } = *of;
    let mut labels = json!({label::WORKFLOW: workflow, label::COMPLETED: "false", COMPONENT: "agent"});
    if !config.instance_id.is_empty() {
        labels[label::CONTROLLER_INSTANCE_ID] = config.instance_id.as_str().into();
    }
    let mut annotations = json!({label::DEFAULT_CONTAINER: container::MAIN});
    if let Some(own) = &spec.pod_metadata {
        own.labels.iter().for_each(|(name, value)| labels[name] = value.as_str().into());
        own.annotations.iter().for_each(|(name, value)| annotations[name] = value.as_str().into());
    }
    let pod = match spec.pod_spec_patch.as_str() {
        "" => pod_spec(of)?,
        patch => {
            let syntax = |reason: String| Error::PatchSyntax { of: "workflow", reason };
            let patch = tiphys_api::yaml::to_json(patch).map_err(|error| syntax(error.to_string()))?;
            let patch = if patch.is_null() { json!({}) } else { patch };
            strategic_merge(&pod_spec(of)?, &patch, Schema::PodSpec)
                .map_err(|source| Error::Merge { what: "podSpecPatch", source })?
        }
    };
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "labels": labels, "annotations": annotations,
            "ownerReferences": [owner_reference(workflow, uid)],
        },
        "spec": pod,
    }))
}

fn pod_spec(of: &Agent<'_>) -> Result<Value, Error> {
    let spec = of.spec;
    let mut pod = Map::new();
    for (field, value) in [
        ("serviceAccountName", json!(spec.service_account_name)),
        ("imagePullSecrets", json!(spec.image_pull_secrets)),
        ("nodeSelector", json!(spec.node_selector)),
        ("affinity", json!(spec.affinity)),
        ("tolerations", json!(spec.tolerations)),
        ("schedulerName", json!(spec.scheduler_name)),
        ("priorityClassName", json!(spec.pod_priority_class_name)),
        ("hostAliases", json!(spec.host_aliases)),
        ("dnsPolicy", json!(spec.dns_policy)),
        ("dnsConfig", json!(spec.dns_config)),
    ] {
        if !is_empty(&value) {
            pod.insert(field.into(), value);
        }
    }
    pod.insert("restartPolicy".into(), "OnFailure".into());
    let safe = || json!({"runAsNonRoot": true, "runAsUser": 8737, "seccompProfile": {"type": "RuntimeDefault"}});
    pod.insert("securityContext".into(), spec.security_context.clone().unwrap_or_else(safe));
    let mut volumes = Vec::new();
    let mut containers = Vec::new();
    for plugin in of.plugins {
        containers.push(sidecar(plugin, of.config, &mut volumes)?);
    }
    volumes.push(empty_dir(names::VAR_RUN_VOLUME));
    // Argo looks for the Secret first, and mounts it where it is there.
    volumes.push(json!({
        "name": names::AUTHORITIES_VOLUME, "secret": {"secretName": names::AUTHORITIES_VOLUME, "optional": true},
    }));
    let init = executor(of, container::INIT, "init");
    let mut main = executor(of, container::MAIN, "main");
    // It has its token where the account says that no Pod gets one, and no plugin beside it has it.
    pod.insert("automountServiceAccountToken".into(), false.into());
    volumes.push(own_token());
    main["volumeMounts"] = json!([
        mount(names::VAR_RUN_VOLUME, path::SHARED),
        mount_read_only(names::AUTHORITIES_VOLUME, path::AGENT_AUTHORITIES),
        mount_read_only(names::AGENT_TOKEN_VOLUME, names::TOKEN_PATH),
    ]);
    containers.push(main);
    pod.insert("volumes".into(), volumes.into());
    pod.insert("initContainers".into(), json!([init]));
    pod.insert("containers".into(), containers.into());
    Ok(Value::Object(pod))
}

/// What Kubernetes mounts by itself where it is not told otherwise.
fn own_token() -> Value {
    json!({"name": names::AGENT_TOKEN_VOLUME, "projected": {"sources": [
        // Kubernetes' own value for tokens that it mounts by itself.
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]}})
}

/// A plugin's container, with the token by which it knows the agent, and none of the other plugins'.
fn sidecar(plugin: &ExecutorPlugin, config: &PodConfig, volumes: &mut Vec<Value>) -> Result<Value, Error> {
    let mut made = plugin.spec.sidecar.container.clone();
    let name = made["name"].as_str().unwrap_or_default().to_owned();
    let mut mounts: Vec<Value> = match made["volumeMounts"].take() {
        Value::Null => Vec::new(),
        given => parse(given, "an executor plugin's volumeMounts")?,
    };
    // Through it a plugin would be taken for the agent, or for another plugin.
    let is_ours = |volume: &str| volume == names::VAR_RUN_VOLUME || volume.starts_with(names::API_ACCESS);
    let named = mounts.iter().filter_map(|mount| mount["name"].as_str());
    if let Some(volume) = named.into_iter().find(|volume| is_ours(volume)) {
        return Err(Error::PluginMount { plugin: plugin.metadata.name.clone(), volume: volume.to_owned() });
    }
    mounts.push(json!({
        "name": names::VAR_RUN_VOLUME, "mountPath": path::SHARED, "readOnly": true, "subPath": name,
    }));
    if plugin.spec.sidecar.automount_service_account_token {
        let service_account = format!("{}-executor-plugin", plugin.metadata.name);
        let Some(secret) = config.token_secrets.get(&service_account) else {
            return Err(Error::TokenSecretUnknown { service_account });
        };
        let volume = format!("{}{}", names::API_ACCESS, volumes.len());
        volumes.push(json!({"name": volume, "secret": {"secretName": secret}}));
        mounts.push(json!(mount_read_only(&volume, names::TOKEN_PATH)));
    }
    made["volumeMounts"] = mounts.into();
    Ok(made)
}

/// Where plugins answer: each at the first port that it names.
fn addresses(plugins: &[ExecutorPlugin]) -> Value {
    let port = |plugin: &ExecutorPlugin| plugin.spec.sidecar.container["ports"][0]["containerPort"].clone();
    plugins.iter().map(|plugin| Value::from(format!("http://localhost:{}", port(plugin)))).collect()
}

fn executor(of: &Agent<'_>, name: &str, word: &str) -> Value {
    let config = of.config;
    let mut args = vec!["agent".to_owned(), word.to_owned()];
    args.extend(log_options(config));
    let names_of: Value = of.plugins.iter().map(|plugin| plugin.spec.sidecar.container["name"].clone()).collect();
    let mut made = json!({
        "name": name,
        "image": config.executor_image,
        "command": ["argoexec"],
        "args": args,
        "env": [
            variable(env::WORKFLOW_NAME, of.workflow),
            variable(env::WORKFLOW_UID, of.uid),
            variable(env::PLUGIN_ADDRESSES, addresses(of.plugins).to_string()),
            variable(env::PLUGIN_NAMES, names_of.to_string()),
        ],
        "resources": {
            "requests": {"cpu": "10m", "memory": "64M"},
            "limits": {"cpu": config.agent.cpu_limit, "memory": config.agent.memory_limit},
        },
        // As `main`, whose root is read-only, also while it begins.
        "securityContext": locked_down(container::MAIN),
        "volumeMounts": [mount(names::VAR_RUN_VOLUME, path::SHARED)],
    });
    if let (Some(workers), Some(variables)) = (config.agent.task_workers, made["env"].as_array_mut()) {
        variables.push(json!(variable(env::AGENT_TASK_WORKERS, workers.to_string())));
    }
    if !config.executor_image_pull_policy.is_empty() {
        made["imagePullPolicy"] = config.executor_image_pull_policy.as_str().into();
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AgentConfig;

    fn pod(spec: Value, plugins: Value, config: &PodConfig) -> Result<Value, Error> {
        let spec: WorkflowSpec = serde_json::from_value(spec).unwrap();
        let plugins: Vec<ExecutorPlugin> = serde_json::from_value(plugins).unwrap();
        agent(&Agent {
            name: "wf-1-agent",
            namespace: "n",
            workflow: "wf",
            uid: "u",
            spec: &spec,
            plugins: &plugins,
            config,
        })
    }

    fn plugin(name: &str, port: u16, sidecar: &Value) -> Value {
        let mut plugin = json!({"metadata": {"name": name}, "spec": {"sidecar": {
            "container": {"name": format!("{name}-server"), "ports": [{"containerPort": port}]}}}});
        for (field, value) in sidecar.as_object().unwrap() {
            plugin["spec"]["sidecar"][field] = value.clone();
        }
        plugin
    }

    /// The names and paths of a container's mounts.
    fn mounts(container: &Value) -> Vec<(&str, &str)> {
        let all = container["volumeMounts"].as_array().unwrap().iter();
        all.map(|one| (one["name"].as_str().unwrap(), one["mountPath"].as_str().unwrap())).collect()
    }

    #[test]
    fn an_agent_runs_under_restricted_pod_security() {
        let config = PodConfig { executor_image: "e:1".into(), ..PodConfig::default() };
        let pod = pod(json!({"serviceAccountName": "a", "nodeSelector": {"x": "y"}}), json!([]), &config).unwrap();
        assert_eq!(pod["metadata"]["labels"][COMPONENT], "agent");
        let spec = &pod["spec"];
        assert_eq!((&spec["serviceAccountName"], &spec["nodeSelector"]), (&json!("a"), &json!({"x": "y"})));
        assert!(spec.get("affinity").is_none());
        // Also where its account says that no Pod gets a token.
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["volumes"].as_array().unwrap().last(), Some(&own_token()));
        assert!(mounts(&spec["containers"][0]).contains(&(names::AGENT_TOKEN_VOLUME, names::TOKEN_PATH)));
        for (list, word) in [("initContainers", "init"), ("containers", "main")] {
            let one = &spec[list][0];
            assert_eq!(one["args"][1], word);
            assert_eq!(one["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        }
    }

    #[test]
    fn an_agent_has_the_limits_that_are_configured() {
        let limits = |config: &PodConfig| {
            let spec = pod(json!({}), json!([]), config).unwrap()["spec"].clone();
            let main = &spec["containers"][0];
            let variables = main["env"].as_array().unwrap();
            let workers = variables.iter().find(|one| one["name"] == env::AGENT_TASK_WORKERS).cloned();
            (main["resources"]["limits"].clone(), workers.map(|one| one["value"].clone()))
        };
        assert_eq!(limits(&PodConfig::default()), (json!({"cpu": "100m", "memory": "256M"}), None));
        let agent = AgentConfig { cpu_limit: "2".into(), memory_limit: "1G".into(), task_workers: Some(32) };
        let configured = limits(&PodConfig { agent, ..PodConfig::default() });
        assert_eq!(configured, (json!({"cpu": "2", "memory": "1G"}), Some(json!("32"))));
    }

    #[test]
    fn a_plugin_sees_its_own_tokens_only() {
        let mut config = PodConfig::default();
        let token = json!({"automountServiceAccountToken": true});
        let plugins = json!([plugin("a", 1, &json!({})), plugin("b", 2, &token)]);
        let missing = Error::TokenSecretUnknown { service_account: "b-executor-plugin".into() };
        assert_eq!(pod(json!({}), plugins.clone(), &config), Err(missing));
        config.token_secrets.insert("b-executor-plugin".into(), "b-token".into());
        let pod = pod(json!({}), plugins, &config).unwrap();
        let spec = &pod["spec"];
        assert_eq!(spec["automountServiceAccountToken"], false);
        let [a, b, main] = [0, 1, 2].map(|index| &spec["containers"][index]);
        assert_eq!(mounts(a), [("var-run-argo", "/var/run/argo")]);
        assert_eq!(
            (&a["volumeMounts"][0]["subPath"], &b["volumeMounts"][0]["subPath"]),
            (&json!("a-server"), &json!("b-server"))
        );
        assert_eq!(a["volumeMounts"][0]["readOnly"], true);
        let (_, at) = mounts(b)[1];
        assert_eq!(at, names::TOKEN_PATH);
        assert_eq!(
            spec["volumes"][0],
            json!({"name": b["volumeMounts"][1]["name"], "secret": {"secretName": "b-token"}})
        );
        let own = mounts(main).into_iter().find(|(_, path)| *path == names::TOKEN_PATH).unwrap().0;
        assert_ne!(own, b["volumeMounts"][1]["name"]);
        let known = |name: &str| {
            main["env"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()["value"].clone()
        };
        assert_eq!(known(env::PLUGIN_ADDRESSES), r#"["http://localhost:1","http://localhost:2"]"#);
        assert_eq!(known(env::PLUGIN_NAMES), r#"["a-server","b-server"]"#);
        assert_eq!(mounts(&spec["initContainers"][0]), [("var-run-argo", "/var/run/argo")]);
    }

    #[test]
    fn a_plugin_cannot_mount_what_is_the_agents() {
        for volume in ["var-run-argo", "kube-api-access-agent"] {
            let mut mounting = plugin("a", 1, &json!({}));
            mounting["spec"]["sidecar"]["container"]["volumeMounts"] = json!([{"name": volume, "mountPath": "/x"}]);
            let refused = Error::PluginMount { plugin: "a".into(), volume: volume.into() };
            assert_eq!(pod(json!({}), json!([mounting]), &PodConfig::default()), Err(refused));
        }
    }

    #[test]
    fn a_plugin_gets_volumes_by_a_patch() {
        let mut mounting = plugin("a", 1, &json!({}));
        mounting["spec"]["sidecar"]["container"]["volumeMounts"] = json!([{"name": "own", "mountPath": "/x"}]);
        let spec = json!({"podSpecPatch": "volumes: [{name: own, emptyDir: {}}]\nterminationGracePeriodSeconds: 1"});
        let pod = pod(spec, json!([mounting]), &PodConfig::default()).unwrap();
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 1);
        assert!(pod["spec"]["volumes"].as_array().unwrap().contains(&json!({"name": "own", "emptyDir": {}})));
        assert_eq!(mounts(&pod["spec"]["containers"][0])[0], ("own", "/x"));
    }
}

//! Executor plugins: servers beside a workflow's agent that carry out its `plugin` templates. ConfigMaps in the workflow's
//! namespace and in the controller's declare them for every workflow there; a workflow can bring its own instead.
//! argo: workflow/controller/agent.go, getExecutorPlugins; workflow/util/plugin/configmap.go.

use tiphys_api::{ExecutorPlugin, WorkflowSpec};
use tiphys_engine::validate::executor_plugin_mistake;
use tiphys_kubernetes::{ApiError, Kind, List};

use super::memo::MAP_TYPE;
use super::needs::ConfigMapObject;
use super::pods::Workplace;

/// The label's value for ConfigMaps that declare a plugin.
const PLUGIN: &str = "ExecutorPlugin";
/// What the names of such ConfigMaps end with, and those of the plugins' service accounts.
const SUFFIX: &str = "-executor-plugin";

/// Which plugins there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutorPlugins {
    /// Those that ConfigMaps declare.
    pub declared: bool,
    /// Those that workflows bring.
    pub of_workflows: bool,
}

/// Plugins that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum PluginError {
    /// The workflow brings some, which is not allowed.
    #[error(
        "workflow-level executor plugins are disabled in the controller. To enable them, set the environment variable \
         ARGO_WORKFLOW_LEVEL_EXECUTOR_PLUGINS=true"
    )]
    Disabled,
    /// The ConfigMaps cannot be read.
    #[error("failed to list the executor plugins of namespace {namespace}: {error}")]
    List {
        /// Where they are.
        namespace: String,
        /// Why not.
        error: ApiError,
    },
}

impl Workplace {
    /// The plugins of a workflow's agent, in the order in which they are asked. Of two whose containers have the same name the
    /// one of the workflow's namespace is taken.
    pub(super) async fn executor_plugins(&self, spec: &WorkflowSpec) -> Result<Vec<ExecutorPlugin>, PluginError> {
        let allowed = self.cluster.config().executor_plugins;
        if !spec.executor_plugins.is_empty() {
            return if allowed.of_workflows { Ok(spec.executor_plugins.clone()) } else { Err(PluginError::Disabled) };
        }
        let mut found: Vec<ExecutorPlugin> = Vec::new();
        if !allowed.declared {
            return Ok(found);
        }
        let own = [&*self.namespace, self.cluster.namespace.as_str()];
        let namespaces = if own[0] == own[1] { &own[..1] } else { &own[..] };
        for namespace in namespaces {
            let selector = format!("{MAP_TYPE}={PLUGIN}");
            let path = Kind::ConfigMap.within(namespace).query(&[("labelSelector", &selector)]);
            let maps = self.cluster.read::<List<ConfigMapObject>>(&path).await;
            let maps = maps.map_err(|error| PluginError::List { namespace: (*namespace).to_owned(), error })?;
            for map in maps.items {
                // One that is wrong must not keep others from their work. argo: controller.go, newConfigMapInformer.
                match declared(&map) {
                    Ok(plugin) if found.iter().any(|known| container_of(known) == container_of(&plugin)) => {}
                    Ok(plugin) => found.push(plugin),
                    Err(reason) => tracing::error!(
                        namespace,
                        name = map.metadata.name,
                        reason,
                        "a ConfigMap declares no usable executor plugin"
                    ),
                }
            }
        }
        Ok(found)
    }
}

fn container_of(plugin: &ExecutorPlugin) -> Option<&str> {
    plugin.spec.sidecar.container["name"].as_str()
}

fn declared(map: &ConfigMapObject) -> Result<ExecutorPlugin, String> {
    let mut plugin = ExecutorPlugin::default();
    let name = &map.metadata.name;
    plugin.metadata.name = name.strip_suffix(SUFFIX).unwrap_or(name).to_owned();
    let text = |key: &str| map.data.get(key).map_or("", String::as_str);
    let sidecar = &mut plugin.spec.sidecar;
    sidecar.automount_service_account_token = text("sidecar.automountServiceAccountToken") == "true";
    let container = tiphys_api::yaml::to_json(text("sidecar.container"));
    sidecar.container = container.map_err(|error| format!("sidecar.container: {error}"))?;
    match executor_plugin_mistake(&plugin) {
        Some(mistake) => Err(format!("sidecar is invalid: {mistake}")),
        None => Ok(plugin),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(container: &str, automount: &str) -> ConfigMapObject {
        let data = json!({"sidecar.container": container, "sidecar.automountServiceAccountToken": automount});
        serde_json::from_value(json!({"metadata": {"name": "hello-executor-plugin"}, "data": data})).unwrap()
    }

    #[test]
    fn a_config_map_declares_a_plugin() {
        let container = "{name: hello-server, ports: [{containerPort: 4355}], resources: {requests: {}, limits: {}}, \
                         securityContext: {runAsNonRoot: true}}";
        let plugin = declared(&map(container, "true")).unwrap();
        assert_eq!((plugin.metadata.name.as_str(), container_of(&plugin)), ("hello", Some("hello-server")));
        assert!(plugin.spec.sidecar.automount_service_account_token);
        assert!(!declared(&map(container, "false")).unwrap().spec.sidecar.automount_service_account_token);
    }

    #[test]
    fn what_is_wrong_with_one_is_told() {
        for (container, message) in [
            ("", "sidecar is invalid: at least one port is mandatory"),
            ("name: [", "sidecar.container: "),
            ("{name: x, ports: [{containerPort: 1}]}", "sidecar is invalid: resources requests are mandatory"),
            (
                "{name: x, ports: [{containerPort: 1}], resources: {requests: {}, limits: {}}}",
                "sidecar is invalid: security context is mandatory",
            ),
        ] {
            let wrong = declared(&map(container, "")).unwrap_err();
            assert!(wrong.starts_with(message), "{container}: {wrong}");
        }
    }
}

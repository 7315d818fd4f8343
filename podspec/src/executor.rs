//! The executor's own containers: `init`, `wait`, `supervisor`, and `main` of resource and data templates
//! (argo: workflowpod.go, newExecContainer).

use serde_json::{Value, json};
use tiphys_api::{Container, Template, WorkflowSpec};
use tiphys_contract::{container, env, path};

use crate::config::{KubeConfig, Layout, PodConfig};
use crate::draft::{mount_part, mount_read_only, variable};
use crate::input::Input;
use crate::names;

/// A container of the executor's image, without command.
pub(crate) fn container(input: &Input<'_>, name: &str, template: &Template) -> Container {
    let config = input.config;
    let mut made = Container {
        name: name.into(),
        image: config.executor_image.clone(),
        image_pull_policy: config.executor_image_pull_policy.clone(),
        env: environment(input),
        resources: Some(config.executor.resources.clone().unwrap_or_else(|| json!({}))),
        security_context: config.executor.security_context.clone(),
        args: config.executor.args.clone(),
        ..Container::default()
    };
    if template.resource.is_some() && made.security_context.is_none() {
        made.security_context = Some(locked_down(name));
    }
    if let Some(kube_config) = &config.kube_config {
        let path = kube_config_path(kube_config);
        let mut mount = mount_part(kube_config_volume(kube_config), path, &kube_config.secret_key);
        mount.read_only = true;
        made.volume_mounts.push(mount);
        made.args.push(format!("--kubeconfig={path}"));
    }
    if service_account(template, input.spec).is_some() {
        made.volume_mounts.push(mount_read_only(names::TOKEN_VOLUME, names::TOKEN_PATH));
    }
    made
}

/// `argoexec <words> <log options>`.
pub(crate) fn command(config: &PodConfig, words: &[&str]) -> Vec<String> {
    let mut command = vec!["argoexec".to_owned()];
    command.extend(words.iter().map(|word| (*word).to_owned()));
    command.extend(log_options(config));
    command
}

/// Options that every call of the executor carries.
pub(crate) fn log_options(config: &PodConfig) -> [String; 6] {
    ["--loglevel", &config.log_level, "--log-format", &config.log_format, "--gloglevel", "0"].map(str::to_owned)
}

/// `init` of the legacy layout.
pub(crate) fn init(input: &Input<'_>, template: &Template) -> Container {
    Container { command: command(input.config, &["init"]), ..container(input, container::INIT, template) }
}

/// The container that reports results, if the template needs one: data templates report themselves, resource templates do
/// unless logs are archived or, without an init container, a manifest must be fetched.
pub(crate) fn auxiliary(input: &Input<'_>, template: &Template) -> Option<Container> {
    let stages_manifest = input.config.layout == Layout::ImageVolume
        && template.resource.as_ref().is_some_and(|resource| resource.manifest_from.is_some());
    let saves_logs = template.resource.is_some() && crate::archive::saves_logs(template);
    let reports_itself = template.resource.is_some() || template.data.is_some();
    if input.is_solo() || (reports_itself && !saves_logs && !stages_manifest) {
        return None;
    }
    let name = match input.config.layout {
        Layout::ImageVolume => container::SUPERVISOR,
        Layout::Legacy => container::WAIT,
    };
    let mut made = container(input, name, template);
    made.command = command(input.config, &[name]);
    if name == container::SUPERVISOR {
        made.env.push(variable(env::INITLESS_POD, "true"));
    }
    Some(made)
}

/// Where a user's container finds the emissary.
pub(crate) fn emissary(layout: Layout) -> &'static str {
    match layout {
        Layout::ImageVolume => path::IMAGE_EMISSARY,
        Layout::Legacy => path::EMISSARY,
    }
}

/// The service account that the executor runs as, where it is not the Pod's.
pub(crate) fn service_account<'a>(template: &'a Template, spec: &'a WorkflowSpec) -> Option<&'a str> {
    [&template.executor, &spec.executor]
        .into_iter()
        .flatten()
        .map(|executor| executor.service_account_name.as_str())
        .find(|name| !name.is_empty())
}

pub(crate) fn kube_config_volume(kube_config: &KubeConfig) -> &str {
    if kube_config.volume_name.is_empty() { names::KUBECONFIG_VOLUME } else { &kube_config.volume_name }
}

fn kube_config_path(kube_config: &KubeConfig) -> &str {
    if kube_config.mount_path.is_empty() { names::KUBECONFIG_PATH } else { &kube_config.mount_path }
}

fn environment(input: &Input<'_>) -> Vec<Value> {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    let mut variables = vec![
        field(env::POD_NAME, "metadata.name"),
        field(env::POD_UID, "metadata.uid"),
        variable(env::WORKFLOW_NAME, input.workflow_name),
        variable(env::WORKFLOW_UID, input.workflow_uid),
    ];
    if !input.config.instance_id.is_empty() {
        variables.push(variable(env::INSTANCE_ID, &input.config.instance_id));
    }
    variables.extend(input.config.executor.env.iter().cloned());
    variables
}

/// Resource templates run what the user wrote with the executor's rights: their containers get none of the system's.
pub(crate) fn locked_down(name: &str) -> Value {
    let mut context = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "privileged": false,
        "runAsNonRoot": true,
        "runAsUser": 8737,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    if name != container::INIT && !container::is_auxiliary(name) {
        context["readOnlyRootFilesystem"] = json!(true);
    }
    context
}

//! Values too large for a variable or an argument go into a ConfigMap that the Pod mounts (argo: workflowpod.go, build).

use serde_json::{Map, Value, json};
use tiphys_contract::{container, env, label, path};

use crate::draft::{Draft, mount, object_metadata, variable};
use crate::environment::{has_template, set_template};
use crate::input::Input;
use crate::{metadata, names};

/// Offloads what is too large; the ConfigMap is the answer. Of the containers' arguments only the first that are too large
/// go, as with Argo.
pub(crate) fn offload(draft: &mut Draft, input: &Input<'_>, template: &str) -> Option<Value> {
    let mut data = Map::new();
    if template.len() > env::MAX_VALUE_BYTES && draft.each_container().any(|made| has_template(made)) {
        data.insert(env::TEMPLATE.into(), json!(template));
        set_template(draft, env::OFFLOADED);
        for made in draft.each_container().filter(|made| has_template(made)) {
            made.volume_mounts.push(config_mount());
        }
    }
    let too_large = draft.containers.iter_mut().filter(|made| container::is_user(&made.name)).find_map(|made| {
        let args = json!(made.args).to_string();
        (args.len() > env::MAX_VALUE_BYTES).then_some((made, args))
    });
    if let Some((made, args)) = too_large {
        data.insert(env::CONTAINER_ARGS_FILE.into(), json!(args));
        made.args.clear();
        made.env.push(variable(env::CONTAINER_ARGS_FILE, path::CONFIG_ARGS));
        made.volume_mounts.push(config_mount());
    }
    if data.is_empty() {
        return None;
    }
    let name = &input.request.pod_name;
    draft.volumes.push(json!({"name": names::CONFIG_VOLUME, "configMap": {"name": name}}));
    let labels = [(label::WORKFLOW.to_owned(), input.workflow_name.to_owned())].into();
    let annotations = [
        (label::NODE_NAME.to_owned(), input.request.node_name.clone()),
        (label::NODE_ID.to_owned(), input.request.node_id.clone()),
    ]
    .into();
    let owners: Vec<Value> = metadata::owner(input).into_iter().collect();
    let metadata = object_metadata(name, input.namespace, &labels, &annotations, &owners);
    Some(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
}

fn config_mount() -> tiphys_api::VolumeMount {
    mount(names::CONFIG_VOLUME, path::CONFIG)
}

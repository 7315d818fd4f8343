//! The parts of the controller's configuration that shape Pods here too: a ConfigMap `workflow-controller-configmap`
//! among the documents.
//!
//! Its artifact repository, service accounts and limits belong to a cluster and are passed over.

use serde_json::Value;
use tiphys_api::{Container, Workflow};
use tiphys_podspec::{ImageCommand, PodConfig};

use crate::documents::Documents;

/// The ConfigMap's name. argo: workflow/common/common.go.
const NAME: &str = "workflow-controller-configmap";

/// A key of the configuration that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the ConfigMap {NAME}: {key}: {problem}")]
pub struct ConfigError {
    key: &'static str,
    problem: String,
}

/// Takes `images` and `mainContainer` into `config`, and gives `workflowDefaults`.
pub(crate) fn apply(documents: &Documents, config: &mut PodConfig) -> Result<Option<Workflow>, ConfigError> {
    let Some(data) = documents.config_map(NAME) else { return Ok(None) };
    let read = |key: &'static str| -> Result<Option<Value>, ConfigError> {
        let Some(text) = data.keys.get(key) else { return Ok(None) };
        let trees = tiphys_api::yaml::parse(&String::from_utf8_lossy(text))
            .map_err(|error| ConfigError { key, problem: error.to_string() })?;
        Ok(trees.into_iter().next().map(|tree| tree.root.to_value()).filter(|value| !value.is_null()))
    };
    if let Some(Value::Object(images)) = read("images")? {
        for (image, command) in images {
            let words = |field: &str| {
                let list = command.get(field).and_then(Value::as_array).into_iter().flatten();
                list.filter_map(|word| word.as_str().map(str::to_owned)).collect()
            };
            let command = ImageCommand { entrypoint: words("entrypoint"), cmd: words("cmd") };
            config.images.insert(image, command);
        }
    }
    if let Some(container) = read("mainContainer")? {
        config.main_container = Some(typed::<Container>("mainContainer", container)?);
    }
    read("workflowDefaults")?.map(|defaults| typed("workflowDefaults", defaults)).transpose()
}

fn typed<T: serde::de::DeserializeOwned>(key: &'static str, value: Value) -> Result<T, ConfigError> {
    serde_json::from_value(value).map_err(|error| ConfigError { key, problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shapes_pods_is_taken() {
        let documents = crate::documents::of_yaml(
            "kind: ConfigMap\nmetadata: {name: workflow-controller-configmap}\ndata:\n  images: |\n    a/b:c: {entrypoint: \
             [/x, -y], cmd: [z]}\n  workflowDefaults: |\n    metadata: {labels: {a: b}}\n    spec: {activeDeadlineSeconds: 7}\n  artifactRepository: |\n    \
             s3: {}\n",
        );
        let mut config = PodConfig::default();
        let defaults = apply(&documents, &mut config).unwrap().unwrap();
        assert_eq!(config.images["a/b:c"].entrypoint, ["/x", "-y"]);
        assert_eq!(config.images["a/b:c"].cmd, ["z"]);
        assert_eq!(defaults.metadata.labels["a"], "b");
        assert_eq!(defaults.spec.active_deadline_seconds, Some(7));
    }
}

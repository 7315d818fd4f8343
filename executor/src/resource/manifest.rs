//! The manifest: YAML or JSON documents, each an object.

use std::fs;

use serde_json::Value;
use tiphys_api::Resource;
use tiphys_contract::path;

use super::jsonpath::held;

/// A manifest's text and where it comes from, for messages.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file's path, as users know it.
    pub path: String,
    text: String,
}

impl Manifest {
    /// The template's manifest, or the artifact that it names.
    ///
    /// # Errors
    /// The text for the user when the artifact is no declared input or cannot be read.
    pub fn of(resource: &Resource, inputs: &[tiphys_api::Artifact]) -> Result<Self, String> {
        let Some(artifact) = resource.manifest_from.as_ref().and_then(|from| from.artifact.as_ref()) else {
            return Ok(Self { path: path::MANIFEST.to_owned(), text: resource.manifest.clone() });
        };
        let name = &artifact.name;
        let input = inputs.iter().find(|input| input.name == *name);
        let path = &input.ok_or_else(|| format!("manifestFrom names artifact {name:?}, which is no input"))?.path;
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read the manifest of artifact {name:?} from {path}: {error}"))?;
        Ok(Self { path: path.clone(), text })
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The documents as they are, whatever they are.
    ///
    /// # Errors
    /// The text for the user when it is no YAML.
    pub fn documents(&self) -> Result<Vec<Value>, String> {
        let trees = tiphys_api::yaml::parse(&self.text)
            .map_err(|error| format!("error: error parsing {}: error converting YAML to JSON: {error}", self.path))?;
        Ok(trees.iter().map(|tree| tree.root.to_value()).filter(|value| !value.is_null()).collect())
    }

    /// The objects, those of lists one by one.
    ///
    /// # Errors
    /// As kubectl's when a document is no object of Kubernetes.
    pub fn objects(&self) -> Result<Vec<Value>, String> {
        let mut objects = Vec::new();
        for document in self.documents()? {
            self.expand(document, &mut objects)?;
        }
        match objects.is_empty() {
            true => Err("error: no objects passed to the action: the manifest is empty".to_owned()),
            false => Ok(objects),
        }
    }

    fn expand(&self, mut document: Value, objects: &mut Vec<Value>) -> Result<(), String> {
        for (field, shown) in [("kind", "Kind"), ("apiVersion", "apiVersion")] {
            if document.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
                let json = tiphys_expr::go::marshal(&held(&document)).unwrap_or_default();
                return Err(format!(
                    "error: unable to decode {:?}: Object '{shown}' is missing in '{json}'",
                    self.path
                ));
            }
        }
        let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        match document.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) if is_list => items.into_iter().try_for_each(|item| self.expand(item, objects)),
            items => {
                if let Some(items) = items {
                    document["items"] = items;
                }
                objects.push(document);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        Manifest { path: path::MANIFEST.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn documents_and_lists_become_objects() {
        let objects = manifest(
            "a: b\napiVersion: v1\nkind: ConfigMap\n---\n---\n{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\":\n\
             [{\"apiVersion\": \"v1\", \"kind\": \"Pod\"}, {\"apiVersion\": \"v1\", \"kind\": \"Secret\"}]}",
        )
        .objects()
        .unwrap();
        let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["ConfigMap", "Pod", "Secret"]);
    }

    #[test]
    fn mistakes_are_told_as_kubectl_tells_them() {
        for (text, expected) in [
            (
                "apiVersion: v1\nmetadata:\n  name: x\n  annotations:\n    foo: <bar>\n",
                "error: unable to decode \"/tmp/manifest.yaml\": Object 'Kind' is missing in \
                 '{\"apiVersion\":\"v1\",\"metadata\":{\"annotations\":{\"foo\":\"\\u003cbar\\u003e\"},\"name\":\"x\"}}'",
            ),
            (
                "kind: Pod",
                "error: unable to decode \"/tmp/manifest.yaml\": Object 'apiVersion' is missing in '{\"kind\":\"Pod\"}'",
            ),
            ("", "error: no objects passed to the action: the manifest is empty"),
        ] {
            assert_eq!(manifest(text).objects().unwrap_err(), expected);
        }
        let error = manifest("a: [").objects().unwrap_err();
        assert!(
            error.starts_with("error: error parsing /tmp/manifest.yaml: error converting YAML to JSON: "),
            "{error}"
        );
    }
}

//! The corpus as inputs of `build`, and the comparison.

mod input;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tiphys_api::merge::{Schema, strategic_merge};
use tiphys_api::yaml::to_json;

/// The corpus' folder, and the objects that its workflows refer to.
pub struct Corpus {
    folder: PathBuf,
    /// Specs by `<Kind>/<name>`.
    common: BTreeMap<String, Value>,
}

/// One workflow and some of its Pods.
pub struct Case {
    pub name: String,
    /// The merged spec.
    pub spec: Value,
    pub pods: Vec<Value>,
}

impl Corpus {
    pub fn find() -> Option<Corpus> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
        let folder = std::env::var_os("TIPHYS_CORPUS").map_or(beside, PathBuf::from);
        if !folder.is_dir() {
            return None;
        }
        let mut common = BTreeMap::new();
        for file in std::fs::read_dir(folder.join("common")).unwrap() {
            let object = to_json(&std::fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
            let key = format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]));
            common.insert(key, object["spec"].clone());
        }
        Some(Corpus { folder, common })
    }

    pub fn cases(&self) -> Vec<Case> {
        let mut folders: Vec<PathBuf> =
            std::fs::read_dir(self.folder.join("cases")).unwrap().map(|case| case.unwrap().path()).collect();
        folders.sort();
        folders.iter().filter(|folder| folder.join("pods.json").exists()).map(|folder| self.case(folder)).collect()
    }

    fn case(&self, folder: &Path) -> Case {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let workflow = to_json(&read("workflow.yaml")).unwrap();
        let mut spec = workflow["spec"].clone();
        if let Value::Object(reference) = &spec["workflowTemplateRef"] {
            let cluster = reference.get("clusterScope") == Some(&json!(true));
            let kind = if cluster { "ClusterWorkflowTemplate" } else { "WorkflowTemplate" };
            if let Some(below) = self.common.get(&format!("{kind}/{}", text(&reference["name"]))) {
                spec = strategic_merge(below, &spec, Schema::WorkflowSpec).unwrap();
            }
        }
        let pods = match serde_json::from_str(&read("pods.json")).unwrap() {
            Value::Array(pods) => pods,
            _ => panic!("pods.json is a list"),
        };
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        Case { name, spec, pods }
    }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The value of an environment variable of a container.
pub fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    container["env"].as_array()?.iter().find(|variable| variable["name"] == json!(name))?["value"].as_str()
}

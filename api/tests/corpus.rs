//! Every manifest of the corpus, where it is at hand: its YAML means what it means to Go, and its objects lose nothing.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tiphys_api::document::{self, Object};
use tiphys_api::{plain_number, yaml};

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let folder = std::env::var_os("TIPHYS_CORPUS").map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

#[test]
fn yaml_means_what_it_means_to_go() {
    let Some(corpus) = corpus() else { return };
    let table = std::fs::read_to_string(corpus.join("oracles/yaml.tsv")).unwrap();
    let mut wrong = Vec::new();
    for row in table.lines() {
        let columns: Vec<&str> = row.split('\t').collect();
        let expected: Option<Value> = (columns[1] != "ERR").then(|| serde_json::from_str(columns[1]).unwrap());
        let found = yaml::to_json(columns[0]);
        if found.as_ref().ok() != expected.as_ref() {
            wrong.push(format!("{row}\n   {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn objects_lose_nothing() {
    let Some(corpus) = corpus() else { return };
    let cases = std::fs::read_dir(corpus.join("cases")).unwrap().map(|case| case.unwrap().path().join("workflow.yaml"));
    let common = std::fs::read_dir(corpus.join("common")).unwrap().map(|file| file.unwrap().path());
    let (mut objects, mut wrong) = (0, Vec::new());
    for path in cases.chain(common).filter(|path| path.exists()) {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        let documents = document::parse(&name, &text).unwrap_or_else(|mistakes| panic!("{}", mistakes[0]));
        let originals = yaml::parse(&text).unwrap();
        assert_eq!(documents.len(), originals.len(), "{name}");
        for (document, original) in documents.iter().zip(originals) {
            objects += 1;
            let mut differences = Vec::new();
            compare(&original.root.to_value(), &printed(&document.object).unwrap(), "", &mut differences);
            wrong.extend(differences.into_iter().map(|difference| format!("{name}: {difference}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(objects > 0);
}

fn printed(object: &Object) -> serde_json::Result<Value> {
    match object {
        Object::Workflow(workflow) => serde_json::to_value(workflow),
        Object::WorkflowTemplate(template) => serde_json::to_value(template),
        Object::ClusterWorkflowTemplate(template) => serde_json::to_value(template),
        Object::CronWorkflow(cron) => serde_json::to_value(cron),
        Object::ConfigMap(map) => serde_json::to_value(map),
        Object::Other(value) => Ok(value.clone()),
        other => panic!("unexpected kind {}", other.kind()),
    }
}

/// Go's `omitempty` drops what is empty; fields behind a pointer stay when they are empty, and these are among them.
const POINTERS: &[&str] =
    &["suspend", "none", "zip", "tar", "value", "default", "supplied", "raw", "emptyDir", "archive"];
/// Numbers and booleans become text here.
const ANY_STRING: &[&str] = &["value", "default", "description", "enum"];

fn compare(original: &Value, printed: &Value, path: &str, differences: &mut Vec<String>) {
    let field = path.rsplit('.').next().unwrap_or_default();
    match (original, printed) {
        (Value::Object(original), Value::Object(printed)) => {
            for (key, value) in original {
                let path = format!("{path}.{key}");
                match printed.get(key) {
                    Some(printed) => compare(value, printed, &path, differences),
                    None if !is_empty(value) => differences.push(format!("{path} is lost")),
                    None if POINTERS.contains(&key.as_str()) && !value.is_null() => {
                        differences.push(format!("{path} is lost, though Go keeps it"));
                    }
                    None => {}
                }
            }
            let added = printed.keys().filter(|key| !original.contains_key(*key));
            differences.extend(added.map(|key| format!("{path}.{key} is new")));
        }
        (Value::Array(original), Value::Array(printed)) if original.len() == printed.len() => {
            for (index, (original, printed)) in original.iter().zip(printed).enumerate() {
                compare(original, printed, &format!("{path}[{index}]"), differences);
            }
        }
        (Value::Number(number), Value::String(text)) if is_any_string(field) && *text == plain_number(number) => {}
        (Value::Bool(value), Value::String(text)) if is_any_string(field) && *text == value.to_string() => {}
        _ if original == printed => {}
        _ => differences.push(format!("{path}: {original} became {printed}")),
    }
}

fn is_any_string(field: &str) -> bool {
    ANY_STRING.contains(&field.split('[').next().unwrap_or_default())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(true) => false,
    }
}

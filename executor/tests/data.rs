//! `data` as a real process against an S3 server.

#![allow(clippy::unwrap_used, reason = "tests")]

mod pod;

use pod::store::Store;
use pod::{Pod, code, run};
use serde_json::{Value, json};

/// Runs a data template whose source has this key; gives its result, or the message of its failure.
fn check(key: &str, expressions: &[&str]) -> Result<Value, String> {
    let store = Store::start();
    for key in ["data/a.txt", "data/deep/b.txt", "data/c.pdf", "other/d.txt"] {
        store.put(key, b"x");
    }
    let pod = Pod::new("");
    let location = store.location(&pod, false);
    let mut source = location["s3"].clone();
    source["key"] = json!(key);
    let steps: Vec<Value> = expressions.iter().map(|text| json!({"expression": text})).collect();
    let template = json!({"name": "t", "archiveLocation": location,
        "data": {"source": {"artifactPaths": {"name": "data", "s3": source}}, "transformation": steps}});
    std::fs::write(pod.paths.template(), template.to_string()).unwrap();
    let result = pod.root().join("result.json");
    let mut command = pod.executor(&["data", "--loglevel", "info", &template["data"].to_string()]);
    command.env("TIPHYS_RESULT_SINK", format!("file:{}", result.display()));
    let output = run(command);
    match code(&output) {
        0 => {
            let body: Value = serde_json::from_slice(&std::fs::read(result).unwrap()).unwrap();
            Ok(serde_json::from_str(body["outputs"]["result"].as_str().unwrap()).unwrap())
        }
        64 => Err(pod.message()),
        other => panic!("exit code {other}"),
    }
}

#[test]
fn keys_are_listed_and_transformed() {
    assert_eq!(check("data", &[]), Ok(json!(["data/a.txt", "data/c.pdf", "data/deep/b.txt"])));
    let expressions = ["filter(data, {# endsWith '.txt'})", "map(data, {{'file': #}})"];
    assert_eq!(check("data/", &expressions), Ok(json!([{"file": "data/a.txt"}, {"file": "data/deep/b.txt"}])));
    assert_eq!(check("", &["len(data)"]), Ok(json!(4)), "without a key the whole bucket is listed");
}

#[test]
fn mistakes_are_told() {
    let error = check("data", &["filter(data, {#.x})"]).unwrap_err();
    let beginning =
        "unable to process data template: unable to process data transformation: error processing data step 0: ";
    assert!(error.starts_with(beginning), "{error}");
    let error = check("nowhere", &[]).unwrap_err();
    let beginning = "unable to process data template: unable to process data source: unable to source artifact paths: ";
    assert!(error.starts_with(beginning), "{error}");
}

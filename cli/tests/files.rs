//! Commands that write files: artifacts of a workflow from a real store, manifests as they are written today.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

#[path = "../../executor/tests/apiserver/mod.rs"]
mod apiserver;
#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::Cluster;
use common::Tiphys;
use serde_json::json;
use tiphys_artifact::{Artifacts, Body, Options, Secret};
use tiphys_s3server::S3Server;

#[test]
fn artifacts_are_copied_as_they_are_stored() {
    let cluster = Cluster::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let data = tempfile::tempdir().unwrap();
    let server = runtime.block_on(S3Server::start(data.path(), &["artifacts"])).unwrap();
    let keys = [("access", server.access_key()), ("secret", server.secret_key().expose())];
    let repository = json!({"endpoint": server.endpoint(), "bucket": "artifacts", "insecure": true,
        "accessKeySecret": {"name": "keys", "key": "access"}, "secretKeySecret": {"name": "keys", "key": "secret"}});
    let artifact = |name: &str, key: &str| json!({"name": name, "s3": {"key": key}});
    let node = |id: &str, template: &str, artifacts: serde_json::Value| {
        json!({"id": id, "name": id, "displayName": id, "type": "Pod", "templateName": template, "phase": "Succeeded",
            "outputs": {"artifacts": artifacts}})
    };
    let status = json!({
        "phase": "Succeeded",
        "artifactRepositoryRef": {"artifactRepository": {"s3": repository}},
        "nodes": {
            "w-1": node("w-1", "make", json!([artifact("out", "w/out.tgz"), artifact("main-logs", "w/main.log")])),
            "w-2": node("w-2", "pack", json!([artifact("folder", "w/folder")])),
        },
    });
    cluster.put("w", json!({}), status.clone());
    let target = tempfile::tempdir().unwrap();
    let folder = target.path().to_str().unwrap();
    let at = |path: &str| std::fs::read(target.path().join(path)).unwrap_or_default();
    // Without the Secret nothing is there, and each says why.
    let output = cluster.run(&["cp", "w", folder], "");
    assert_eq!((output.code, output.out.as_str()), (1, ""), "{output:?}");
    assert!(output.err.lines().count() == 3 && output.err.contains("Secret keys"), "{output:?}");
    cluster.secret("ns", "keys", &keys);
    let keys = keys.map(|(key, value)| (key, value.to_owned()));
    let secrets =
        move |_: &str, wanted: &str| Ok(Secret::new(keys.iter().find(|(key, _)| *key == wanted).unwrap().1.as_str()));
    let artifacts = Artifacts::new(secrets, Options::default());
    for (key, body) in
        [("w/out.tgz", "packed"), ("w/main.log", "a line\n"), ("w/folder/a", "one"), ("w/folder/b/c", "two")]
    {
        let mut s3 = repository.clone();
        s3["key"] = key.into();
        let place = artifacts.place(&serde_json::from_value(json!({"name": "x", "s3": s3})).unwrap()).unwrap();
        runtime.block_on(place.store.put(&place.key, Body::Bytes(body.into()))).unwrap();
    }
    let output = cluster.run(&["cp", "w", folder], "");
    assert_eq!((output.code, output.out.lines().count()), (0, 3), "{output:?}");
    assert_eq!(at("ns/w/w-1/outputs/out/out.tgz"), b"packed");
    assert_eq!(at("ns/w/w-1/outputs/main-logs/main.log"), b"a line\n");
    assert_eq!(at("ns/w/w-2/outputs/folder/folder/b/c"), b"two");
    let args = ["cp", "w", folder, "--template-name", "make", "--artifact-name", "out", "--path", "{templateName}"];
    let output = cluster.run(&args, "");
    assert_eq!(output.out, format!("{folder}/make/out.tgz\n"), "{output:?}");
    assert_eq!(cluster.run(&["cp", "w", folder, "--node-id", "w-3"], "").out, "no artifacts found\n");
    let output = cluster.run(&["cp", "w", folder, "--path", "{workflowName}", "--artifact-name", "out"], "");
    assert_eq!(output.out, format!("{folder}/w/out.tgz\n"), "{output:?}");
}

#[test]
fn old_manifests_are_written_as_today() {
    let tiphys = Tiphys::new();
    let old = "kind: CronWorkflow\napiVersion: argoproj.io/v1alpha1\nmetadata: {name: c}\nspec:\n  schedule: '@daily'\n  \
               workflowSpec: {synchronization: {mutex: {name: m}}}\n---\nkind: ConfigMap\ndata: {a: b}\n";
    let output = tiphys.run(&["convert", "-"], old);
    assert_eq!(output.code, 0, "{output:?}");
    let documents: Vec<serde_json::Value> =
        tiphys_api::yaml::parse(&output.out).unwrap().iter().map(|tree| tree.root.to_value()).collect();
    assert_eq!(
        documents,
        [
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "CronWorkflow", "metadata": {"name": "c"},
                "spec": {"schedules": ["@daily"], "workflowSpec": {"synchronization": {"mutexes": [{"name": "m"}]}}}}),
            json!({"kind": "ConfigMap", "data": {"a": "b"}}),
        ]
    );
    let output = tiphys.run(&["convert", "-", "-o", "json"], "{\"kind\": \"Other\"}");
    assert_eq!(output.out, "{\n    \"kind\": \"Other\"\n}\n");
    let output = tiphys.run(&["convert", "-"], "kind: [");
    assert!(output.code == 2 && output.err.starts_with("standard input"), "{output:?}");
}

#[test]
fn mistakes_can_be_a_line_each() {
    let tiphys = Tiphys::new();
    let manifest =
        common::manifest("w", "spec:\n  entrypoint: other\n  templates: [{name: a, suspend: {}}]\n  unknown: 1\n");
    let output = tiphys.run(&["lint", "-", "-o", "simple", "--strict"], &manifest);
    assert_eq!(output.code, 2, "{output:?}");
    assert_eq!(output.err.lines().count(), 2, "{output:?}");
    assert!(
        output.err.lines().all(|line| line.starts_with("standard input:") && line.contains(": error: ")),
        "{output:?}"
    );
    let pretty = tiphys.run(&["lint", "-", "--strict=true"], &manifest);
    assert!(pretty.err.lines().count() > 2, "{pretty:?}");
    let lenient = tiphys.run(&["lint", "-", "-o", "simple", "--strict=false"], &manifest);
    assert!(lenient.err.lines().filter(|line| line.contains(": error: ")).count() == 1, "{lenient:?}");
}

#[test]
fn the_version_is_told() {
    let tiphys = Tiphys::new();
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(tiphys.run(&["version"], "").out, format!("tiphys {number}\n"));
    assert_eq!(tiphys.run(&["version", "--short"], "").out, format!("{number}\n"));
    assert!(tiphys.run(&["completion", "bash"], "").out.contains("tiphys"));
}

//! `artifact delete` as a real process against an API server and an S3 server.

#![allow(clippy::unwrap_used, reason = "tests")]

mod apiserver;
mod pod;

use apiserver::{ApiServer, Fate};
use pod::store::Store;
use pod::{Pod, code, finish, run, signal};
use serde_json::{Value, json};

const TASKS: &str = "/apis/argoproj.io/v1alpha1/namespaces/argo/workflowartifactgctasks";

struct Garbage {
    server: ApiServer,
    store: Store,
    pod: Pod,
}

impl Garbage {
    fn new() -> Self {
        Self { server: ApiServer::start(), store: Store::start(), pod: Pod::new("{}") }
    }

    fn task(&self, name: &str, label: &str, by_node: Value) {
        let labels = json!({"workflows.argoproj.io/artifact-gc-pod": label});
        self.server.put(
            TASKS,
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowArtifactGCTask",
                "metadata": {"name": name, "labels": labels}, "spec": {"artifactsByNode": by_node}}),
        );
    }

    fn run(&self) -> i32 {
        code(&run(self.command()))
    }

    fn command(&self) -> std::process::Command {
        let server = self.server.url();
        let mut command =
            self.pod.executor(&["artifact", "delete", "--loglevel", "info", "--server", &server, "-n", "argo"]);
        command.env("ARGO_ARTIFACT_POD_NAME", "hash").env("ARGO_TEMPLATE", "{}");
        command
    }

    fn results(&self, task: &str) -> Value {
        self.server.object(&format!("{TASKS}/{task}")).unwrap()["status"]["artifactResultsByNode"].take()
    }
}

#[test]
fn artifacts_go_and_their_tasks_tell() {
    let garbage = Garbage::new();
    let location = garbage.store.location(&garbage.pod, false);
    for key in ["wf/a.tgz", "wf/dir/1", "wf/dir/2", "wf/kept"] {
        garbage.store.put(key, b"x");
    }
    let mut elsewhere = location["s3"].clone();
    elsewhere["bucket"] = json!("nowhere");
    elsewhere["key"] = json!("x");
    garbage.task(
        "t",
        "hash",
        json!({
            "node-1": {"archiveLocation": location, "artifacts": {
                "a": {"name": "a", "s3": {"key": "wf/a.tgz"}},
                "dir": {"name": "dir", "s3": {"key": "wf/dir/"}},
                "gone": {"name": "gone", "s3": {"key": "wf/gone"}}}},
            "node-2": {"artifacts": {
                "lost": {"name": "lost", "s3": elsewhere},
                "raw": {"name": "raw", "s3": {"key": "k"}}}},
            "node-3": {}
        }),
    );
    garbage.task(
        "other",
        "another",
        json!({"n": {"archiveLocation": location, "artifacts": {
        "a": {"name": "a", "s3": {"key": "wf/kept"}}}}}),
    );
    assert_eq!(garbage.run(), 0, "{}", garbage.pod.message());
    let results = garbage.results("t");
    for name in ["a", "dir", "gone"] {
        assert_eq!(results["node-1"]["artifactResults"][name], json!({"name": name, "success": true}));
    }
    let failures = &results["node-2"]["artifactResults"];
    for name in ["lost", "raw"] {
        assert_eq!(failures[name]["success"], false);
        assert!(!failures[name]["error"].as_str().unwrap().is_empty());
    }
    assert_eq!(results["node-3"], json!({}));
    for key in ["wf/a.tgz", "wf/dir/1", "wf/dir/2"] {
        assert_eq!(garbage.store.object(key), None, "{key}");
    }
    assert!(garbage.store.object("wf/kept").is_some());
    assert_eq!(garbage.results("other"), Value::Null);
}

#[test]
fn tasks_that_cannot_be_read_are_a_failure() {
    let garbage = Garbage::new();
    garbage.server.plan(|_, _| Fate::Refuse(403, "Forbidden", "no"));
    assert_eq!(garbage.run(), 64);
    let expected = "cannot list workflowartifactgctasks.argoproj.io: no (HTTP 403, Forbidden)";
    assert_eq!(garbage.pod.message(), expected);
    assert_eq!(garbage.server.calls()[0].query["labelSelector"], "workflows.argoproj.io/artifact-gc-pod=hash");
}

#[test]
fn a_pod_that_must_end_does_so_at_once() {
    let garbage = Garbage::new();
    garbage.server.plan(|_, _| Fate::Stall);
    let child = garbage.command().spawn().unwrap();
    garbage.server.until("the tasks are asked for", |calls| calls.len() == 1);
    signal(&child, 15);
    assert_eq!(code(&finish(child)), 143, "as PID 1 it would not even notice without a handler");
}

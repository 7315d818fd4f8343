//! `resource` as a real process against an API server on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

mod apiserver;
mod pod;

use std::process::{Child, Output};

use apiserver::{ApiServer, Fate};
use pod::{Pod, code, finish, run};
use serde_json::{Value, json};

const CONFIG_MAPS: &str = "/api/v1/namespaces/argo/configmaps";
const PODS: &str = "/api/v1/namespaces/argo/pods";

struct Step {
    server: ApiServer,
    pod: Pod,
}

impl Step {
    /// A step on a server that also knows Jobs.
    fn new(resource: Value, outputs: Value) -> Self {
        let server = ApiServer::start();
        server.know("batch/v1", "jobs", "Job", true);
        let template = json!({"name": "t", "resource": resource, "outputs": {"parameters": outputs}});
        Self { server, pod: Pod::new(&template.to_string()) }
    }

    fn command(&self, action: &str) -> std::process::Command {
        let server = self.server.url();
        let mut command =
            self.pod.executor(&["resource", action, "--loglevel", "info", "--server", &server, "-n", "argo"]);
        command.env("TIPHYS_RESULT_SINK", format!("file:{}", self.result().display()));
        command.env("RESOURCE_STATE_CHECK_INTERVAL", "10ms");
        command
    }

    fn start(&self, action: &str) -> Child {
        self.command(action).spawn().unwrap()
    }

    fn run(&self, action: &str) -> Output {
        run(self.command(action))
    }

    fn succeeds(&self, action: &str) {
        let output = self.run(action);
        assert_eq!(code(&output), 0, "{}", self.pod.message());
    }

    fn fails(&self, action: &str, message: &str) {
        let output = self.run(action);
        assert_eq!((code(&output), self.pod.message().as_str()), (64, message));
    }

    fn result(&self) -> std::path::PathBuf {
        self.pod.root().join("result.json")
    }

    /// The reported parameters, by name.
    fn parameters(&self) -> Value {
        let body: Value = serde_json::from_slice(&std::fs::read(self.result()).unwrap()).unwrap();
        let parameters = body["outputs"]["parameters"].as_array().unwrap();
        parameters.iter().map(|one| (one["name"].as_str().unwrap().to_owned(), one["value"].clone())).collect()
    }

    /// Calls that change something: method, path's last parts, and query.
    fn writes(&self) -> Vec<String> {
        let calls = self.server.calls();
        calls.iter().filter(|call| call.method != "GET").map(apiserver::Call::brief).collect()
    }
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "argo"}, "data": data})
}

fn job() -> Value {
    json!({"action": "create", "successCondition": "status.succeeded > 0", "failureCondition": "status.failed > 3",
        "manifest": "apiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: pi-\nspec: {}\n"})
}

fn job_path(step: &Step) -> String {
    let call =
        step.server.calls().into_iter().find(|call| call.method == "GET" && call.path.ends_with("/jobs")).unwrap();
    let name = call.query["fieldSelector"].strip_prefix("metadata.name=").unwrap().to_owned();
    format!("/apis/batch/v1/namespaces/argo/jobs/{name}")
}

/// Waits until the Job is watched, then gives it a status.
fn set_status(step: &Step, status: Value) {
    let watched = |call: &apiserver::Call| call.query.contains_key("watch");
    step.server.until("the job is watched", |calls| calls.iter().any(watched));
    let mut object = step.server.object(&job_path(step)).unwrap();
    object["status"] = status;
    step.server.put("/apis/batch/v1/namespaces/argo/jobs", object);
}

#[test]
fn a_job_is_created_watched_and_read() {
    let outputs = json!([
        {"name": "name", "valueFrom": {"jsonPath": "{.metadata.name}"}},
        {"name": "status", "valueFrom": {"jqFilter": ".status | \"\\(.succeeded) of \\(.active + .succeeded)\""}},
        {"name": "given", "value": "x"},
    ]);
    let step = Step::new(job(), outputs);
    let child = step.start("create");
    set_status(&step, json!({"active": 1}));
    set_status(&step, json!({"active": 2, "succeeded": 1}));
    let output = finish(child);
    assert_eq!(code(&output), 0, "{}", step.pod.message());
    let name = job_path(&step).rsplit('/').next().unwrap().to_owned();
    assert_eq!(step.parameters(), json!({"name": name, "status": "1 of 3", "given": "x"}));
    let calls = step.server.calls();
    let create = calls.iter().find(|call| call.method == "POST").unwrap();
    assert_eq!(
        (create.query["fieldManager"].as_str(), create.query["fieldValidation"].as_str()),
        ("kubectl-create", "Strict")
    );
    assert_eq!(calls.len(), 4, "discovery, create, list, watch: {:?}", step.server.lines());
}

#[test]
fn a_failure_condition_fails_the_step() {
    let step = Step::new(job(), json!([]));
    let child = step.start("create");
    set_status(&step, json!({"failed": 4, "succeeded": 1}));
    assert_eq!(code(&finish(child)), 64);
    assert_eq!(step.pod.message(), "failure condition '{status.failed gt [3]}' evaluated true");
}

#[test]
fn an_object_that_vanishes_is_an_error() {
    let step = Step::new(job(), json!([]));
    let child = step.start("create");
    set_status(&step, json!({"active": 1}));
    step.server.remove(&job_path(&step));
    assert_eq!(code(&finish(child)), 64);
    let message = step.pod.message();
    assert!(
        message.starts_with("The resource has been deleted while its status was still being checked. Will"),
        "{message}"
    );
}

#[test]
fn who_may_not_watch_reads_again() {
    let step = Step::new(job(), json!([]));
    // Reads of one object pass; lists and watches are forbidden, as with the role that argoexec needs.
    step.server.plan(|_, call| match call.method.as_str() {
        "GET" if call.path.ends_with("/jobs") => Fate::Refuse(403, "Forbidden", "cannot list jobs"),
        _ => Fate::Pass,
    });
    let child = step.start("create");
    let reads = |calls: &[apiserver::Call]| calls.iter().filter(|call| call.path.contains("/jobs/pi-")).count();
    step.server.until("the job is read twice", |calls| reads(calls) > 1);
    let path = step.server.calls().into_iter().find(|call| call.path.contains("/jobs/pi-")).unwrap().path;
    let mut object = step.server.object(&path).unwrap();
    object["status"] = json!({"succeeded": 1});
    step.server.put("/apis/batch/v1/namespaces/argo/jobs", object);
    assert_eq!(code(&finish(child)), 0, "{}", step.pod.message());
}

#[test]
fn apply_creates_changes_and_leaves_alone() {
    let manifest = config_map("c", json!({"a": "1", "b": "2"}));
    let step = Step::new(json!({"action": "apply", "manifest": manifest.to_string()}), json!([]));
    step.succeeds("apply");
    let path = format!("{CONFIG_MAPS}/c");
    let mut object = step.server.object(&path).unwrap();
    let last = object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap();
    assert!(
        last.starts_with("{\"apiVersion\":\"v1\",\"data\":{\"a\":\"1\",\"b\":\"2\"},\"kind\":\"ConfigMap\""),
        "{last}"
    );
    object["data"]["own"] = json!("3");
    step.server.put(CONFIG_MAPS, object);
    step.succeeds("apply");
    assert_eq!(step.writes(), ["POST argo/configmaps"], "nothing had to be changed");
    let manifest = config_map("c", json!({"a": "9"}));
    let template = json!({"resource": {"action": "apply", "manifest": manifest.to_string()}});
    std::fs::write(step.pod.paths.template(), template.to_string()).unwrap();
    step.succeeds("apply");
    assert_eq!(step.server.object(&path).unwrap()["data"], json!({"a": "9", "own": "3"}));
    let calls = step.server.calls();
    let patch = calls.iter().find(|call| call.method == "PATCH").unwrap();
    assert_eq!(patch.content_type(), "application/strategic-merge-patch+json");
    assert_eq!(patch.body["data"], json!({"a": "9", "b": null}));
    assert_eq!(patch.query["fieldManager"], "kubectl-client-side-apply");
}

#[test]
fn apply_on_the_server_names_its_manager() {
    let manifest = config_map("c", json!({"a": "1"}));
    let flags = json!(["--server-side", "--force-conflicts", "--field-manager=me"]);
    let resource = json!({"action": "apply", "manifest": manifest.to_string(), "flags": flags});
    let step = Step::new(resource, json!([]));
    step.succeeds("apply");
    let calls = step.server.calls();
    let patch = calls.iter().find(|call| call.method == "PATCH").unwrap();
    assert_eq!(patch.content_type(), "application/apply-patch+yaml");
    assert_eq!((patch.query["fieldManager"].as_str(), patch.query["force"].as_str()), ("me", "true"));
}

#[test]
fn patches_of_each_strategy() {
    let cases = [
        (json!({"manifest": config_map("c", json!({"b": "2"})).to_string()}), "application/strategic-merge-patch+json"),
        (
            json!({"mergeStrategy": "merge", "flags": ["cm", "c"], "manifest": "data: {b: \"2\"}"}),
            "application/merge-patch+json",
        ),
        (
            json!({"mergeStrategy": "json", "flags": ["configmap/c"],
                "manifest": "- op: add\n  path: /data/b\n  value: \"2\"\n"}),
            "application/json-patch+json",
        ),
    ];
    for (mut resource, content_type) in cases {
        resource["action"] = json!("patch");
        let step = Step::new(resource, json!([{"name": "b", "valueFrom": {"jsonPath": "{.data.b}"}}]));
        if content_type == "application/merge-patch+json" {
            // The server of these tests knows no short names.
            let template = std::fs::read_to_string(step.pod.paths.template()).unwrap();
            std::fs::write(step.pod.paths.template(), template.replace("\"cm\"", "\"ConfigMaps\"")).unwrap();
        }
        step.server.put(CONFIG_MAPS, config_map("c", json!({"a": "1"})));
        step.succeeds("patch");
        let calls = step.server.calls();
        let patch = calls.iter().find(|call| call.method == "PATCH").unwrap();
        assert_eq!(patch.content_type(), content_type);
        assert_eq!(patch.query["fieldManager"], "kubectl-patch");
        assert_eq!(step.server.object(&format!("{CONFIG_MAPS}/c")).unwrap()["data"], json!({"a": "1", "b": "2"}));
        assert_eq!(step.parameters(), json!({"b": "2"}));
    }
}

#[test]
fn replace_takes_the_present_version() {
    let manifest = config_map("c", json!({"b": "2"}));
    let step = Step::new(json!({"action": "replace", "manifest": manifest.to_string()}), json!([]));
    step.fails(
        "replace",
        "no more retries Error from server (NotFound): error when replacing \"/tmp/manifest.yaml\": c not found",
    );
    step.server.put(CONFIG_MAPS, config_map("c", json!({"a": "1"})));
    step.succeeds("replace");
    assert_eq!(step.server.object(&format!("{CONFIG_MAPS}/c")).unwrap()["data"], json!({"b": "2"}));
}

#[test]
fn deletion_waits_and_forgives() {
    let manifest = config_map("c", json!({}));
    let step = Step::new(json!({"action": "delete", "manifest": manifest.to_string()}), json!([]));
    step.succeeds("delete");
    step.server.put(CONFIG_MAPS, config_map("c", json!({})));
    step.succeeds("delete");
    assert!(step.server.object(&format!("{CONFIG_MAPS}/c")).is_none());
    let calls = step.server.calls();
    let delete = calls.iter().rfind(|call| call.method == "DELETE").unwrap();
    assert_eq!(delete.body, json!({"propagationPolicy": "Background"}));

    let flags = json!(["configmap", "--selector", "cleanup=true", "--wait=false"]);
    let step = Step::new(json!({"action": "delete", "flags": flags}), json!([]));
    for (name, label) in [("a", "true"), ("b", "false"), ("c", "true")] {
        let mut object = config_map(name, json!({}));
        object["metadata"]["labels"] = json!({"cleanup": label});
        step.server.put(CONFIG_MAPS, object);
    }
    step.succeeds("delete");
    assert_eq!(step.writes(), ["DELETE configmaps/a", "DELETE configmaps/c"]);
    assert!(step.server.object(&format!("{CONFIG_MAPS}/b")).is_some());

    let resource = json!({"action": "delete", "successCondition": "a", "manifest": manifest.to_string()});
    Step::new(resource, json!([]))
        .fails("delete", "successCondition, failureCondition and outputs are not supported for delete action");
}

#[test]
fn get_reads_and_falls_back_to_defaults() {
    let outputs = json!([{"name": "p", "valueFrom": {"jsonPath": "{.status.phase}", "default": "none"}}]);
    let flags = json!(["pod", "x", "--ignore-not-found"]);
    let step = Step::new(json!({"action": "get", "flags": flags}), outputs.clone());
    step.succeeds("get");
    assert_eq!(step.parameters(), json!({"p": "none"}));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "status": {"phase": "Running"}});
    step.server.put(PODS, pod);
    step.succeeds("get");
    assert_eq!(step.parameters(), json!({"p": "Running"}));
    let step = Step::new(json!({"action": "get", "flags": ["pod/x"]}), outputs);
    step.fails("get", "no more retries Error from server (NotFound): x not found");
}

#[test]
fn many_manifests_are_acted_upon_in_turn() {
    let manifest = format!("{}\n---\n{}\n", config_map("a", json!({})), config_map("b", json!({})));
    let outputs = json!([{"name": "last", "valueFrom": {"jsonPath": "{.metadata.name}"}}]);
    let step = Step::new(json!({"action": "create", "manifest": manifest}), outputs);
    step.succeeds("create");
    assert_eq!(step.writes(), ["POST argo/configmaps", "POST argo/configmaps"]);
    assert_eq!(step.parameters(), json!({"last": "b"}));
}

#[test]
fn a_manifest_comes_from_an_artifact() {
    let pod = Pod::new("");
    let path = pod.at("manifest");
    std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
    std::fs::write(&path, config_map("a", json!({})).to_string()).unwrap();
    let resource = json!({"action": "create", "manifestFrom": {"artifact": {"name": "m"}}});
    let mut step = Step::new(resource.clone(), json!([]));
    let template = json!({"resource": resource, "inputs": {"artifacts": [{"name": "m", "path": path}]}});
    std::fs::write(pod.paths.template(), template.to_string()).unwrap();
    step.pod = pod;
    step.succeeds("create");
    assert!(step.server.object(&format!("{CONFIG_MAPS}/a")).is_some());
}

#[test]
fn mistakes_are_told_in_kubectls_words() {
    let create = |manifest: &str, flags: Value| json!({"action": "create", "manifest": manifest, "flags": flags});
    let route = "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata:\n  name: host-route\n";
    let cases = [
        (
            create(route, json!(["--validate=false"])),
            "no more retries error: resource mapping not found for name: \"host-route\" namespace: \"\" from \
             \"/tmp/manifest.yaml\": no matches for kind \"Route\" in version \"route.openshift.io/v1\"\nensure CRDs are \
             installed first",
        ),
        (create("", json!([])), "Must provide at least one of flags or manifest."),
        (
            create(&config_map("c", json!({})).to_string(), json!([])),
            "no more retries Error from server (AlreadyExists): error when creating \"/tmp/manifest.yaml\": configmaps \
             \"c\" already exists",
        ),
        (
            create(&config_map("c", json!({})).to_string(), json!(["-n", "other"])),
            "no more retries error: the namespace from the provided object \"argo\" does not match the namespace \
             \"other\". You must pass '--namespace=argo' to perform this operation.",
        ),
        (
            create(&config_map("c", json!({})).to_string(), json!(["--edit"])),
            "resource.flags: kubectl's flag --edit is not supported by this executor for the action create: there are \
             --namespace, --validate, --field-manager, --dry-run, --save-config, --record",
        ),
    ];
    for (resource, message) in cases {
        let step = Step::new(resource, json!([]));
        step.server.put(CONFIG_MAPS, config_map("c", json!({})));
        step.fails("create", message);
    }
    let step = Step::new(
        create(&config_map("d", json!({})).to_string(), json!([])),
        json!([{
        "name": "p", "valueFrom": {"jsonPath": "{.data"}}]),
    );
    step.fails("create", "output parameter \"p\": error: error parsing jsonpath {.data, unclosed action");
    assert!(step.writes().is_empty(), "nothing is done before everything can be read");
}

#[test]
fn an_api_server_that_is_away_is_waited_for() {
    let step = Step::new(json!({"action": "create", "manifest": config_map("c", json!({})).to_string()}), json!([]));
    step.server.plan(|number, _| match number {
        0 => Fate::Drop,
        1 => Fate::Refuse(503, "ServiceUnavailable", "away"),
        _ => Fate::Pass,
    });
    step.succeeds("create");
    assert!(step.server.object(&format!("{CONFIG_MAPS}/c")).is_some());
}

#[test]
fn without_a_cluster_the_reason_is_told() {
    let step = Step::new(job(), json!([]));
    let output = run(step.pod.executor(&["resource", "create"]));
    assert_eq!(code(&output), 64);
    let message = step.pod.message();
    assert!(message.starts_with("no Kubernetes API server is known: "), "{message}");
}

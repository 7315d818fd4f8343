//! A step's results by each of the three ways, from real processes to what a driver reads.

#![allow(clippy::unwrap_used, reason = "tests")]

mod apiserver;
mod pod;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use apiserver::{ApiServer, Fate};
use pod::store::Store;
use pod::{Pod, code, finish, run, text, until};
use serde_json::{Value, json};
use tiphys_contract::carry::{self, Told};
use tiphys_contract::{Cause, TaskResult, label};

const POD: &str = "/api/v1/namespaces/argo/pods/wf-step";
const RESULT: &str = "/apis/argoproj.io/v1alpha1/namespaces/argo/workflowtaskresults/wf-1";

/// A Pod with access to an API server that has it.
struct Step {
    pod: Pod,
    server: ApiServer,
}

impl Step {
    fn new(template: &Value) -> Self {
        let (pod, server) = (Pod::new(&template.to_string()), ApiServer::start());
        fs::write(pod.root().join("kubeconfig"), server.kubeconfig("argo")).unwrap();
        server.put(
            &POD[..POD.rfind('/').unwrap()],
            json!({"metadata": {"name": "wf-step", "annotations": {"own": "x"}}}),
        );
        Self { pod, server }
    }

    /// `wait`, with the results going there.
    fn wait(&self, sink: &str) -> Command {
        let mut command = self.pod.executor(&["wait", "--kubeconfig"]);
        command.arg(self.pod.root().join("kubeconfig"));
        for (name, value) in [
            ("ARGO_POD_NAME", "wf-step"),
            ("ARGO_NODE_ID", "wf-1"),
            ("ARGO_WORKFLOW_NAME", "wf"),
            ("ARGO_WORKFLOW_UID", "uid"),
            ("ARGO_INCLUDE_SCRIPT_OUTPUT", "true"),
            ("TIPHYS_RESULT_SINK", sink),
        ] {
            command.env(name, value);
        }
        command
    }

    fn main(&self, script: &str) -> Command {
        let mut command = self.pod.emissary("main", script);
        command.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "true");
        command
    }

    /// What the annotations tell.
    fn annotated(&self) -> TaskResult {
        let annotations = self.server.object(POD).unwrap()["metadata"]["annotations"].clone();
        assert_eq!(annotations["own"], "x", "the user's own stay");
        carry::from_annotations(|name| annotations[name].as_str()).unwrap()
    }

    /// What the termination message tells.
    fn told(&self) -> Told {
        let message = self.pod.message();
        assert!(message.len() <= carry::MESSAGE_BYTES);
        carry::from_message(&message).unwrap()
    }

    /// Calls but for those of discovery.
    fn calls(&self) -> Vec<String> {
        self.server.calls().iter().map(|call| call.brief()).collect()
    }
}

fn template(step: &Pod) -> Value {
    json!({"name": "t", "container": {"image": "x"}, "outputs": {"parameters": [
        {"name": "p", "valueFrom": {"path": step.at("p")}}, {"name": "d", "valueFrom": {"path": "/no", "default": "e"}}]}})
}

/// A step whose parameters are `hello` and `e`, and whose result is `out`.
fn small() -> Step {
    let step = Step::new(&json!({}));
    fs::write(step.pod.paths.template(), template(&step.pod).to_string()).unwrap();
    step
}

fn script(step: &Step) -> String {
    let path = step.pod.at("p");
    format!("mkdir -p $(dirname {path}); echo hello > {path}; echo out")
}

#[test]
fn the_same_results_come_by_each_way() {
    let mut results = Vec::new();
    for sink in ["termination-message", "annotations", "taskresult", "auto", "file"] {
        let step = small();
        let file = step.pod.root().join("result.json");
        let sink = if sink == "file" { format!("file:{}", file.display()) } else { sink.to_owned() };
        let wait = step.wait(&sink).spawn().unwrap();
        assert_eq!(code(&run(step.main(&script(&step)))), 0);
        let output = finish(wait);
        assert_eq!((code(&output), text(&output.stderr)), (0, String::new()), "{sink}");
        let result = match sink.as_str() {
            "termination-message" | "auto" => {
                assert_eq!(step.calls(), [""; 0], "{sink}");
                step.told().result.unwrap()
            }
            "annotations" => {
                assert_eq!(step.calls(), ["PATCH pods/wf-step"]);
                step.annotated()
            }
            "taskresult" => {
                let object = step.server.object(RESULT).unwrap();
                TaskResult::from_json(object.to_string().as_bytes()).unwrap()
            }
            _ => TaskResult::from_json(&fs::read(&file).unwrap()).unwrap(),
        };
        // Each Pod has a folder of its own.
        let body = result.to_json().to_string().replace(step.pod.root().to_str().unwrap(), "");
        results.push((sink, TaskResult::from_json(body.as_bytes()).unwrap()));
    }
    let (_, first) = &results[0];
    let outputs = first.to_json()["outputs"].clone();
    assert_eq!(outputs["parameters"][0]["value"], "hello");
    assert_eq!((&outputs["parameters"][1]["value"], &outputs["result"]), (&json!("e"), &json!("out")));
    for (sink, result) in &results[1..] {
        assert_eq!(result, first, "{sink}");
    }
}

#[test]
fn a_task_result_is_written_as_argoexec_writes_it() {
    let step = small();
    let mut wait = step.wait("taskresult");
    let wait = wait.env_remove("TIPHYS_RESULT_SINK").env("ARGO_INSTANCE_ID", "i").spawn().unwrap();
    step.server.until("the result is announced while main runs", |calls| calls.len() == 1);
    assert_eq!(code(&run(step.main(&script(&step)))), 0);
    assert_eq!(code(&finish(wait)), 0);
    let calls = step.server.calls();
    assert_eq!(
        step.calls(),
        ["POST argo/workflowtaskresults", "PATCH workflowtaskresults/wf-1", "PATCH workflowtaskresults/wf-1"]
    );
    assert_eq!(
        calls[0].body,
        json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTaskResult", "metadata": {"name": "wf-1",
            "labels": {label::WORKFLOW: "wf", label::REPORT_OUTPUTS_COMPLETED: "false", label::CONTROLLER_INSTANCE_ID: "i"},
            "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "wf", "uid": "uid"}]}})
    );
    let parameters = template(&step.pod)["outputs"]["parameters"].clone();
    let mut parameters = parameters.as_array().unwrap().clone();
    parameters[0]["value"] = json!("hello");
    parameters[1]["value"] = json!("e");
    assert_eq!(calls[1].body, json!({"metadata": {}, "outputs": {"parameters": parameters, "result": "out"}}));
    assert_eq!(calls[2].body, json!({"metadata": {"labels": {label::REPORT_OUTPUTS_COMPLETED: "true"}}}));
    assert!(calls[1..].iter().all(|call| call.content_type() == "application/merge-patch+json"));
}

#[test]
fn a_task_result_that_is_there_or_gone_is_no_obstacle() {
    let step = small();
    let collection = &RESULT[..RESULT.rfind('/').unwrap()];
    step.server.put(collection, json!({"metadata": {"name": "wf-1", "labels": {"old": "x"}}}));
    let wait = step.wait("taskresult").spawn().unwrap();
    step.server.until("the announcement is a patch", |calls| calls.len() == 2);
    until("the announcement has arrived", || step.server.object(RESULT).unwrap()["metadata"]["resourceVersion"] != "2");
    step.server.remove(RESULT);
    assert_eq!(code(&run(step.main(&script(&step)))), 0);
    assert_eq!(code(&finish(wait)), 0);
    let (post, patch) = ("POST argo/workflowtaskresults", "PATCH workflowtaskresults/wf-1");
    assert_eq!(step.calls(), [post, patch, patch, post, patch]);
    let object = step.server.object(RESULT).unwrap();
    assert_eq!(object["outputs"]["result"], "out");
    assert_eq!(object["metadata"]["labels"][label::REPORT_OUTPUTS_COMPLETED], "true");
}

#[test]
fn a_step_with_nothing_to_tell_makes_no_call() {
    for sink in ["termination-message", "annotations", "taskresult", "auto"] {
        let step = Step::new(&json!({"container": {"image": "x"}}));
        let mut wait = step.wait(sink);
        let wait = wait.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "false").spawn().unwrap();
        assert_eq!(code(&run(step.pod.emissary("main", "echo"))), 0);
        let output = finish(wait);
        assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
        assert_eq!((step.calls(), step.pod.message()), (vec![], String::new()), "{sink}");
        assert!(!step.pod.paths.journal().exists());
    }
}

#[test]
fn progress_goes_with_the_results() {
    for (sink, early) in [("annotations", true), ("taskresult", true), ("auto", true), ("termination-message", false)] {
        let step = Step::new(&json!({"container": {"image": "x"}}));
        let file = step.pod.paths.shared.join("progress");
        let mut wait = step.wait(sink);
        wait.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "false").env("ARGO_PROGRESS_FILE", &file);
        let wait = wait.spawn().unwrap();
        let script = format!("echo 1/2 > {0}; read x < {1}; echo 2/2 > {0}", file.display(), step.pod.at("go"));
        fs::create_dir_all(step.pod.root().join("own")).unwrap();
        nix::unistd::mkfifo(&*step.pod.root().join("own/go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let main = step.pod.emissary("main", &script).spawn().unwrap();
        if early {
            step.server.until("progress while main runs", |calls| {
                calls.iter().any(|call| call.body.to_string().contains("1/2"))
            });
        }
        fs::write(step.pod.at("go"), "\n").unwrap();
        assert_eq!(code(&finish(main)), 0);
        assert_eq!(code(&finish(wait)), 0);
        let progress = match sink {
            "taskresult" => step.server.object(RESULT).unwrap()["progress"].as_str().unwrap().to_owned(),
            "termination-message" => step.told().result.unwrap().progress,
            _ => step.annotated().progress,
        };
        assert_eq!(progress, "2/2", "{sink}");
    }
}

#[test]
fn progress_is_told_no_more_often_than_its_tick() {
    let step = Step::new(&json!({"container": {"image": "x"}}));
    let file = step.pod.paths.shared.join("progress");
    let mut wait = step.wait("annotations");
    wait.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "false").env("ARGO_PROGRESS_FILE", &file);
    let wait = wait.env("ARGO_PROGRESS_PATCH_TICK_DURATION", "1h").spawn().unwrap();
    until("wait watches", || step.pod.file("main", "").exists());
    fs::write(&file, "1/3").unwrap();
    step.server.until("progress while main runs", |calls| calls.len() == 1);
    assert_eq!(code(&run(step.pod.emissary("main", &format!("echo 2/3 > {}", file.display())))), 0);
    assert_eq!(code(&finish(wait)), 0);
    assert_eq!(step.calls(), ["PATCH pods/wf-step", "PATCH pods/wf-step"], "the last one goes with the results");
    assert_eq!(step.annotated().progress, "2/3");
}

/// Text that no compression makes small.
fn noise(length: usize) -> String {
    format!("head -c {length} /dev/urandom | od -An -tx1 -v | tr -d ' \\n' | head -c {length}")
}

#[test]
fn what_does_not_fit_takes_the_next_way() {
    for (length, way) in [(1_000, "message"), (100_000, "annotations"), (300_000, "repository")] {
        let (step, store) = (Step::new(&json!({})), Store::start());
        let template = json!({"container": {"image": "x"}, "archiveLocation": store.location(&step.pod, false)});
        fs::write(step.pod.paths.template(), template.to_string()).unwrap();
        assert_eq!(code(&run(step.main(&noise(length)))), 0);
        let output = run(step.wait("auto"));
        assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
        let printed = step.pod.read("main", "stdout").unwrap();
        let result = match way {
            "message" => step.told().result.unwrap(),
            "annotations" => step.annotated(),
            _ => restored(&store, step.told().result.unwrap()),
        };
        assert_eq!(result.outputs.unwrap().result.unwrap().len(), printed.len());
        assert_eq!(step.pod.message().is_empty(), way == "annotations", "{way}");
        assert_eq!(step.calls().len(), usize::from(way == "annotations"));
    }
}

#[test]
fn a_pod_of_many_containers_leaves_less_room_for_a_message() {
    for (bytes, in_message) in [("4096", true), ("300", false)] {
        let step = Step::new(&json!({"container": {"image": "x"}}));
        assert_eq!(code(&run(step.main(&noise(1_000)))), 0);
        let mut wait = step.wait("auto");
        wait.env("TIPHYS_TERMINATION_MESSAGE_BYTES", bytes);
        assert_eq!(code(&run(wait)), 0);
        let result = if in_message { step.told().result.unwrap() } else { step.annotated() };
        assert_eq!(result.outputs.unwrap().result, step.pod.read("main", "stdout"));
        assert_eq!(step.pod.message().is_empty(), !in_message);
    }
}

#[test]
fn a_resource_and_its_log_are_reported_together() {
    for sink in ["annotations", "taskresult", "auto"] {
        let (step, store) = (Step::new(&json!({})), Store::start());
        let template = json!({"name": "t", "archiveLocation": store.location(&step.pod, true),
            "resource": {"action": "get", "flags": ["pod", "other"]},
            "outputs": {"parameters": [{"name": "p", "valueFrom": {"jsonPath": "{.metadata.name}"}}]}});
        fs::write(step.pod.paths.template(), template.to_string()).unwrap();
        let other = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"}});
        step.server.put(&POD[..POD.rfind('/').unwrap()], other);
        let mut waiting = step.wait(sink);
        let waiting = waiting.env("ARGO_INCLUDE_SCRIPT_OUTPUT", "false").spawn().unwrap();
        // What `main` runs, then its emissary's part.
        let mut resource = step.pod.executor(&["resource", "get", "--kubeconfig"]);
        resource.arg(step.pod.root().join("kubeconfig"));
        for (name, value) in step.wait(sink).get_envs() {
            value.map(|value| resource.env(name, value));
        }
        let output = run(resource);
        assert_eq!(code(&output), 0, "{sink}: {}", text(&output.stderr));
        assert_eq!(code(&run(step.main("echo logged"))), 0);
        assert_eq!(code(&finish(waiting)), 0);
        let result = match sink {
            "taskresult" => {
                let ends =
                    |call: &apiserver::Call| call.body["metadata"]["labels"][label::REPORT_OUTPUTS_COMPLETED] == "true";
                let calls = step.server.calls();
                assert_eq!(calls.iter().position(ends), Some(calls.len() - 1), "{:?}", step.calls());
                TaskResult::from_json(step.server.object(RESULT).unwrap().to_string().as_bytes()).unwrap()
            }
            "annotations" => step.annotated(),
            _ => step.told().result.unwrap(),
        };
        let outputs = result.outputs.unwrap();
        assert_eq!(
            outputs.parameters[0].value.as_ref().map(|value| value.as_str().to_owned()),
            Some("other".to_owned())
        );
        assert_eq!(outputs.artifacts.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["main-logs"], "{sink}");
    }
}

/// The results that a reference names, read as a controller would.
fn restored(store: &Store, told: TaskResult) -> TaskResult {
    let offloaded = told.offloaded.clone().unwrap();
    let key = offloaded.artifact.s3.as_ref().unwrap().key.clone();
    assert_eq!(key, format!("wf/pod/outputs-{}.json", offloaded.sha256));
    offloaded.restore(&told, &store.object(&key).unwrap()).unwrap()
}

#[test]
fn without_calls_what_does_not_fit_is_stored_too() {
    let (step, store) = (Step::new(&json!({})), Store::start());
    let template = json!({"container": {"image": "x"}, "archiveLocation": store.location(&step.pod, false)});
    fs::write(step.pod.paths.template(), template.to_string()).unwrap();
    assert_eq!(code(&run(step.main(&noise(50_000)))), 0);
    assert_eq!(code(&run(step.wait("termination-message"))), 0);
    let result = restored(&store, step.told().result.unwrap());
    assert_eq!(result.outputs.unwrap().result, step.pod.read("main", "stdout"));
    assert_eq!(step.calls(), [""; 0]);
}

#[test]
fn what_cannot_be_stored_fails_and_is_not_cut() {
    let step = Step::new(&json!({"container": {"image": "x"}}));
    assert_eq!(code(&run(step.main(&noise(50_000)))), 0);
    assert_eq!(code(&run(step.wait("termination-message"))), 64);
    let message = step.pod.message();
    assert!(message.starts_with("the results have 500"), "{message}");
    assert!(message.ends_with("the template has none: configure an artifact repository"), "{message}");
}

#[test]
fn without_the_right_to_annotate_what_does_not_fit_is_stored() {
    let (step, store) = (Step::new(&json!({})), Store::start());
    let template = json!({"container": {"image": "x"}, "archiveLocation": store.location(&step.pod, false)});
    fs::write(step.pod.paths.template(), template.to_string()).unwrap();
    step.server.plan(|_, _| Fate::Refuse(403, "Forbidden", "pods \"wf-step\" is forbidden"));
    assert_eq!(code(&run(step.main(&noise(100_000)))), 0);
    let output = run(step.wait("auto"));
    assert_eq!(code(&output), 0);
    assert!(text(&output.stderr).contains("is forbidden (HTTP 403, Forbidden); the results are stored instead"));
    let result = restored(&store, step.told().result.unwrap());
    assert_eq!(result.outputs.unwrap().result, step.pod.read("main", "stdout"));
}

#[test]
fn annotations_that_the_server_finds_too_long_are_stored() {
    let (step, store) = (Step::new(&json!({})), Store::start());
    let template = json!({"container": {"image": "x"}, "archiveLocation": store.location(&step.pod, false)});
    fs::write(step.pod.paths.template(), template.to_string()).unwrap();
    step.server.plan(|number, _| match number {
        0 => Fate::Refuse(422, "Invalid", "metadata.annotations: Too long: may not be more than 262144 bytes"),
        _ => Fate::Pass,
    });
    assert_eq!(code(&run(step.main(&noise(100_000)))), 0);
    assert_eq!(code(&run(step.wait("annotations"))), 0);
    let result = restored(&store, step.annotated());
    assert_eq!(result.outputs.unwrap().result, step.pod.read("main", "stdout"));
}

#[test]
fn only_argos_way_keeps_the_end_of_a_long_result() {
    let whole = 300_000;
    for (sink, keep, expected, warned) in [
        ("taskresult", None, 262_144, true),
        ("taskresult", Some("false"), whole, false),
        ("file", None, whole, false),
        ("file", Some("true"), 262_144, true),
    ] {
        let step = Step::new(&json!({"container": {"image": "x"}}));
        let file = step.pod.root().join("result.json");
        let sink = if sink == "file" { format!("file:{}", file.display()) } else { sink.to_owned() };
        assert_eq!(code(&run(step.main(&noise(whole)))), 0);
        let mut wait = step.wait(&sink);
        if let Some(keep) = keep {
            wait.env("TIPHYS_RESULT_KEEP_LAST_256K", keep);
        }
        let output = run(wait);
        assert_eq!(code(&output), 0);
        let body = match sink.as_str() {
            "taskresult" => step.server.object(RESULT).unwrap(),
            _ => serde_json::from_slice(&fs::read(&file).unwrap()).unwrap(),
        };
        assert_eq!(body["outputs"]["result"].as_str().unwrap().len(), expected, "{sink} {keep:?}");
        let warning = "the output of container main has 300000 bytes, of which outputs.result has only the last 262144";
        match sink.as_str() {
            "taskresult" => {
                assert_eq!(text(&output.stderr).contains(warning), warned);
                assert!(body.get("warnings").is_none(), "Argo's controller knows no warnings");
            }
            _ => assert_eq!(body.get("warnings").is_some_and(|warnings| *warnings == json!([warning])), warned),
        }
    }
}

#[test]
fn results_and_what_failed_come_together() {
    let step = Step::new(&json!({"container": {"image": "x"},
        "outputs": {"parameters": [{"name": "p", "valueFrom": {"path": "/no/such"}}]}}));
    assert_eq!(code(&run(step.main("echo out; exit 3"))), 3);
    let output = run(step.wait("auto"));
    let failure = "output parameter \"p\": cannot read /no/such of container main: no such file or directory";
    assert_eq!((code(&output), text(&output.stderr)), (64, format!("Error: {failure}\n")));
    let Told { message, result } = step.told();
    let result = result.unwrap();
    assert_eq!((message.as_str(), result.outputs.unwrap().result.as_deref()), (failure, Some("out")));
    let ends: Vec<_> = result.ends.iter().map(|ended| (ended.name.as_str(), ended.exit_code, ended.cause)).collect();
    assert_eq!(ends, [("main", 3, Cause::Exit)]);
}

#[test]
fn rights_that_are_missing_are_told() {
    let step = small();
    step.server.plan(|_, _| {
        Fate::Refuse(403, "Forbidden", "workflowtaskresults.argoproj.io is forbidden: User \"x\" cannot create")
    });
    assert_eq!(code(&run(step.main(&script(&step)))), 0);
    let output = run(step.wait("taskresult"));
    assert_eq!(code(&output), 64);
    assert_eq!(
        step.pod.message(),
        "cannot create workflowtaskresults.argoproj.io/wf-1: workflowtaskresults.argoproj.io is forbidden: User \"x\" cannot \
         create (HTTP 403, Forbidden)"
    );
}

#[test]
fn where_there_is_no_way_nothing_begins() {
    let step = small();
    for (sink, expected) in [
        (
            "",
            "no destination for results: the Pod has no access to the Kubernetes API, so set TIPHYS_RESULT_SINK to \
             termination-message or file:<absolute path>",
        ),
        (
            "annotations",
            "TIPHYS_RESULT_SINK is \"annotations\", but the Pod has no access to the Kubernetes API: give it a service \
             account with a token, or use termination-message",
        ),
    ] {
        let mut wait = step.pod.executor(&["wait"]);
        wait.env("TIPHYS_RESULT_SINK", sink);
        assert_eq!((code(&run(wait)), step.pod.message().as_str()), (64, expected));
    }
}

#[test]
fn a_service_account_is_enough() {
    let step = small();
    let folder = &step.pod.paths.service_account;
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("token"), "t").unwrap();
    fs::write(folder.join("namespace"), "argo").unwrap();
    assert_eq!(code(&run(step.main(&script(&step)))), 0);
    // The flag stands in for the server's certificate: Kubernetes serves its API with TLS only.
    let mut wait = step.pod.executor(&["wait", "--server", &step.server.url()]);
    let variables = BTreeMap::from([
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("ARGO_NODE_ID", "wf-1"),
        ("ARGO_WORKFLOW_NAME", "wf"),
        ("ARGO_WORKFLOW_UID", "uid"),
    ]);
    wait.envs(variables);
    assert_eq!(code(&run(wait)), 0);
    assert!(step.server.object(RESULT).is_some());
    assert!(step.server.calls().iter().all(|call| call.headers["authorization"] == "Bearer t"));
}

//! Workflows on a cluster, with an API server on loopback that fails as a test asks: what is sent, what others write
//! meanwhile, watches that break off.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

#[path = "../../executor/tests/apiserver/mod.rs"]
mod apiserver;
#[path = "common/cluster.rs"]
mod cluster;
mod common;

use apiserver::Fate;
use cluster::{Cluster, WORKFLOWS, pauses};
use common::{finish, manifest};
use serde_json::{Value, json};

const SPEC: &str = "
spec:
  entrypoint: main
  templates:
  - name: main
    container: {image: none, command: ['true']}
";

#[test]
fn orders_are_what_argo_writes() {
    let cluster = Cluster::new();
    cluster.put("w", json!({}), pauses());
    for (args, patch) in [
        (&["suspend", "w"][..], json!({"suspend": true})),
        (&["stop", "w"], json!({"shutdown": "Stop"})),
        (&["terminate", "@latest"], json!({"shutdown": "Terminate"})),
    ] {
        let version = cluster.workflow("w")["metadata"]["resourceVersion"].clone();
        let output = cluster.run(args, "");
        assert_eq!(output.code, 0, "{args:?}: {output:?}");
        let expected = json!({"metadata": {"resourceVersion": version}, "spec": patch});
        assert_eq!(cluster.sent("PATCH").last(), Some(&expected), "{args:?}");
    }
    // What is so already is not written again; what is over takes no orders.
    assert_eq!(cluster.run(&["terminate", "w"], "").code, 0);
    assert_eq!(cluster.sent("PATCH").len(), 3);
    cluster.put("w", json!({}), json!({"phase": "Succeeded"}));
    let output = cluster.run(&["stop", "w"], "");
    assert_eq!(
        (output.code, output.err.as_str()),
        (1, "tiphys: the workflow w is over (Succeeded), so it cannot be stopped\n")
    );
}

#[test]
fn a_change_is_made_again_where_others_write() {
    let cluster = Cluster::new();
    cluster.put("w", json!({"suspend": true}), pauses());
    cluster.server.plan(|number, call| match (number, call.method.as_str()) {
        (0..=3, "PATCH") => Fate::Refuse(409, "Conflict", "the object has been modified"),
        _ => Fate::Pass,
    });
    let output = cluster.run(&["resume", "w"], "");
    assert_eq!(output.code, 0, "{output:?}");
    let calls: Vec<String> = cluster.server.calls().iter().map(|call| call.method.clone()).collect();
    assert_eq!(calls, ["GET", "PATCH", "GET", "PATCH", "GET", "PATCH"]);
    let workflow = cluster.workflow("w");
    assert_eq!(workflow["spec"], json!({}));
    let node = &workflow["status"]["nodes"]["w-1"];
    assert_eq!((&node["phase"], &node["displayName"]), (&json!("Succeeded"), &json!("ask")));
    assert_eq!(node["outputs"]["parameters"], json!([{"name": "p", "value": "d"}]));
    assert_eq!(workflow["status"]["nodes"]["w-2"], pauses()["nodes"]["w-2"]);
}

#[test]
fn compressed_nodes_are_read_and_changed() {
    let cluster = Cluster::new();
    let nodes: tiphys_api::Nodes = serde_json::from_value(pauses()["nodes"].clone()).unwrap();
    let packed = tiphys_nodes::pack(&serde_json::to_vec(&nodes).expect("JSON"));
    cluster.put("w", json!({}), json!({"phase": "Running", "compressedNodes": packed}));
    let args = ["node", "set", "w", "--node-field-selector", "displayName=ask", "-p", "p=v", "--phase", "Succeeded"];
    let output = cluster.run(&args, "");
    assert_eq!((output.code, output.out.as_str()), (0, "workflow w set\n"), "{output:?}");
    let status = cluster.workflow("w")["status"].clone();
    assert_eq!(status.get("nodes"), None);
    assert_ne!(status["compressedNodes"], packed);
    let shown: Value = serde_json::from_str(&cluster.run(&["get", "w", "-o", "json"], "").out).unwrap();
    assert_eq!(shown["status"]["nodes"]["w-1"]["outputs"]["parameters"], json!([{"name": "p", "value": "v"}]));
}

#[test]
fn a_retry_opens_the_workflow_and_deletes_pods() {
    let cluster = Cluster::new();
    let status = json!({"phase": "Failed", "message": "m", "finishedAt": "2026-01-01T00:00:00Z", "nodes": {
        "w": {"id": "w", "name": "w", "displayName": "w", "type": "Steps", "phase": "Failed", "children": ["w-g"]},
        "w-g": {"id": "w-g", "name": "w[0]", "displayName": "[0]", "type": "StepGroup", "phase": "Failed", "boundaryID": "w",
            "children": ["w-1"]},
        "w-1": {"id": "w-1", "name": "w[0].a", "displayName": "a", "type": "Pod", "templateName": "t", "phase": "Failed",
            "boundaryID": "w"},
    }});
    cluster.put("w", json!({"entrypoint": "t", "shutdown": "Stop"}), status);
    // Somebody writes between the reading and the writing.
    cluster.server.plan(|number, call| match (number, call.method.as_str()) {
        (0..=3, "PUT") => Fate::Refuse(409, "Conflict", "the object has been modified"),
        _ => Fate::Pass,
    });
    let output = cluster.run(&["retry", "w"], "");
    assert_eq!((output.code, output.out.as_str()), (0, "w retried in namespace ns\n"), "{output:?}");
    let workflow = cluster.workflow("w");
    assert_eq!(workflow["metadata"]["labels"], json!({"workflows.argoproj.io/phase": "Failed"}));
    assert_eq!((&workflow["spec"], workflow["status"].get("phase")), (&json!({"entrypoint": "t"}), None));
    let nodes: Vec<&String> = workflow["status"]["nodes"].as_object().unwrap().keys().collect();
    assert_eq!(nodes, ["w", "w-g"]);
    let deleted = cluster.server.lines().into_iter().find(|line| line.starts_with("DELETE"));
    assert!(
        deleted.is_some_and(|line| line.starts_with("DELETE /api/v1/namespaces/ns/pods/w-t-")),
        "{:?}",
        cluster.server.lines()
    );
    let output = cluster.run(&["retry", "w"], "");
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.err.starts_with("tiphys: w: Cannot retry a workflow in phase"), "{output:?}");
}

#[test]
fn a_list_comes_in_pages() {
    let cluster = Cluster::new();
    for number in 0..5 {
        cluster.put(
            &format!("w{number}"),
            json!({}),
            json!({"phase": "Succeeded", "finishedAt": format!("2026-01-01T00:00:0{number}Z")}),
        );
    }
    cluster.put("runs", json!({}), json!({"phase": "Running"}));
    let output = cluster.run(&["list", "--chunk-size", "2", "-o", "name", "--limit", "3"], "");
    assert_eq!((output.code, output.out.as_str()), (0, "runs\nw4\nw3\n"), "{output:?}");
    assert_eq!(cluster.server.calls().len(), 3);
    let output = cluster.run(&["list", "--running", "--no-headers"], "");
    assert!(output.out.starts_with("runs   Running"), "{output:?}");
    let output = cluster.run(&["delete", "--completed", "--prefix", "w"], "");
    assert_eq!(output.out.lines().count(), 5, "{output:?}");
    assert_eq!(cluster.run(&["list", "-o", "name"], "").out, "runs\n");
}

#[test]
fn waiting_survives_broken_watches() {
    let cluster = Cluster::new();
    cluster.put("w", json!({}), json!({"phase": "Running"}));
    let waits = cluster.start(&["wait", "w"], "");
    let watches = |calls: &[apiserver::Call]| calls.iter().filter(|call| call.query.contains_key("watch")).count();
    cluster.server.until("a watch", |calls| watches(calls) == 1);
    cluster.server.close_watches();
    cluster.server.until("another watch", |calls| watches(calls) == 2);
    // What has happened since is forgotten: it lists again.
    cluster.server.forget();
    cluster.server.close_watches();
    let is_watch = |call: Option<&apiserver::Call>| call.is_some_and(|call| call.query.contains_key("watch"));
    let listed_again = |calls: &[apiserver::Call]| calls.len() - watches(calls) == 2 && is_watch(calls.last());
    cluster.server.until("a watch after another list", listed_again);
    cluster.put("w", json!({}), json!({"phase": "Failed", "finishedAt": "2026-01-01T00:00:00Z"}));
    let output = finish(waits);
    assert_eq!((output.code, output.out.as_str()), (1, "w Failed at 2026-01-01T00:00:00Z\n"), "{output:?}");
    // One that is deleted is not waited for for ever.
    cluster.put("x", json!({}), json!({"phase": "Running"}));
    let waits = cluster.start(&["wait", "x"], "");
    let watched = |call: &apiserver::Call| call.query.get("fieldSelector").is_some_and(|field| field.ends_with("=x"));
    cluster.server.until("a watch", |calls| is_watch(calls.last()) && calls.last().is_some_and(watched));
    cluster.server.remove(&format!("{WORKFLOWS}/x"));
    let output = finish(waits);
    assert_eq!((output.code, output.err.as_str()), (1, "tiphys: the workflow x was deleted before it was over\n"));
}

#[test]
fn what_is_not_allowed_is_not_tried_for_ever() {
    let cluster = Cluster::new();
    cluster.put("w", json!({}), json!({"phase": "Running"}));
    cluster.server.plan(|_, _| Fate::Refuse(403, "Forbidden", "workflows is forbidden: user test cannot watch"));
    for args in [&["watch", "w"][..], &["wait", "w"], &["logs", "-f", "w"], &["get", "w"], &["list"]] {
        let output = cluster.run(args, "");
        assert_eq!(output.code, 1, "{args:?}: {output:?}");
        assert!(
            output.err.ends_with("tiphys: workflows is forbidden: user test cannot watch\n"),
            "{args:?}: {output:?}"
        );
    }
}

#[test]
fn a_workflow_is_made_once() {
    let cluster = Cluster::new();
    let text = manifest("w", SPEC);
    // The server is busy: it did nothing, and is asked again.
    cluster.server.plan(|number, _| if number == 0 { Fate::Later(0) } else { Fate::Pass });
    let args = ["submit", "-", "-l", "team=a", "--instanceid", "i", "-o", "name"];
    let output = cluster.run(&args, &text);
    assert_eq!(output.code, 0, "{output:?}");
    let workflow = cluster.workflow(output.out.trim());
    assert_eq!(
        workflow["metadata"]["labels"],
        json!({"team": "a", "workflows.argoproj.io/controller-instanceid": "i"})
    );
    assert_eq!(cluster.sent("POST").len(), 2);
    // The answer is lost: it may have been made, and is not made twice.
    cluster.server.plan(|_, _| Fate::LoseAnswer);
    assert_eq!(cluster.run(&args, &text).code, 1);
    assert_eq!(cluster.sent("POST").len(), 3);
    // What cannot run is not sent at all.
    cluster.server.plan(|_, _| Fate::Pass);
    let output = cluster.run(&["submit", "-"], &text.replace("entrypoint: main", "entrypoint: other"));
    assert_eq!(output.code, 2, "{output:?}");
    let output = cluster.run(&["submit", "-", "-n", "other", "--dry-run", "-o", "yaml"], &text);
    assert!(output.out.contains("namespace: other"), "{output:?}");
    assert_eq!(cluster.sent("POST").len(), 3);
}

#[test]
fn templates_are_found_on_the_cluster() {
    let cluster = Cluster::new();
    let template = json!({"kind": "WorkflowTemplate", "metadata": {"name": "t", "namespace": "ns"}, "spec": {"entrypoint": "a",
        "workflowMetadata": {"labels": {"l": "1"}}, "templates": [{"name": "a", "container": {"image": "i", "command": ["c"]}}]}});
    cluster.server.put("/apis/argoproj.io/v1alpha1/namespaces/ns/workflowtemplates", template);
    let referring = |name: &str| {
        manifest(
            "w",
            &format!(
                "spec:\n  entrypoint: m\n  templates:\n  - {{name: m, steps: [[{{name: s, templateRef: {{name: {name}, template: a}}}}]]}}"
            ),
        )
    };
    let output = cluster.run(&["submit", "-"], &referring("t"));
    assert_eq!(output.code, 0, "{output:?}");
    let output = cluster.run(&["submit", "-"], &referring("u"));
    assert_eq!(output.code, 2, "{output:?}");
    // Without a flag that names a cluster, lint asks none.
    assert_eq!(cluster.run(&["lint", "-"], &referring("t")).code, 2);
    assert_eq!(cluster.run(&["lint", "-n", "ns", "-"], &referring("t")).code, 0);
    let output = cluster.run(&["submit", "--from", "wftmpl/t", "--entrypoint", "a", "-o", "json"], "");
    let made: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(made["spec"], json!({"entrypoint": "a", "workflowTemplateRef": {"name": "t"}}));
    assert_eq!(made["metadata"]["labels"], json!({"l": "1", "workflows.argoproj.io/workflow-template": "t"}));
    let cron = "kind: CronWorkflow\napiVersion: argoproj.io/v1alpha1\nmetadata: {name: c}\nspec: {schedules: ['@daily'], workflowSpec: {workflowTemplateRef: {name: t}}}";
    assert_eq!(cluster.run(&["cron", "create", "-"], cron).out, "cron workflow c created\n");
    let output = cluster.run(&["cron", "update", "-", "--schedule", "@hourly", "-o", "json"], cron);
    let cron: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(cron["spec"]["schedules"], json!(["@hourly"]));
}

#[test]
fn ctrl_c_leaves_the_workflow_alone() {
    let cluster = Cluster::new();
    cluster.put("w", json!({}), pauses());
    let watch = cluster.start(&["watch", "w"], "");
    cluster.server.until("a watch", |calls| calls.iter().any(|call| call.query.contains_key("watch")));
    let pid = nix::unistd::Pid::from_raw(watch.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = finish(watch);
    assert_eq!(
        (output.code, output.err.as_str()),
        (0, "tiphys: w goes on; tiphys watch w shows it again\n"),
        "{output:?}"
    );
    assert!(output.out.contains("w[0].ask  Running") && output.out.contains("workflow/w  Running"), "{output:?}");
    assert!(cluster.server.calls().iter().all(|call| call.method == "GET"));
}

#[test]
fn only_the_nodes_that_are_meant_are_watched() {
    let cluster = Cluster::new();
    let mut status = pauses();
    (status["phase"], status["finishedAt"]) = ("Succeeded".into(), "2026-01-01T00:00:00Z".into());
    cluster.put("w", json!({}), status);
    let output = cluster.run(&["watch", "w", "--status", "Succeeded"], "");
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.out.contains("w[0].other  Succeeded") && !output.out.contains("w[0].ask"), "{output:?}");
    let output = cluster.run(&["submit", "-", "--status", "Failed"], &manifest("w", SPEC));
    assert_eq!(output.code, 64, "{output:?}");
}

#[test]
fn somebody_else_is_asked_for() {
    let cluster = Cluster::new();
    cluster.put("w", json!({}), pauses());
    let args = ["get", "w", "--as", "alice", "--as-group", "a", "-o", "name"];
    assert_eq!(cluster.run(&args, "").out, "w\n");
    let call = cluster.server.calls().pop().unwrap();
    let header = |name: &str| call.headers.get(name).cloned().unwrap_or_default();
    assert_eq!((header("impersonate-user"), header("impersonate-group")), ("alice".to_owned(), "a".to_owned()));
}

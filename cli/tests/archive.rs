//! The archive, in a file of SQLite: with a cluster whose controller's ConfigMap names it, and without any.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

#[path = "../../executor/tests/apiserver/mod.rs"]
mod apiserver;
#[path = "common/cluster.rs"]
mod cluster;
mod common;
#[path = "common/database.rs"]
mod database;

use apiserver::Fate;
use cluster::{Cluster, WORKFLOWS};
use common::{Tiphys, finish};
use database::SqliteFile;
use serde_json::{Value, json};
use tiphys_api::Workflow;

/// UIDs of archived workflows.
const FAILED: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
const WENT_WELL: &str = "b1ffcd00-9c0b-4ef8-bb6d-6bb9bd380a22";
const OTHER: &str = "c2aade11-9c0b-4ef8-bb6d-6bb9bd380a33";

/// A workflow of two steps, of which the second failed or went well.
fn workflow(uid: &str, name: &str, namespace: &str, phase: &str) -> Workflow {
    let second = if phase == "Failed" { "Failed" } else { "Succeeded" };
    let steps = |name: &str, children: Value, phase: &str| json!({"id": name, "name": name, "displayName": name, "type": "Steps", "phase": phase, "children": children});
    let pod = |id: &str, display: &str, phase: &str| {
        json!({"id": id, "name": format!("{name}.{display}"), "displayName": display, "type": "Pod", "templateName": "t",
            "phase": phase, "boundaryID": name})
    };
    serde_json::from_value(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
        "metadata": {"uid": uid, "name": name, "namespace": namespace, "creationTimestamp": "2026-03-04T05:06:07Z",
            "resourceVersion": "7",
            "labels": {"team": "blue", "workflows.argoproj.io/phase": phase, "workflows.argoproj.io/completed": "true",
                "workflows.argoproj.io/workflow-archiving-status": "Archived"}},
        "spec": {"entrypoint": "t", "arguments": {"parameters": [{"name": "p", "value": "1"}]}},
        "status": {"phase": phase, "startedAt": "2026-03-04T05:06:08Z", "finishedAt": "2026-03-04T05:06:18Z", "progress": "1/2",
            "nodes": {
                name: steps(name, json!([format!("{name}-1"), format!("{name}-2")]), phase),
                format!("{name}-1"): pod(&format!("{name}-1"), "one", "Succeeded"),
                format!("{name}-2"): pod(&format!("{name}-2"), "two", second),
            }},
    }))
    .unwrap()
}

fn filled() -> SqliteFile {
    let file = SqliteFile::new();
    file.with(async |database| {
        for one in [
            workflow(FAILED, "w", "ns", "Failed"),
            workflow(WENT_WELL, "v", "ns", "Succeeded"),
            workflow(OTHER, "w", "other", "Succeeded"),
        ] {
            file.archive(database).archive(&one).await.unwrap();
        }
    });
    file
}

/// A cluster whose controller has the archive.
fn with_cluster(file: &SqliteFile) -> Cluster {
    let cluster = Cluster::new();
    cluster.configure("argo", &format!("archive: true\n{}", file.persistence()));
    cluster
}

#[test]
fn the_archive_is_listed_and_shown() {
    let file = filled();
    let cluster = with_cluster(&file);
    let output = cluster.run(&["archive", "list"], "");
    let lines: Vec<Vec<&str>> = output.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[0].join(" "),
        "NAMESPACE NAME STATUS AGE DURATION PROGRESS PRIORITY MESSAGE PARAMETERS UID",
        "{output:?}"
    );
    // The age depends on when this runs.
    let told = |line: &[&str]| [&line[..3], &line[4..]].concat().join(" ");
    let mut rest: Vec<String> = lines[1..].iter().map(|line| told(line)).collect();
    rest.sort();
    assert_eq!(
        rest,
        [format!("ns v Succeeded 10s 1/2 0 p=1 {WENT_WELL}"), format!("ns w Failed 10s 1/2 0 p=1 {FAILED}")]
    );
    for (args, expected) in [
        (&["-A", "-o", "name"][..], 3),
        (&["-n", "other", "-o", "name"], 1),
        (&["-l", "team=blue", "-o", "name", "--chunk-size", "1"], 2),
        (&["-l", "team!=blue", "-o", "name"], 0),
    ] {
        let output = cluster.run(&[&["archive", "list"], args].concat(), "");
        assert_eq!((output.code, output.out.lines().count()), (0, expected), "{args:?}: {output:?}");
    }
    let output = cluster.run(&["archive", "list", "-n", "other", "-o", "json"], "");
    let list: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]["metadata"]["uid"]), (&json!("List"), &json!(OTHER)));
    let output = cluster.run(&["archive", "get", "w"], "");
    assert!(output.out.contains("└─ ✖ two") && output.out.contains("w  Failed in 10s"), "{output:?}");
    let output = cluster.run(&["archive", "get", OTHER, "-o", "json"], "");
    let shown: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(shown["metadata"]["namespace"], "other");
    assert_eq!(shown["metadata"]["labels"]["workflows.argoproj.io/workflow-archiving-status"], "Persisted");
    let output = cluster.run(&["archive", "get", OTHER, "--name"], "");
    assert_eq!((output.code, output.err), (1, format!("tiphys: archived workflow '{OTHER}' not found\n")));
    assert_eq!(
        cluster.run(&["archive", "list-label-keys"], "").out,
        "team\nworkflows.argoproj.io/completed\nworkflows.argoproj.io/phase\nworkflows.argoproj.io/workflow-archiving-status\n"
    );
    let values = cluster.run(&["archive", "list-label-values", "-l", "workflows.argoproj.io/phase"], "");
    assert_eq!(values.out, "Failed\nSucceeded\n", "{values:?}");
    let values = cluster.run(&["archive", "list-label-values", "-l", "a=b"], "");
    assert_eq!(values.code, 64, "{values:?}");
}

#[test]
fn no_cluster_is_needed_to_ask_a_database() {
    let file = filled();
    let tiphys = Tiphys::new();
    let address = format!("sqlite:{}", file.path().display());
    let output = tiphys.run(&["archive", "list", "--archive", &address, "-o", "name"], "");
    assert_eq!((output.code, output.out.lines().count()), (0, 3), "{output:?}");
    let mut command = tiphys.command(&["archive", "delete", "w", "-n", "ns"]);
    command.env("TIPHYS_ARCHIVE", &address);
    let output = finish(common::feed(command, ""));
    assert_eq!((output.code, output.out.as_str()), (0, "Archived workflow 'w' deleted\n"), "{output:?}");
    let output = tiphys.run(&["archive", "list", "--archive", &address, "-o", "name", "-n", "ns"], "");
    assert_eq!(output.out, "v\n");
    // A name that several have is none.
    file.with(async |database| {
        let again = workflow("d3bbef22-9c0b-4ef8-bb6d-6bb9bd380a44", "v", "ns", "Failed");
        file.archive(database).archive(&again).await.unwrap();
    });
    let output = tiphys.run(&["archive", "get", "v", "--archive", &address], "");
    assert_eq!(output.code, 1, "{output:?}");
    let lines: Vec<&str> = output.err.lines().collect();
    assert_eq!(lines[0], "tiphys: Multiple archived workflows found with name 'v':");
    assert!(
        lines[1].starts_with(&format!("  {WENT_WELL} (Created: ")) && lines[3] == "Please specify the UID.",
        "{lines:?}"
    );
    let output = tiphys.run(&["archive", "retry", OTHER, "--archive", &address], "");
    assert_eq!(
        (output.code, output.err.as_str()),
        (64, "tiphys: there is no cluster to run it on: name one with --kubeconfig or --context\n")
    );
    // A clusterName of its own has an archive of its own.
    let other = format!("{address}?clusterName=other");
    assert_eq!(tiphys.run(&["archive", "list", "--archive", &other], "").out, "no workflows found\n");
    let output = tiphys.run(&["archive", "list", "--archive", "postgres://u:hidden@h/d"], "");
    assert_eq!(output.code, 64, "{output:?}");
    assert!(output.err.contains("TIPHYS_ARCHIVE_PASSWORD") && !output.err.contains("hidden"), "{output:?}");
    let output = tiphys.run(&["archive", "list", "--archive", "sqlite:/not/there.db"], "");
    assert!(output.code == 1 && output.err.contains("/not/there.db, which is not on this machine"), "{output:?}");
}

#[test]
fn an_archived_workflow_comes_back_to_be_retried() {
    let file = filled();
    let cluster = with_cluster(&file);
    let output = cluster.run(&["archive", "retry", "w", "-p", "p=2"], "");
    assert_eq!((output.code, output.out.as_str()), (0, "w retried in namespace ns\n"), "{output:?}");
    let workflow = cluster.workflow("w");
    let (metadata, status) = (&workflow["metadata"], &workflow["status"]);
    assert_eq!(metadata["labels"], json!({"team": "blue", "workflows.argoproj.io/phase": "Failed"}));
    assert_ne!(metadata["uid"], FAILED);
    assert_eq!(workflow["spec"]["arguments"]["parameters"][0]["value"], "2");
    let nodes: Vec<&String> = status["nodes"].as_object().unwrap().keys().collect();
    assert_eq!(nodes, ["w", "w-1"]);
    let deleted = cluster.server.lines().into_iter().find(|line| line.starts_with("DELETE"));
    assert!(deleted.is_some_and(|line| line.starts_with("DELETE /api/v1/namespaces/ns/pods/w-t-")));
    // What is there is retried where it is.
    let output = cluster.run(&["archive", "retry", FAILED], "");
    assert_eq!(
        (output.code, output.err.as_str()),
        (1, "tiphys: the workflow w is still in namespace ns: use tiphys retry w\n")
    );
    let output = cluster.run(&["archive", "retry", "v"], "");
    assert!(output.code == 1 && output.err.starts_with("tiphys: v: To retry a succeeded workflow"), "{output:?}");
}

#[test]
fn an_archived_workflow_is_submitted_once_more() {
    let file = filled();
    let cluster = with_cluster(&file);
    let args = ["archive", "resubmit", "w", "--memoized", "-p", "p=2", "--priority", "3", "-o", "name"];
    let output = cluster.run(&args, "");
    assert_eq!(output.code, 0, "{output:?}");
    let new = cluster.workflow(output.out.trim());
    assert_eq!(
        new["metadata"]["labels"],
        json!({"team": "blue", "workflows.argoproj.io/resubmitted-from-workflow": "w"})
    );
    assert_eq!(
        (&new["spec"]["priority"], &new["spec"]["arguments"]["parameters"][0]["value"]),
        (&json!(3), &json!("2"))
    );
    let taken = new["status"]["nodes"].as_object().unwrap();
    assert!(taken.values().any(|node| node["displayName"] == "one" && node["phase"] == "Skipped"), "{taken:?}");
    // Selected and named, each once; those of another namespace go back there.
    let args =
        ["archive", "resubmit", "-l", "team=blue", "--field-selector", "metadata.name=v", "v", OTHER, "-o", "name"];
    let output = cluster.run(&args, "");
    let names: Vec<&str> = output.out.lines().collect();
    assert_eq!((output.code, names.len()), (0, 2), "{output:?}");
    let elsewhere = WORKFLOWS.replace("/ns/", "/other/");
    assert!(names[0].starts_with("v-") && cluster.server.object(&format!("{elsewhere}/{}", names[1])).is_some());
}

#[test]
fn what_the_user_may_not_read_is_said() {
    let file = filled();
    let cluster = with_cluster(&file);
    cluster.server.plan(|_, call| match call.path.contains("/namespaces/argo/configmaps") {
        true => Fate::Refuse(403, "Forbidden", "configmaps is forbidden: user test cannot get"),
        false => Fate::Pass,
    });
    let output = cluster.run(&["archive", "list"], "");
    assert_eq!(
        (output.code, output.err.as_str()),
        (
            1,
            "tiphys: the ConfigMap argo/workflow-controller-configmap, which names the controller's database, cannot be read: \
             configmaps is forbidden: user test cannot get\n"
        )
    );
    // Another controller's, by name.
    cluster.configure("here", &file.persistence());
    let output = cluster.run(&["archive", "list", "--controller", "here", "-o", "name"], "");
    assert_eq!((output.code, output.out.lines().count()), (0, 2), "{output:?}");
    let output = cluster.run(&["archive", "list", "--controller", "here/other"], "");
    assert!(output.err.starts_with("tiphys: there is no ConfigMap here/other,"), "{output:?}");
}

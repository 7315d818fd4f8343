//! Workflows whose nodes are outside of the object: in the controller's database, or in the artifact repository. They are read,
//! and written back to where they were.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

#[path = "../../executor/tests/apiserver/mod.rs"]
mod apiserver;
#[path = "common/cluster.rs"]
mod cluster;
mod common;
#[path = "common/database.rs"]
mod database;

use apiserver::Fate;
use cluster::{Cluster, WORKFLOWS, pauses};
use common::finish;
use database::SqliteFile;
use serde_json::{Value, json};
use tiphys_api::{ArtifactLocation, Nodes};
use tiphys_archive::Version;
use tiphys_artifact::{Options, Secret};
use tiphys_nodes::{Form, Objects};
use tiphys_s3server::S3Server;

const SET: [&str; 8] =
    ["node", "set", "w", "--node-field-selector", "displayName=ask", "-p", "p=v", "--phase=Succeeded"];

fn nodes() -> Nodes {
    serde_json::from_value(pauses()["nodes"].clone()).unwrap()
}

/// The version that the object names.
fn version(cluster: &Cluster) -> String {
    let status = cluster.workflow("w")["status"].clone();
    assert!(status["nodes"].is_null() && status["compressedNodes"].is_null(), "{status}");
    status["offloadNodeStatusVersion"].as_str().unwrap().to_owned()
}

/// What `get` shows of a node.
fn shown(cluster: &Cluster, node: &str) -> Value {
    let output = cluster.run(&["get", "w", "-o", "json"], "");
    assert_eq!((output.code, output.err.as_str()), (0, ""), "{output:?}");
    let workflow: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(workflow["status"].get("offloadNodeStatusVersion"), None);
    workflow["status"]["nodes"][node].clone()
}

/// Shows, sets, resumes and retries the workflow `w`.
fn all_commands(cluster: &Cluster, outside: impl Fn(&str) -> Nodes) {
    let before = version(cluster);
    assert_eq!(shown(cluster, "w-1")["displayName"], "ask");
    let output = cluster.run(&SET, "");
    assert_eq!((output.code, output.out.as_str()), (0, "workflow w set\n"), "{output:?}");
    let after = version(cluster);
    assert_ne!(after, before);
    assert_eq!(serde_json::to_value(outside(&after)["w-1"].outputs.clone()).unwrap()["parameters"][0]["value"], "v");
    // Whoever has just read the object finds what it named.
    assert_eq!(outside(&before), nodes());
    let mut status = cluster.workflow("w")["status"].clone();
    (status["phase"], status["finishedAt"]) = ("Failed".into(), "2026-01-01T00:00:00Z".into());
    cluster.put("w", json!({"entrypoint": "t"}), status);
    let output = cluster.run(&["watch", "w"], "");
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.out.contains("w[0].ask  Succeeded"), "{output:?}");
    let output = cluster.run(&["retry", "w"], "");
    assert_eq!((output.code, output.out.as_str()), (0, "w retried in namespace ns\n"), "{output:?}");
    assert!(outside(&version(cluster)).contains_key("w-2"));
    assert_eq!(shown(cluster, "w-2")["displayName"], "other");
}

#[test]
fn nodes_are_in_the_database_that_the_configuration_names() {
    let cluster = Cluster::new();
    let file = SqliteFile::new();
    cluster.configure("argo", &format!("nodeStatusOffLoad: true\n{}", file.persistence()));
    let version = file.with(async |database| {
        let json = serde_json::to_string(&nodes()).unwrap();
        file.nodes(database).save("w", "ns", json).await.unwrap()
    });
    cluster.put("w", json!({}), json!({"phase": "Running", "offloadNodeStatusVersion": version.as_str()}));
    let outside = |version: &str| {
        let json =
            file.with(async |database| file.nodes(database).get("w", &Version::from(version)).await.unwrap().unwrap());
        tiphys_nodes::from_database(&json).unwrap()
    };
    all_commands(&cluster, outside);
    // What needs no nodes asks for none.
    let before = cluster.server.calls().len();
    assert_eq!(cluster.run(&["suspend", "w"], "").code, 0);
    assert!(cluster.server.lines()[before..].iter().all(|line| !line.contains("configmaps")));
}

#[test]
fn nodes_are_in_the_artifact_repository() {
    let cluster = Cluster::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = runtime.block_on(S3Server::start(folder.path(), &["artifacts"])).unwrap();
    let keys = [("access", server.access_key()), ("secret", server.secret_key().expose())];
    cluster.secret("ns", "keys", &keys);
    let location: ArtifactLocation = serde_json::from_value(json!({"s3": {
        "endpoint": server.endpoint(), "bucket": "artifacts", "insecure": true, "key": "{{workflow.name}}",
        "accessKeySecret": {"name": "keys", "key": "access"}, "secretKeySecret": {"name": "keys", "key": "secret"},
    }}))
    .unwrap();
    let keys = keys.map(|(key, value)| (key, value.to_owned()));
    let secrets =
        move |_: &str, wanted: &str| Ok(Secret::new(keys.iter().find(|(key, _)| *key == wanted).unwrap().1.as_str()));
    let objects = Objects::new(secrets, Options::default());
    let json = serde_json::to_vec(&nodes()).unwrap();
    let marker = runtime.block_on(objects.save(&location, "ns/w/w", &json)).unwrap();
    cluster.put("w", json!({}), json!({"phase": "Running", "offloadNodeStatusVersion": marker.version()}));
    let outside = |version: &str| {
        let status = json!({"status": {"offloadNodeStatusVersion": version}});
        let Form::Object(marker) = tiphys_nodes::form(&serde_json::from_value(status).unwrap()).unwrap() else {
            panic!()
        };
        assert!(marker.location().s3.as_ref().unwrap().key.starts_with("ns/w/w/nodes-"), "{marker:?}");
        runtime.block_on(objects.load(&marker)).unwrap()
    };
    all_commands(&cluster, outside);
}

#[test]
fn nodes_that_cannot_be_read_are_said_to_be() {
    let cluster = Cluster::new();
    cluster.put("w", json!({"suspend": true}), json!({"phase": "Running", "offloadNodeStatusVersion": "fnv:1"}));
    let expect = |words: &str| {
        let words = format!(
            "the nodes of w are kept in the controller's database (status.offloadNodeStatusVersion is fnv:1), and cannot be \
             read: {words}"
        );
        let output = cluster.run(&["get", "w"], "");
        assert_eq!(output.code, 0, "{output:?}");
        assert_eq!(output.err, format!("tiphys: warning: {words}\n"));
        let output = cluster.run(&SET, "");
        assert_eq!((output.code, output.err.as_str()), (1, format!("tiphys: {words}\n").as_str()));
    };
    expect(
        "there is no ConfigMap ns/workflow-controller-configmap or argo/workflow-controller-configmap, so that the controller's \
         database is not known: name the ConfigMap with --controller NAMESPACE/NAME, or the database with --archive",
    );
    cluster.configure("ns", "sqlite: {path: /not/there.db}");
    expect(
        "the database is the file /not/there.db, which is not on this machine: copy it from the controller's volume, and name \
         the copy with --archive sqlite:FILE",
    );
    let server =
        "postgresql: {host: h, database: d, userNameSecret: {name: s, key: u}, passwordSecret: {name: s, key: p}}";
    cluster.configure("ns", server);
    cluster.server.plan(|_, call| match call.path.contains("/secrets/") {
        true => Fate::Refuse(403, "Forbidden", "secrets \"s\" is forbidden: user test cannot get"),
        false => Fate::Pass,
    });
    expect(
        "the name and password for the controller's database: the Secret ns/s cannot be read: secrets \"s\" is forbidden: user \
         test cannot get",
    );
    // The workflow itself can be resumed all the same.
    assert_eq!(cluster.run(&["resume", "w"], "").code, 0);
    assert_eq!(cluster.workflow("w")["spec"], json!({}));
}

#[test]
fn waiting_reads_no_nodes() {
    let cluster = Cluster::new();
    cluster.put("w", json!({}), json!({"phase": "Running", "offloadNodeStatusVersion": "fnv:1"}));
    let waits = cluster.start(&["wait", "w"], "");
    cluster.server.until("a watch", |calls| calls.iter().any(|call| call.query.contains_key("watch")));
    let over = json!({"phase": "Succeeded", "offloadNodeStatusVersion": "fnv:2", "finishedAt": "2026-01-01T00:00:00Z"});
    cluster.put("w", json!({}), over);
    let output = finish(waits);
    assert_eq!((output.code, output.out.as_str()), (0, "w Succeeded at 2026-01-01T00:00:00Z\n"), "{output:?}");
    assert!(
        cluster.server.lines().iter().all(|line| line == &format!("GET {WORKFLOWS}")),
        "{:?}",
        cluster.server.lines()
    );
}

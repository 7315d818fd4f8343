//! Nodes go into an artifact repository and come back, by way of what the workflow says alone.

#![allow(clippy::unwrap_used)] // A failed set-up fails the test.

use std::collections::BTreeSet;

use serde_json::json;
use tiphys_api::{ArtifactLocation, Nodes, Workflow};
use tiphys_artifact::{Options, Secret};
use tiphys_nodes::{Error, Form, Objects, form, pack, secrets_of, unpack};
use tiphys_s3server::S3Server;

const BUCKET: &str = "artifacts";

fn nodes(count: usize) -> Nodes {
    let node = |number: usize| (format!("n{number}"), json!({"id": format!("n{number}"), "phase": "Succeeded"}));
    serde_json::from_value((0..count).map(node).collect()).unwrap()
}

#[tokio::test]
async fn nodes_come_back_from_where_the_workflow_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = S3Server::start(folder.path(), &[BUCKET]).await.unwrap();
    let location: ArtifactLocation = serde_json::from_value(json!({"archiveLogs": true, "s3": {
        "endpoint": server.endpoint(), "bucket": BUCKET, "insecure": true, "key": "base/{{workflow.name}}/{{pod.name}}",
        "accessKeySecret": {"name": "keys", "key": "access"}, "secretKeySecret": {"name": "keys", "key": "secret"},
    }}))
    .unwrap();
    let secret = |key: &str| ("keys".to_owned(), key.to_owned());
    assert_eq!(secrets_of(&location), BTreeSet::from([secret("access"), secret("secret")]));
    let (access, key) = (server.access_key().to_owned(), server.secret_key().expose().to_owned());
    let secrets = move |name: &str, wanted: &str| {
        assert_eq!(name, "keys");
        Ok(Secret::new(if wanted == "access" { access.clone() } else { key.clone() }))
    };
    let objects = Objects::new(secrets, Options::default());
    let whole = nodes(1000);
    let json = serde_json::to_vec(&whole).unwrap();
    let marker = objects.save(&location, "ns/w/uid", &json).await.unwrap();
    assert_eq!(objects.save(&location, "ns/w/uid", &json).await.unwrap(), marker);
    assert!(marker.location().s3.as_ref().unwrap().key.starts_with("base/ns/w/uid/nodes-"));

    let mut workflow = Workflow::default();
    workflow.status.offload_node_status_version = marker.version();
    let Form::Object(found) = form(&workflow).unwrap() else { panic!("{:?}", form(&workflow)) };
    assert_eq!(*found, marker);
    assert_eq!(objects.load(&found).await.unwrap(), whole);

    // Other nodes are another object; what was named before stays as it was.
    let other = objects.save(&location, "ns/w/uid", &serde_json::to_vec(&nodes(3)).unwrap()).await.unwrap();
    assert_ne!(other, marker);
    assert_eq!(objects.load(&marker).await.unwrap().len(), 1000);
    // Who knows nothing but the object finds the folder all the same.
    assert_eq!(objects.save_beside(&marker, &serde_json::to_vec(&nodes(3)).unwrap()).await.unwrap(), other);
    // What is not what was saved is not taken for it.
    let wrong = marker.version().replace("\"sha256\":\"", "\"sha256\":\"00");
    workflow.status.offload_node_status_version = wrong;
    let Form::Object(wrong) = form(&workflow).unwrap() else { panic!() };
    let error = objects.load(&wrong).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }) && !error.is_transient(), "{error}");
    objects.delete(&marker).await.unwrap();
    let error = objects.load(&marker).await.unwrap_err();
    assert!(matches!(&error, Error::Store(tiphys_artifact::Error::NotFound { .. })), "{error}");
}

#[test]
fn a_workflow_says_where_its_nodes_are() {
    let mut workflow = Workflow::default();
    assert_eq!(form(&workflow).unwrap(), Form::Whole);
    workflow.status.compressed_nodes = pack(&serde_json::to_vec(&nodes(2)).unwrap());
    assert_eq!(form(&workflow).unwrap(), Form::Compressed);
    unpack(&mut workflow).unwrap();
    assert_eq!((form(&workflow).unwrap(), workflow.status.nodes.len()), (Form::Whole, 2));
    workflow.status.offload_node_status_version = "fnv:1".into();
    assert_eq!(form(&workflow).unwrap(), Form::Database("fnv:1".into()));
    workflow.status.offload_node_status_version = "artifact:x".into();
    let words = form(&workflow).unwrap_err().to_string();
    assert!(words.starts_with("status.offloadNodeStatusVersion is damaged: "), "{words}");
}

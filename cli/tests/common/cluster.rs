//! A namespace `ns` of a cluster on loopback, and the program that knows it.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what a test cannot do without ends it")]

use std::process::Child;

use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::common::{Output, Tiphys, feed, finish};

/// The workflows of the namespace.
pub const WORKFLOWS: &str = "/apis/argoproj.io/v1alpha1/namespaces/ns/workflows";

/// A cluster, and the program that knows it.
pub struct Cluster {
    pub server: ApiServer,
    pub tiphys: Tiphys,
}

impl Cluster {
    pub fn new() -> Cluster {
        let (server, tiphys) = (ApiServer::start(), Tiphys::new());
        for kind in ["WorkflowTemplate", "CronWorkflow"] {
            server.know("argoproj.io/v1alpha1", &format!("{}s", kind.to_lowercase()), kind, true);
        }
        std::fs::write(tiphys.path().join("kubeconfig"), server.kubeconfig("ns")).unwrap();
        Cluster { server, tiphys }
    }

    pub fn start(&self, args: &[&str], stdin: &str) -> Child {
        let mut command = self.tiphys.command(args);
        command.env("KUBECONFIG", self.tiphys.path().join("kubeconfig"));
        feed(command, stdin)
    }

    pub fn run(&self, args: &[&str], stdin: &str) -> Output {
        finish(self.start(args, stdin))
    }

    pub fn put(&self, name: &str, spec: Value, status: Value) {
        let mut labels = json!({});
        if let Some(phase @ ("Succeeded" | "Failed")) = status["phase"].as_str() {
            labels = json!({"workflows.argoproj.io/completed": "true", "workflows.argoproj.io/phase": phase});
        }
        let metadata = json!({"name": name, "namespace": "ns", "uid": name, "labels": labels,
            "creationTimestamp": "2026-01-01T00:00:00Z"});
        let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata, "spec": spec,
            "status": status});
        self.server.put(WORKFLOWS, object);
    }

    /// The ConfigMap of a controller in a namespace, with its `persistence`.
    pub fn configure(&self, namespace: &str, persistence: &str) {
        let map = json!({"kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": "workflow-controller-configmap", "namespace": namespace},
            "data": {"persistence": persistence}});
        self.server.put(&format!("/api/v1/namespaces/{namespace}/configmaps"), map);
    }

    /// A Secret with these keys and values.
    pub fn secret(&self, namespace: &str, name: &str, data: &[(&str, &str)]) {
        use base64::Engine as _;
        let data: serde_json::Map<String, Value> = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), base64::prelude::BASE64_STANDARD.encode(value).into()))
            .collect();
        let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace},
            "data": data});
        self.server.put(&format!("/api/v1/namespaces/{namespace}/secrets"), secret);
    }

    pub fn workflow(&self, name: &str) -> Value {
        self.server.object(&format!("{WORKFLOWS}/{name}")).unwrap()
    }

    pub fn sent(&self, method: &str) -> Vec<Value> {
        self.server.calls().into_iter().filter(|call| call.method == method).map(|call| call.body).collect()
    }
}

/// A pause that waits, and one that is over.
pub fn pauses() -> Value {
    json!({"phase": "Running", "nodes": {
        "w": {"id": "w", "name": "w", "displayName": "w", "type": "Steps", "phase": "Running", "children": ["w-1", "w-2"]},
        "w-1": {"id": "w-1", "name": "w[0].ask", "displayName": "ask", "type": "Suspend", "phase": "Running", "boundaryID": "w",
            "outputs": {"parameters": [{"name": "p", "valueFrom": {"supplied": {}, "default": "d"}}]}},
        "w-2": {"id": "w-2", "name": "w[0].other", "displayName": "other", "type": "Suspend", "phase": "Succeeded"},
    }})
}

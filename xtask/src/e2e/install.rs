//! The chart: rendered, applied, and a workflow run by the controller that it starts, with the rights that it gives.
//!
//! Both run in a namespace under restricted Pod security; the rights are those of an install for one namespace.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::api::Api;
use super::cluster::Cluster;
use super::namespace::{CREDENTIALS, Namespace};
use crate::generated;
use crate::shell::output;

/// The longest that a Deployment or a workflow may take.
const LIMIT: Duration = Duration::from_secs(120);
const ACCOUNT: &str = "tiphys-workflow";

/// Uses most of what the controller has rights for: parameters between steps, a sidecar that is ended by a signal, a
/// memoized result, a disruption budget, an artifact.
fn workflow() -> Value {
    let safe = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "installed"},
        "spec": {
            "entrypoint": "main", "serviceAccountName": ACCOUNT,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 8737, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "podDisruptionBudget": {"minAvailable": "100%"},
            "metrics": {"prometheus": [{"name": "installed", "help": "it ran", "counter": {"value": "1"}}]},
            "templates": [
                {"name": "main", "dag": {"tasks": [
                    {"name": "give", "template": "give"},
                    {"name": "take", "template": "take", "dependencies": ["give"], "arguments": {
                        "parameters": [{"name": "text", "value": "{{tasks.give.outputs.result}}"}],
                        "artifacts": [{"name": "file", "from": "{{tasks.give.outputs.artifacts.file}}"}],
                    }},
                ]}},
                {"name": "give", "memoize": {"key": "k", "cache": {"configMap": {"name": "kept"}}},
                    "outputs": {"artifacts": [{"name": "file", "path": "/tmp/file"}]},
                    "script": {"image": "alpine", "command": ["sh"], "source": "echo hello | tee /tmp/file",
                        "securityContext": safe}},
                {"name": "take", "inputs": {
                        "parameters": [{"name": "text"}], "artifacts": [{"name": "file", "path": "/tmp/file"}]},
                    "sidecars": [{"name": "side", "image": "alpine", "command": ["sleep", "600"], "securityContext": safe}],
                    "container": {"image": "alpine", "command": ["sh", "-c"], "securityContext": safe,
                        "args": ["test {{inputs.parameters.text}} = \"$(cat /tmp/file)\""]}},
            ],
        },
    })
}

/// What the chart is told.
fn values(cluster: &Cluster, controller: &str, executor: &str) -> Value {
    let image = |name: &str| {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        json!({"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"})
    };
    let secret = |key: &str| json!({"name": CREDENTIALS, "key": key});
    let safe = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    json!({
        "image": image(controller), "executor": {"image": image(executor)},
        "namespaced": true, "replicas": 2, "podDisruptionBudget": {"enabled": true}, "networkPolicy": {"enabled": true},
        "workflow": {"serviceAccount": {"create": true, "name": ACCOUNT}},
        "rbac": {"clusterWorkflowTemplates": false, "aggregate": false},
        "config": {
            "executor": {"securityContext": safe},
            "artifactRepository": {"s3": {
                "bucket": "my-bucket", "endpoint": cluster.s3.host, "insecure": true, "createBucketIfNotPresent": {},
                "accessKeySecret": secret("accesskey"), "secretKeySecret": secret("secretkey"),
            }},
        },
    })
}

/// Whether the manifests in the repository are those that the chart makes.
pub fn rendered() -> Result<()> {
    generated::check_manifests()
}

/// Installs the chart and runs a workflow with it.
///
/// # Errors
/// What does not work.
pub async fn run(api: &Api, cluster: &Cluster, name: &str, controller: &str, executor: &str, keep: bool) -> Result<()> {
    let namespace = Namespace::make(api, name, "restricted", &cluster.s3).await?;
    let outcome = installed(api, cluster, &namespace, controller, executor).await;
    // What it reserves would be missing to those that follow.
    if keep { outcome } else { namespace.delete().await.and(outcome) }
}

async fn installed(
    api: &Api,
    cluster: &Cluster,
    namespace: &Namespace<'_>,
    controller: &str,
    executor: &str,
) -> Result<()> {
    let (helm, name) = (generated::helm()?, namespace.name.as_str());
    let mut command = generated::template(&helm, name);
    let file = crate::shell::target().join("e2e-values.json");
    std::fs::write(&file, values(cluster, controller, executor).to_string())?;
    command.arg("--values").arg(&file);
    apply(cluster, name, &output(command)?)?;
    let deployments = format!("/apis/apps/v1/namespaces/{name}/deployments");
    let is_there = |deployment: &Value| deployment["status"]["availableReplicas"] == 2;
    api.until(&deployments, "tiphys", LIMIT, is_there).await.context("the controller does not become ready")?;
    namespace.put(&workflow()).await?;
    let over = |workflow: &Value| workflow["metadata"]["labels"]["workflows.argoproj.io/completed"] == "true";
    let workflow = namespace.until("workflows", "installed", LIMIT, over).await?;
    let status = &workflow["status"];
    if status["phase"] != "Succeeded" {
        let nodes = status["nodes"].as_object().into_iter().flatten();
        let said: Vec<String> = nodes.map(|(_, node)| format!("{}: {}", node["name"], node["message"])).collect();
        bail!("the workflow is {}: {}\n{}", status["phase"], status["message"], said.join("\n"));
    }
    let metrics = metrics(cluster, name)?;
    for line in ["argo_workflows_installed 1", "argo_workflows_is_leader 1"] {
        if !metrics.lines().any(|one| one == line) {
            bail!("no replica tells `{line}`:\n{metrics}");
        }
    }
    Ok(())
}

fn kubectl(cluster: &Cluster, namespace: &str) -> Command {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(&cluster.kubeconfig).args(["--namespace", namespace]);
    command
}

/// Applies manifests.
///
/// # Errors
/// When the cluster refuses them.
pub fn apply(cluster: &Cluster, namespace: &str, manifests: &str) -> Result<()> {
    let mut command = kubectl(cluster, namespace);
    command.args(["apply", "--server-side", "--filename", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut process = command.spawn().context("kubectl cannot be started")?;
    process.stdin.take().context("kubectl has no input")?.write_all(manifests.as_bytes())?;
    match process.wait()?.success() {
        true => Ok(()),
        false => bail!("the cluster refuses what the chart makes"),
    }
}

/// What all replicas tell.
fn metrics(cluster: &Cluster, namespace: &str) -> Result<String> {
    let mut list = kubectl(cluster, namespace);
    list.args(["get", "pods", "--selector", "app.kubernetes.io/component=controller", "--output", "name"]);
    let mut all = String::new();
    for pod in output(list)?.lines() {
        let name = pod.trim_start_matches("pod/");
        let mut get = kubectl(cluster, namespace);
        get.args(["get", "--raw", &format!("/api/v1/namespaces/{namespace}/pods/https:{name}:9090/proxy/metrics")]);
        all.push_str(&output(get)?);
    }
    Ok(all)
}

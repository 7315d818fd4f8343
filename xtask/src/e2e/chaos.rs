//! What happens to workflows when the cluster does not do as it should: each ends as it would have without.
//!
//! The cases of [`DISTURBED`] run while connections are cut, the API server is killed, or the clock jumps. Pods are taken away
//! under workflows that say what is to come of it. A node is lost: one that is made for it, as the others are for everybody.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::{Either, select};
use serde_json::{Value, json};
use tiphys_tests::corpus::{self, Case};

use super::api::Api;
use super::between::Between;
use super::cluster::Cluster;
use super::controller::{Controller, Furniture, Setup, furnish};
use super::namespace::Namespace;
use super::workflows::{self, Rule};
use super::{Count, Options, Outcome};
use crate::shell::install;

/// The cases that run meanwhile: fan-outs, loops, results and artifacts, retries, exit handlers, locks.
const DISTURBED: [&str; 7] = [
    "e2e-functional-artifact-passing-0",
    "e2e-functional-dag-diamond-steps-0",
    "e2e-functional-output-parameter-0",
    "e2e-testdata-retry-on-error-workflow-0",
    "examples-container-set-template-graph-workflow-0",
    "examples-exit-handlers-0",
    "examples-synchronization-tmpl-level-0",
];

/// The longest that anything here may take by itself.
const LIMIT: Duration = Duration::from_secs(90);
/// How long connections last.
const BETWEEN_CUTS: Duration = Duration::from_secs(1);
/// When the API server is killed, after the workflows have begun.
const KILLS: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(8)];
/// Where the clock is, and for how long.
const CLOCKS: [(&str, Duration); 3] =
    [("+0", Duration::from_secs(4)), ("+3600", Duration::from_secs(4)), ("-1800", Duration::from_secs(600))];
/// Debian's library that tells programs another time.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

const CUT: &str = "chaos: every connection to the API server is cut each second";
const API_SERVER: &str = "chaos: the API server is killed twice";
const CLOCK: &str = "chaos: the clock goes an hour ahead, and half an hour back";
const DELETED: &str = "chaos: Pods are deleted";
const EVICTED: &str = "chaos: Pods are evicted";
const LOST: &str = "chaos: a node is lost with its Pods";

/// What the parts have in common.
struct Stage<'a> {
    cluster: &'a Cluster,
    api: &'a Api,
    namespace: &'a Namespace<'a>,
    executor: &'a str,
    cases: Vec<&'a Case>,
}

/// Runs the parts that are wanted.
///
/// # Errors
/// When the cluster refuses a namespace, or a controller does not start.
pub async fn run_all(options: &Options, cluster: &Cluster, executor: &str, count: &mut Count) -> Result<()> {
    let parts = [CUT, API_SERVER, CLOCK, DELETED, EVICTED, LOST].into_iter();
    let parts: Vec<&str> = parts.filter(|part| options.wants(part)).collect();
    let Some(folder) = options.corpus.clone().or_else(corpus::folder).filter(|_| !parts.is_empty()) else {
        return Ok(());
    };
    let api = Api::open(&cluster.kubeconfig)?;
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let namespace = Namespace::make(&api, &format!("tiphys-e2e-{stamp}-x"), "privileged", &cluster.s3).await?;
    furnish(&namespace, cluster, &folder, &Furniture { database: None, logs: true }).await?;
    let cases = corpus::cases(&folder);
    let cases = cases.iter().filter(|case| DISTURBED.contains(&case.name.as_str())).collect();
    let stage = Stage { cluster, api: &api, namespace: &namespace, executor, cases };
    for (number, part) in parts.into_iter().enumerate() {
        let begun = Instant::now();
        let first = (number + 1) * 100;
        match part {
            CUT => stage.cut(first, count).await?,
            API_SERVER => stage.kill_api_server(first, count).await?,
            CLOCK => stage.move_clock(first, count).await?,
            _ => {
                let _controller = stage.controller(&cluster.kubeconfig, &[])?;
                let outcome = match part {
                    LOST => stage.lose_node().await,
                    _ => stage.take_pods(part).await,
                };
                let outcome = Outcome::from(outcome);
                count.add(part, begun, &outcome);
            }
        }
        count.part(part, begun);
    }
    if options.keep { Ok(()) } else { namespace.delete().await }
}

impl Stage<'_> {
    fn controller(&self, kubeconfig: &Path, environment: &[(&str, &str)]) -> Result<Controller> {
        let (namespace, executor) = (self.namespace.name.as_str(), self.executor);
        Controller::start(&Setup { kubeconfig, namespace, executor, alone: true, arguments: &[], environment })
    }

    async fn cases(&self, name: &str, first: usize, count: &mut Count) {
        let rule = Rule { logs: true, pods: None, different: &[] };
        workflows::run_all(&self.cases, (&format!("{name}: "), first), rule, self.namespace, count).await;
    }

    async fn cut(&self, first: usize, count: &mut Count) -> Result<()> {
        let between = Between::open(self.api, None)?;
        let _controller = self.controller(&between.kubeconfig(), &[])?;
        let begun = Instant::now();
        let mut cut = 0;
        {
            let cutting = std::pin::pin!(async {
                loop {
                    tokio::time::sleep(BETWEEN_CUTS).await;
                    cut += between.cut();
                }
            });
            let running = std::pin::pin!(self.cases(CUT, first, count));
            let Either::Right(((), _)) = select(cutting, running).await;
        }
        let outcome = if cut > 0 { Outcome::Passed } else { Outcome::Failed("there was none to cut".into()) };
        count.add(&format!("chaos: {cut} connections cut"), begun, &outcome);
        Ok(())
    }

    async fn kill_api_server(&self, first: usize, count: &mut Count) -> Result<()> {
        let Some(server) = self.cluster.api_server() else {
            let reason = "the cluster of KUBECONFIG is not ours to disturb";
            count.add(API_SERVER, Instant::now(), &Outcome::Skipped(reason.into()));
            return Ok(());
        };
        let _controller = self.controller(&self.cluster.kubeconfig, &[])?;
        let killing = std::thread::spawn(move || {
            KILLS.iter().try_for_each(|after| {
                std::thread::sleep(*after);
                server.restart()
            })
        });
        let begun = Instant::now();
        self.cases(API_SERVER, first, count).await;
        let killed = killing.join().map_err(|_| anyhow::anyhow!("whoever kills it died"))?;
        let outcome = killed.err().map_or(Outcome::Passed, |error| Outcome::Failed(format!("{error:#}")));
        count.add(API_SERVER, begun, &outcome);
        Ok(())
    }

    async fn move_clock(&self, first: usize, count: &mut Count) -> Result<()> {
        if !Path::new(FAKETIME).is_file()
            && let Err(error) = install("libfaketime", &["libfaketime"])
        {
            count.add(CLOCK, Instant::now(), &Outcome::Skipped(format!("{error:#}")));
            return Ok(());
        }
        let folder = tempfile::tempdir()?;
        let file: PathBuf = folder.path().join("clock");
        std::fs::write(&file, CLOCKS[0].0)?;
        // What has passed since a moment is measured by another clock, which never jumps.
        let environment = [
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap_or_default()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let _controller = self.controller(&self.cluster.kubeconfig, &environment)?;
        let moving = std::pin::pin!(async {
            for (clock, length) in CLOCKS {
                std::fs::write(&file, clock)?;
                tokio::time::sleep(length).await;
            }
            std::io::Result::Ok(())
        });
        let running = std::pin::pin!(self.cases(CLOCK, first, count));
        match select(moving, running).await {
            Either::Left((moved, _)) => moved.context("the clock cannot be moved, or the cases took too long"),
            Either::Right(((), _)) => Ok(()),
        }
    }

    /// Two steps whose Pods go while they run: one that is retried, and one that is not.
    async fn take_pods(&self, part: &str) -> Result<()> {
        let name = if part == DELETED { "deleted" } else { "evicted" };
        // The second attempt has nothing to wait for.
        let script = "test {{retries}} != 0 || sleep 600";
        let container = |script: &str| json!({"image": "busybox", "command": ["sh", "-c", script]});
        let spec = json!({"entrypoint": "main", "templates": [
            {"name": "main", "dag": {"failFast": false, "tasks": [
                {"name": "once", "template": "once"}, {"name": "again", "template": "again"},
                {"name": "after", "template": "after", "depends": "again.Succeeded"},
            ]}},
            {"name": "once", "container": container("sleep 600")},
            {"name": "again", "retryStrategy": {"limit": "2", "retryPolicy": "Always"}, "container": container(script)},
            {"name": "after", "container": container("true")},
        ]});
        self.submit(name, &spec).await?;
        let running = |workflow: &Value| {
            let runs = |node: &&Value| node["type"] == "Pod" && node["phase"] == "Running";
            nodes(workflow).values().filter(runs).count() == 2
        };
        self.namespace.until("workflows", name, LIMIT, running).await?;
        let selector = format!("workflows.argoproj.io%2Fworkflow%3D{name}");
        for pod in self.namespace.pods(&selector).await? {
            let pod = pod["metadata"]["name"].as_str().context("a Pod without a name")?;
            let path = format!("{}/{pod}", self.namespace.core("pods"));
            if part == DELETED {
                self.api.delete(&format!("{path}?gracePeriodSeconds=0")).await?;
            } else {
                let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}});
                self.api.create(&format!("{path}/eviction"), &eviction).await?;
            }
        }
        let workflow = self.namespace.until("workflows", name, LIMIT, workflows::is_over).await?;
        self.namespace.remove("workflows", name).await?;
        let nodes = nodes(&workflow);
        let node = |name: &str| nodes.values().find(|node| node["displayName"] == name).cloned().unwrap_or_default();
        // argo: operator.go, podReconciliation, for a Pod that is gone; one that is asked to go ends by itself before that.
        let (phase, message) = match part {
            DELETED => ("Error", "pod deleted"),
            _ => ("Failed", "main: Error (exit code 143)"),
        };
        for lost in ["once", "again(0)"] {
            let lost = node(lost);
            ensure!(lost["phase"] == phase && lost["message"] == message, "it ended as {lost}");
        }
        for fine in ["again", "again(1)", "after"] {
            ensure!(node(fine)["phase"] == "Succeeded", "{fine} ended as {}", node(fine));
        }
        ensure!(nodes.len() == 6, "there are {} nodes", nodes.len());
        ensure!(workflow["status"]["phase"] == phase, "the workflow is {}", workflow["status"]["phase"]);
        Ok(())
    }

    /// A node without anybody who runs its Pods. What a kubelet would say of them is said here.
    async fn lose_node(&self) -> Result<()> {
        const NODES: &str = "/api/v1/nodes";
        let name = format!("{}-node", self.namespace.name);
        let ready = |status: &str| json!({"conditions": [{"type": "Ready", "status": status, "reason": "Test"}]});
        let mut status = ready("True");
        status["capacity"] = json!({"cpu": "4", "memory": "8Gi", "pods": "10"});
        status["allocatable"] = status["capacity"].clone();
        let own = json!([{"key": "tiphys-e2e", "effect": "NoSchedule"}]);
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"tiphys-e2e": name}},
            "spec": {"taints": own}, "status": status,
        });
        self.api.create(NODES, &node).await?;
        let done = self.lose(NODES, &name, &own, &ready("True"), &ready("False")).await;
        self.api.delete(&format!("{NODES}/{name}")).await?;
        done
    }

    async fn lose(&self, nodes_path: &str, node: &str, own: &Value, ready: &Value, away: &Value) -> Result<()> {
        let path = format!("{nodes_path}/{node}");
        self.api.patch(&format!("{path}/status"), &json!({"status": ready})).await?;
        let tolerations = json!([
            {"key": "tiphys-e2e", "operator": "Exists"},
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
        ]);
        let spec = json!({"entrypoint": "main", "nodeSelector": {"tiphys-e2e": node}, "tolerations": tolerations,
            "templates": [{"name": "main", "container": {"image": "busybox", "command": ["true"]}}]});
        self.submit("lost", &spec).await?;
        let bound = |pod: &Value| pod["spec"]["nodeName"] == node;
        self.namespace.until_core("pods", "lost", LIMIT, bound).await.context("the Pod is not bound")?;
        let state = |name: &str| {
            json!({"name": name, "ready": true, "restartCount": 0, "image": "", "imageID": "",
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
        };
        let runs = json!({"status": {"phase": "Running", "containerStatuses": [state("wait"), state("main")]}});
        self.namespace.patch(&self.namespace.core("pods"), "lost/status", &runs).await?;
        let running = |workflow: &Value| nodes(workflow).values().any(|node| node["phase"] == "Running");
        self.namespace.until("workflows", "lost", LIMIT, running).await?;
        self.api.patch(&format!("{path}/status"), &json!({"status": away})).await?;
        let going = |pod: &Value| pod["metadata"]["deletionTimestamp"].is_string();
        self.namespace.until_core("pods", "lost", LIMIT, going).await.context("the Pod is not taken off the node")?;
        // Kubernetes' word that a machine is off: only then is a Pod gone of which nobody says that it has ended.
        let taint = json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"});
        let taints = [own.as_array().cloned().unwrap_or_default(), vec![taint]].concat();
        self.api.patch(&path, &json!({"spec": {"taints": taints}})).await?;
        let workflow = self.namespace.until("workflows", "lost", LIMIT, workflows::is_over).await?;
        let node = nodes(&workflow).values().next().cloned().unwrap_or_default();
        // Kubernetes says of the Pod that it has failed, before it takes it away. argo: operator.go, inferFailedReason.
        let message = "pod failed: neither main nor wait container completed successfully";
        ensure!(node["phase"] == "Failed" && node["message"] == message, "it ended as {node}");
        ensure!(workflow["status"]["phase"] == "Failed", "the workflow is {}", workflow["status"]["phase"]);
        self.namespace.remove("workflows", "lost").await
    }

    async fn submit(&self, name: &str, spec: &Value) -> Result<()> {
        let metadata = json!({"name": name});
        let kind =
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": metadata, "spec": spec});
        self.namespace.put(&kind).await
    }
}

fn nodes(workflow: &Value) -> serde_json::Map<String, Value> {
    workflow["status"]["nodes"].as_object().cloned().unwrap_or_default()
}

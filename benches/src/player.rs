//! A node without a machine: its Pods seem to run for a time and end well. It plays kubelet and executor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tiphys_kubernetes::{Api, ApiError, Backoff, Collection, Event, Kind, Metadata, watch};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;

/// The taint of the node.
const TAINT: &str = "bench.tiphys.io/hollow";
const NODE: &str = "tiphys-hollow";
const NODES: &str = "/api/v1/nodes";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/// The control plane takes a node for dead when its Lease is 40 s old.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Statuses that are written at a time.
const WRITES: usize = 32;

/// What the player looks at of a Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Played {
    pub metadata: Metadata,
    pub spec: Spec,
    pub status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    pub node_name: String,
    pub containers: Vec<Container>,
    pub init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    pub name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    pub phase: String,
}

/// How Pods seem to do.
pub struct Pace {
    latency: Duration,
    held: AtomicBool,
    running: AtomicUsize,
    changed: Notify,
}

impl Pace {
    pub fn new(latency: Duration) -> Pace {
        Pace { latency, held: AtomicBool::new(false), running: AtomicUsize::new(0), changed: Notify::new() }
    }

    /// Whether Pods stay in phase Running.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Waits until Pods may end.
    async fn released(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.held.load(Ordering::SeqCst) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until so many seem to run.
    pub async fn running(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            if self.running.load(Ordering::SeqCst) >= count {
                return;
            }
            changed.await;
        }
    }
}

/// The node at work.
pub struct Player {
    tasks: Vec<JoinHandle<()>>,
}

/// Sends Pods to the node: into the spec of one, or of a workflow.
pub fn send_here(spec: &mut Value) {
    spec["nodeSelector"] = json!({TAINT: "true"});
    spec["tolerations"] = json!([{"key": TAINT, "operator": "Exists"}]);
}

impl Player {
    /// Puts the node into the cluster, for Pods of one namespace.
    ///
    /// # Errors
    /// The API server's.
    pub async fn start(api: &Api, namespace: &str, pace: Arc<Pace>) -> Result<Player> {
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {TAINT: "true"}},
            "spec": {"taints": [{"key": TAINT, "effect": "NoSchedule"}]},
        });
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NODE},
            "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": micros()},
        });
        for (collection, object) in [(NODES, node), (LEASES, lease)] {
            match api.create(collection, &object).await {
                Err(error) if !error.is_already_there() => return Err(error.into()),
                _ => {}
            }
        }
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let room = json!({"cpu": "100000", "memory": "100000Gi", "pods": "100000"});
        let ready = json!({"status": {
            "phase": "Running", "capacity": room, "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Hollow", "lastHeartbeatTime": now,
                "lastTransitionTime": now}],
        }});
        api.patch(&format!("{NODES}/{NODE}/status"), &ready).await?;
        let taints = json!({"spec": {"taints": [{"key": TAINT, "effect": "NoSchedule"}]}});
        api.patch(&format!("{NODES}/{NODE}"), &taints).await?;
        let heart = tokio::spawn(beat(api.clone()));
        let pods = tokio::spawn(play(api.clone(), Kind::Pod.within(namespace), pace));
        Ok(Player { tasks: vec![heart, pods] })
    }

    /// Takes it away.
    pub async fn stop(self, api: &Api) {
        self.tasks.iter().for_each(JoinHandle::abort);
        for path in [format!("{NODES}/{NODE}"), format!("{LEASES}/{NODE}")] {
            if let Err(error) = api.delete(&path, &json!({})).await {
                eprintln!("{path} is left behind: {error}");
            }
        }
    }
}

async fn beat(api: Api) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let renewed = json!({"spec": {"renewTime": micros()}});
        if let Err(error) = api.patch(&format!("{LEASES}/{NODE}"), &renewed).await {
            eprintln!("the hollow node's Lease is not renewed: {error}");
        }
    }
}

fn micros() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

async fn play(api: Api, pods: Collection, pace: Arc<Pace>) {
    let (to, mut scheduled) = mpsc::unbounded_channel();
    let watching = api.clone();
    let collection = pods.clone();
    let follow = async move {
        watch::<Played>(&watching, &collection, "", None, |event| {
            let found = match event {
                Event::Page(page) => page,
                Event::Applied(pod) => vec![pod],
                Event::Deleted(_) | Event::Listed => Vec::new(),
            };
            let mine = found.into_iter().filter(|pod| pod.spec.node_name == NODE && pod.status.phase == "Pending");
            mine.into_iter().all(|pod| to.send(pod).is_ok())
        })
        .await;
    };
    let turns = Arc::new(Semaphore::new(WRITES));
    let run = async {
        while let Some(pod) = scheduled.recv().await {
            let (api, pods, pace, turns) = (api.clone(), pods.clone(), pace.clone(), turns.clone());
            tokio::spawn(async move {
                match one(&api, &pods, &pod, &pace, &turns).await {
                    Err(error) if !error.is_not_found() => eprintln!("{}: {error}", pod.metadata.name),
                    _ => {}
                }
            });
        }
    };
    tokio::join!(follow, run);
}

/// A Pod's life.
async fn one(api: &Api, pods: &Collection, pod: &Played, pace: &Pace, turns: &Semaphore) -> Result<(), ApiError> {
    let path = format!("{}/status", pods.named(&pod.metadata.name));
    let held = pace.held.load(Ordering::SeqCst);
    if held || !pace.latency.is_zero() {
        write(api, &path, &status(pod, false), turns).await?;
        pace.running.fetch_add(1, Ordering::SeqCst);
        pace.changed.notify_waiters();
        tokio::time::sleep(pace.latency).await;
        pace.released().await;
    }
    write(api, &path, &status(pod, true), turns).await
}

async fn write(api: &Api, path: &str, status: &Value, turns: &Semaphore) -> Result<(), ApiError> {
    let _turn = turns.acquire().await;
    let mut backoff = Backoff::default();
    loop {
        match api.patch_strategically(path, status).await {
            Err(error) if error.is_transient() => error.wait(&mut backoff).await,
            outcome => return outcome.map(|_| ()),
        }
    }
}

fn status(pod: &Played, over: bool) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}});
    let running = json!({"running": {"startedAt": now}});
    let state = |over: bool| if over { &ended } else { &running };
    let container = |one: &Container, over: bool| json!({"name": one.name, "image": "none", "imageID": "none", "ready": !over, "restartCount": 0, "state": state(over)});
    json!({"status": {
        "phase": if over { "Succeeded" } else { "Running" }, "podIP": "10.9.9.9", "startTime": now,
        "conditions": [{"type": "Initialized", "status": "True", "lastTransitionTime": now}],
        "initContainerStatuses": pod.spec.init_containers.iter().map(|one| container(one, true)).collect::<Vec<_>>(),
        "containerStatuses": pod.spec.containers.iter().map(|one| container(one, over)).collect::<Vec<_>>(),
    }})
}

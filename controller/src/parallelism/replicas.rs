//! Replicas on a simulated API server: no more workflows have a place at a time than may, whoever has which shard.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use serde_json::{Value, json};
use tiphys_contract::label;
use tiphys_kubernetes::Gate;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Limits;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::dispatch;
use crate::persistence::PersistenceOptions;
use crate::shards::Change;
use crate::simulated_api::{SimulatedApi, cluster};

const WORKFLOWS: &str = "/apis/argoproj.io/v1alpha1/namespaces/team/workflows";
const NAMESPACES: &str = "/api/v1/namespaces";
/// The longest that anything here may take; it is real time.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(clap::Parser)]
struct Given {
    #[command(flatten)]
    persistence: PersistenceOptions,
}

/// A replica, and the gates of its shards.
struct Replica {
    cluster: Arc<Cluster>,
    changes: mpsc::Sender<Change>,
    gates: Vec<(u32, Arc<Gate>)>,
    task: JoinHandle<()>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.gates.iter().for_each(|(_, gate)| gate.shut());
        self.task.abort();
    }
}

impl Replica {
    async fn start(server: &SimulatedApi, shards: u32, limit: usize, mine: &[u32]) -> Replica {
        let config = Config { shards, parallelism: total(limit), ..Config::default() };
        let cluster = cluster(server.line().1, config);
        let (changes, told) = mpsc::channel(4);
        let persistence = Given::parse_from(["test"]).persistence;
        let working = cluster.clone();
        let task = tokio::spawn(async move { dispatch::run(working, "team", persistence, told).await });
        let mut replica = Replica { cluster, changes, gates: Vec::new(), task };
        for shard in mine {
            replica.takes(*shard).await;
        }
        replica
    }

    async fn takes(&mut self, shard: u32) {
        let gate = Arc::new(Gate::default());
        self.gates.push((shard, gate.clone()));
        self.changes.send(Change::Begin { shard, gate }).await.unwrap();
    }

    async fn gives_up(&mut self, shard: u32) {
        self.gate(shard).close(Duration::from_secs(1)).await;
        self.is_told_of_end(shard).await;
    }

    /// Its Lease is lost: nothing is let through any more.
    fn loses(&mut self, shard: u32) {
        self.gate(shard).shut();
    }

    fn gate(&mut self, shard: u32) -> Arc<Gate> {
        let index = self.gates.iter().position(|(one, _)| *one == shard).unwrap();
        self.gates.swap_remove(index).1
    }

    async fn is_told_of_end(&self, shard: u32) {
        let (done, ended) = oneshot::channel();
        self.changes.send(Change::End { shard, done }).await.unwrap();
        let _ = ended.await;
    }

    fn limit(&self, limit: usize) {
        let config = Config::clone(&self.cluster.config());
        self.cluster.configure(Config { parallelism: total(limit), ..config });
    }
}

fn total(total: usize) -> Limits {
    Limits { total, namespace: 0 }
}

fn create(server: &SimulatedApi, name: &str, suspend: Value, mutex: bool) {
    let mut workflow = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": name},
        "spec": {"entrypoint": "main", "templates": [{"name": "main", "suspend": suspend}]},
    });
    if mutex {
        workflow["spec"]["synchronization"] = json!({"mutexes": [{"name": "m"}]});
    }
    server.create(WORKFLOWS, workflow);
}

fn create_some(server: &SimulatedApi, count: usize, mutex: bool) {
    for number in 0..count {
        create(server, &format!("w{number}"), json!({"duration": "1s"}), mutex);
    }
}

fn labelled<'a>(workflow: &'a Value, name: &str) -> &'a str {
    workflow["metadata"]["labels"][name].as_str().unwrap_or_default()
}

/// Waits until so many have succeeded.
async fn until_over(server: &SimulatedApi, count: usize) {
    let over = server.until(|objects| {
        let over = objects.values().filter(|one| one["status"]["phase"] == "Succeeded");
        over.filter(|one| labelled(one, label::COMPLETED) == "true").count() >= count
    });
    if tokio::time::timeout(LIMIT, over).await.is_err() {
        let last: Vec<String> = server.history().iter().rev().take(5).map(|change| format!("{change:?}")).collect();
        panic!("not over: {last:#?}");
    }
}

async fn until_postponed(server: &SimulatedApi, names: &[&str]) {
    let waits = |workflow: Option<&Value>| {
        workflow.is_some_and(|one| one["status"]["message"].as_str().unwrap_or_default().contains("postponed"))
    };
    let all = server.until(|objects| names.iter().all(|name| waits(objects.get(&format!("{WORKFLOWS}/{name}")))));
    tokio::time::timeout(LIMIT, all).await.unwrap();
}

/// How many had a place at the same time, at most.
fn most_at_once(server: &SimulatedApi) -> usize {
    let (mut placed, mut most) = (BTreeSet::new(), 0);
    for change in server.history().into_iter().filter(|change| change.path.starts_with(WORKFLOWS)) {
        let has_place = change.after.as_ref().is_some_and(|one| {
            let works =
                labelled(one, label::PHASE) == "Running" || one["metadata"]["uid"] == *labelled(one, label::ADMITTED);
            works && labelled(one, label::COMPLETED) != "true"
        });
        match has_place {
            true => drop(placed.insert(change.path)),
            false => drop(placed.remove(&change.path)),
        }
        most = most.max(placed.len());
    }
    most
}

#[tokio::test]
async fn a_limit_is_of_all_replicas_while_the_first_shard_moves() {
    let server = SimulatedApi::default();
    create_some(&server, 12, false);
    let mut one = Replica::start(&server, 2, 2, &[0]).await;
    let mut other = Replica::start(&server, 2, 2, &[1]).await;
    until_over(&server, 4).await;
    one.gives_up(0).await;
    other.takes(0).await;
    until_over(&server, 8).await;
    // It dies, and what it has admitted shows.
    drop(other);
    one.takes(0).await;
    one.takes(1).await;
    until_over(&server, 12).await;
    assert_eq!(most_at_once(&server), 2);
    for number in 0..12 {
        let workflow = server.get(&format!("{WORKFLOWS}/w{number}")).unwrap();
        assert_eq!(workflow["metadata"]["uid"], *labelled(&workflow, label::ADMITTED), "{workflow}");
    }
    let postponed = |one: &Value| one["status"]["message"].as_str().unwrap_or_default().contains("postponed");
    assert!(server.history().iter().any(|change| change.after.as_ref().is_some_and(postponed)));
}

/// It goes on for a while, and comes to nothing with it.
#[tokio::test]
async fn one_that_lost_the_first_shard_admits_nobody() {
    let server = SimulatedApi::default();
    create_some(&server, 12, false);
    let mut one = Replica::start(&server, 2, 2, &[0, 1]).await;
    let mut other = Replica::start(&server, 2, 2, &[]).await;
    until_over(&server, 3).await;
    one.loses(0);
    other.takes(0).await;
    until_over(&server, 6).await;
    one.is_told_of_end(0).await;
    one.loses(1);
    one.is_told_of_end(1).await;
    other.takes(1).await;
    until_over(&server, 9).await;
    other.gives_up(0).await;
    one.takes(0).await;
    until_over(&server, 12).await;
    assert_eq!(most_at_once(&server), 2);
}

/// A single controller that has its Lease again finds those waiting that waited.
#[tokio::test]
async fn who_has_its_lease_again_keeps_to_the_limit() {
    let server = SimulatedApi::default();
    create_some(&server, 8, false);
    let mut only = Replica::start(&server, 1, 2, &[0]).await;
    for over in [2, 4, 6] {
        until_over(&server, over).await;
        only.loses(0);
        only.is_told_of_end(0).await;
        only.takes(0).await;
    }
    until_over(&server, 8).await;
    assert_eq!(most_at_once(&server), 2);
}

#[tokio::test]
async fn limits_come_and_go_while_workflows_work() {
    let server = SimulatedApi::default();
    create(&server, "holds", json!({}), false);
    let one = Replica::start(&server, 2, 1, &[0]).await;
    let other = Replica::start(&server, 2, 1, &[1]).await;
    server.until(|objects| objects.values().any(|one| labelled(one, label::PHASE) == "Running")).await;
    create_some(&server, 4, false);
    until_postponed(&server, &["w0", "w1", "w2", "w3"]).await;
    assert_eq!(most_at_once(&server), 1);
    one.limit(0);
    other.limit(0);
    until_over(&server, 4).await;
    // Whoever works counts, though it was begun under no limit.
    one.limit(1);
    other.limit(1);
    create(&server, "late", json!({"duration": "0s"}), false);
    until_postponed(&server, &["late"]).await;
    one.limit(2);
    other.limit(2);
    until_over(&server, 5).await;
}

#[tokio::test]
async fn a_namespace_limits_itself() {
    let server = SimulatedApi::default();
    let labels = json!({"workflows.argoproj.io/parallelism-limit": "1"});
    server.create(NAMESPACES, json!({"metadata": {"name": "team", "labels": labels}}));
    create_some(&server, 6, false);
    let _one = Replica::start(&server, 2, 0, &[0]).await;
    let _other = Replica::start(&server, 2, 0, &[1]).await;
    until_over(&server, 6).await;
    assert_eq!(most_at_once(&server), 1);
}

/// Nobody gets a lock before those who hold some have said so; and they need a place for that, which they have.
#[tokio::test]
async fn who_waits_for_a_lock_keeps_its_place() {
    let server = SimulatedApi::default();
    create_some(&server, 8, true);
    let mut one = Replica::start(&server, 2, 3, &[0]).await;
    let mut other = Replica::start(&server, 2, 3, &[1]).await;
    until_over(&server, 2).await;
    one.gives_up(0).await;
    other.takes(0).await;
    until_over(&server, 4).await;
    other.gives_up(0).await;
    one.takes(0).await;
    until_over(&server, 8).await;
    assert_eq!(most_at_once(&server), 3);
}

/// All stop, and others begin that divide the workflows otherwise.
#[tokio::test]
async fn another_number_of_shards_finds_the_same_places() {
    let server = SimulatedApi::default();
    create_some(&server, 15, false);
    for (shards, over) in [(2, 3), (3, 6), (1, 9), (5, 12), (2, 15)] {
        let all: Vec<u32> = (0..shards).collect();
        let (some, rest) = all.split_at(all.len().div_ceil(2));
        let _one = Replica::start(&server, shards, 2, some).await;
        let _other = if rest.is_empty() { None } else { Some(Replica::start(&server, shards, 2, rest).await) };
        until_over(&server, over).await;
    }
    assert_eq!(most_at_once(&server), 2);
}

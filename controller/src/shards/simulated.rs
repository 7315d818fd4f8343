//! Replicas that hold Leases on a simulated API server, in virtual time: whoever loses a Lease, comes, goes or divides the
//! workflows otherwise, nobody works beside whom it must not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tiphys_kubernetes::Api;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

use super::tenure::{Change, hold};
use super::terms::Terms;
use crate::simulated_api::{Line, SimulatedApi};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/argo/leases";
const WORK: &str = "/api/v1/namespaces/argo/configmaps";
const TERMS: Terms = Terms {
    duration: Duration::from_secs(12),
    renew_within: Duration::from_secs(8),
    renew_every: Duration::from_secs(3),
};
/// How often a replica does something for each of its shards.
const BETWEEN_WORK: Duration = Duration::from_millis(300);
/// The longest that anything may take, in virtual time.
const LIMIT: Duration = Duration::from_secs(90);

/// What numbers the times for which replicas have shards.
static TENURES: AtomicU32 = AtomicU32::new(0);

/// A replica: its Leases and its work have lines of their own.
struct Replica {
    leases: Line,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(server: &SimulatedApi, name: &str, shards: u32) -> Replica {
        let ((leases, api), (_, work)) = (server.line(), server.line());
        let (stop, stopped) = oneshot::channel::<()>();
        let name = name.to_owned();
        let task = tokio::spawn(async move {
            let (to, changes) = mpsc::channel(4);
            let stopped = async { drop(stopped.await) };
            let held = hold(api, ("argo", ""), &name, shards, TERMS, to, stopped);
            let (held, ()) = tokio::join!(held, work_on(work, &name, shards, changes));
            held.unwrap();
        });
        Replica { leases, stop: Some(stop), task }
    }

    /// As it ends when it is told to.
    async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(LIMIT, self.task).await.unwrap().unwrap();
    }

    fn kill(self) {
        self.task.abort();
    }
}

/// Works for each shard for as long as it is held.
async fn work_on(api: Api, name: &str, shards: u32, mut changes: mpsc::Receiver<Change>) {
    let mut works: BTreeMap<u32, Abort> = BTreeMap::new();
    while let Some(change) = changes.recv().await {
        match change {
            Change::Begin { shard, gate } => {
                let tenure = format!("{name}#{}", TENURES.fetch_add(1, Ordering::Relaxed));
                let task = tokio::spawn(work(api.behind(gate), tenure, shards, shard));
                works.insert(shard, Abort(task.abort_handle()));
            }
            Change::End { shard, done } => {
                works.remove(&shard);
                let _ = done.send(());
            }
        }
    }
}

struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says again and again what it works on, until it is no longer let through.
async fn work(api: Api, tenure: String, shards: u32, shard: u32) {
    let path = format!("{WORK}/work");
    let said = json!({"data": {"tenure": tenure, "shards": shards, "shard": shard}});
    while api.patch(&path, &said).await.is_ok() {
        tokio::time::sleep(BETWEEN_WORK).await;
    }
}

fn server() -> SimulatedApi {
    let server = SimulatedApi::default();
    server.create(WORK, json!({"metadata": {"name": "work"}}));
    server
}

/// Who holds each shard.
fn holders(objects: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let leases = objects.iter().filter_map(|(path, lease)| Some((path.strip_prefix(LEASES)?, lease)));
    let shards = leases.filter(|(name, _)| !name.contains(".member-"));
    let held =
        shards.map(|(name, lease)| (name.to_owned(), lease["spec"]["holderIdentity"].as_str().unwrap_or_default()));
    held.filter(|(_, holder)| !holder.is_empty()).map(|(name, holder)| (name, holder.to_owned())).collect()
}

/// Waits until each of these has so many shards, and nobody else any.
async fn until_shared(server: &SimulatedApi, expected: &[(&str, usize)]) {
    let is_so = |objects: &BTreeMap<String, Value>| {
        let holders = holders(objects);
        let count = |name: &str| holders.values().filter(|holder| *holder == name).count();
        let all: usize = expected.iter().map(|(_, count)| count).sum();
        holders.len() == all && expected.iter().all(|(name, wanted)| count(name) == *wanted)
    };
    if tokio::time::timeout(LIMIT, server.until(is_so)).await.is_err() {
        panic!("not shared as {expected:?}: {:?}", server.history().iter().rev().take(4).collect::<Vec<_>>());
    }
}

/// Time passes, in which they do what they do.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// From when to when somebody worked for a shard, as places in the history, and into how many shards it divided.
#[derive(Debug)]
struct Tenure {
    name: String,
    shards: u64,
    shard: u64,
    first: usize,
    last: usize,
}

fn tenures(server: &SimulatedApi) -> Vec<Tenure> {
    let mut tenures: Vec<Tenure> = Vec::new();
    let said = server.history().into_iter().filter(|change| change.path.starts_with(WORK));
    for (at, change) in said.enumerate() {
        let Some(data) = change.after.map(|mut object| object["data"].take()).filter(Value::is_object) else {
            continue;
        };
        let name = data["tenure"].as_str().unwrap_or_default();
        let number = |field: &str| data[field].as_u64().unwrap();
        match tenures.iter_mut().find(|tenure| tenure.name == name) {
            Some(tenure) => tenure.last = at,
            None => {
                let (shards, shard) = (number("shards"), number("shard"));
                tenures.push(Tenure { name: name.to_owned(), shards, shard, first: at, last: at });
            }
        }
    }
    tenures
}

/// Who worked for a shard after somebody else had begun to, or beside somebody who divides otherwise.
fn conflicts(server: &SimulatedApi) -> Vec<String> {
    let tenures = tenures(server);
    let mut conflicts = Vec::new();
    for (index, one) in tenures.iter().enumerate() {
        for other in &tenures[index + 1..] {
            let together = one.first < other.last && other.first < one.last;
            if together && (one.shards != other.shards || one.shard == other.shard) {
                conflicts.push(format!("{one:?} and {other:?}"));
            }
        }
    }
    conflicts
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_is_lost_and_the_process_lives() {
    let server = server();
    let one = Replica::start(&server, "one", 4);
    let _other = Replica::start(&server, "other", 4);
    until_shared(&server, &[("one", 2), ("other", 2)]).await;
    pass(10).await;
    let before = tenures(&server).len();
    // What it does for its shards still comes through.
    one.leases.cut(&server);
    until_shared(&server, &[("other", 4)]).await;
    pass(10).await;
    one.leases.mend();
    until_shared(&server, &[("one", 2), ("other", 2)]).await;
    pass(10).await;
    assert_eq!(conflicts(&server), [""; 0]);
    let after = tenures(&server);
    assert!(after.len() >= before + 4, "{after:?}");
    assert!(after.iter().rev().take(2).all(|tenure| tenure.name.starts_with("one#")), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_taken_away_ends_the_work_at_once() {
    let server = server();
    let _one = Replica::start(&server, "one", 2);
    until_shared(&server, &[("one", 2)]).await;
    pass(5).await;
    let taken = server.history().len();
    let stolen = json!({"spec": {"holderIdentity": "thief", "renewTime": "2026-01-01T00:00:00.000000Z"}});
    server.patch(&format!("{LEASES}/workflow-controller"), stolen);
    // It learns of that when it renews the Lease.
    pass(4).await;
    let said = |from: usize| {
        let history = server.history().split_off(from);
        let said = history.into_iter().filter(|change| change.path.starts_with(WORK));
        said.filter(|change| change.after.as_ref().is_some_and(|one| one["data"]["shard"] == 0)).count()
    };
    let (still, now) = (said(taken), server.history().len());
    pass(4).await;
    assert_eq!(said(now), 0, "it goes on without the Lease");
    assert!(still <= 3 * 4, "{still}");
    // Whoever took it gives no sign of life.
    until_shared(&server, &[("one", 2)]).await;
    pass(2).await;
    assert!(said(now) > 0);
    assert_eq!(conflicts(&server), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_divides_otherwise_waits_until_the_others_have_gone() {
    let server = server();
    let one = Replica::start(&server, "one", 2);
    let other = Replica::start(&server, "other", 2);
    until_shared(&server, &[("one", 1), ("other", 1)]).await;
    let _three = Replica::start(&server, "three", 3);
    pass(60).await;
    assert!(tenures(&server).iter().all(|tenure| tenure.shards == 2));
    one.stop().await;
    pass(30).await;
    assert!(tenures(&server).iter().all(|tenure| tenure.shards == 2));
    other.kill();
    until_shared(&server, &[("three", 3)]).await;
    pass(5).await;
    assert_eq!(conflicts(&server), [""; 0]);
    assert_eq!(tenures(&server).iter().filter(|tenure| tenure.shards == 3).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_begin_together_and_divide_otherwise_one_works() {
    let server = server();
    let _two = Replica::start(&server, "two", 2);
    let _three = Replica::start(&server, "three", 3);
    let one_side = |objects: &BTreeMap<String, Value>| {
        let holders = holders(objects);
        let all = |name: &str, count| holders.len() == count && holders.values().all(|holder| holder == name);
        all("two", 2) || all("three", 3)
    };
    tokio::time::timeout(LIMIT, server.until(one_side)).await.unwrap();
    pass(30).await;
    assert_eq!(conflicts(&server), [""; 0]);
    let works = tenures(&server);
    assert!(!works.is_empty() && works.iter().all(|tenure| tenure.shards == works[0].shards), "{works:?}");
}

/// A Deployment is changed: one replica after the other goes, and one with another number comes.
#[tokio::test(start_paused = true)]
async fn a_roll_out_with_another_number_of_shards() {
    let server = server();
    let one = Replica::start(&server, "one", 2);
    let other = Replica::start(&server, "other", 2);
    until_shared(&server, &[("one", 1), ("other", 1)]).await;
    pass(5).await;
    let _new = Replica::start(&server, "new", 5);
    one.stop().await;
    until_shared(&server, &[("other", 2)]).await;
    let _newer = Replica::start(&server, "newer", 5);
    pass(5).await;
    other.stop().await;
    let gone = tokio::time::Instant::now();
    until_shared(&server, &[("new", 3), ("newer", 2)]).await;
    assert!(gone.elapsed() < Duration::from_secs(15), "{:?}", gone.elapsed());
    pass(5).await;
    assert_eq!(conflicts(&server), [""; 0]);
    assert_eq!(tenures(&server).iter().filter(|tenure| tenure.shards == 5).map(|one| one.shard).max(), Some(4));
}

/// What all of these tests go by.
#[test]
fn conflicts_are_seen() {
    let server = server();
    let say = |tenure: &str, shards: u32, shard: u32| {
        server.patch(&format!("{WORK}/work"), json!({"data": {"tenure": tenure, "shards": shards, "shard": shard}}));
    };
    for tenure in ["a", "b"] {
        say(tenure, 2, 0);
        say(tenure, 2, 0);
    }
    say("c", 2, 1);
    say("b", 2, 0);
    say("c", 2, 1);
    assert_eq!(conflicts(&server), [""; 0]);
    say("a", 2, 0);
    assert_eq!(conflicts(&server).len(), 1);
    say("d", 3, 1);
    say("c", 2, 1);
    say("d", 3, 1);
    assert_eq!(conflicts(&server).len(), 2);
}

//! Three controllers that share the work, of which one is killed: all workflows end, no Pod is made twice, and two that want
//! the same mutex never have it together. Steps run as Pods of one container, for which no image of ours is needed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::api::Api;
use super::cluster::Cluster;
use super::controller::{CONFIGURATION, Controller, Setup};
use super::namespace::Namespace;
use super::{Count, Options, Outcome};
use crate::shell::build;

/// What is shown.
pub const NAME: &str = "shards: three controllers, one is killed";
/// How many shards there are; each controller has two of them.
const SHARDS: usize = 6;
/// How many workflows there are; every sixth wants the mutex.
const WORKFLOWS: usize = 30;
/// So many Pods have been made when one controller is killed.
const BEFORE: usize = 10;
/// Whoever takes a dead one's shards over has to have done so.
const TAKEN_OVER: Duration = Duration::from_secs(15);
/// The longest that all of it may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs it, if it is wanted.
///
/// # Errors
/// When the cluster refuses the namespace.
pub async fn run_all(options: &Options, cluster: &Cluster, count: &mut Count) -> Result<()> {
    if !options.wants(NAME) {
        return Ok(());
    }
    // That may take longer than all that follows.
    build("tiphys-controller")?;
    let api = Api::open(&cluster.kubeconfig)?;
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let namespace = Namespace::make(&api, &format!("tiphys-e2e-{stamp}-h"), "privileged", &cluster.s3).await?;
    let begun = Instant::now();
    let outcome = match tokio::time::timeout(LIMIT, shared(&namespace, &api, cluster)).await {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(error)) => Outcome::Failed(format!("{error:#}")),
        Err(_) => Outcome::Failed(format!("not over after {} s", LIMIT.as_secs())),
    };
    count.add(NAME, begun, &outcome);
    if options.keep { Ok(()) } else { namespace.delete().await }
}

async fn shared(namespace: &Namespace<'_>, api: &Api, cluster: &Cluster) -> Result<()> {
    namespace.allow_everything().await?;
    // Another controller may run on this machine, on the port of the metrics.
    let data = json!({"metricsConfig": "enabled: false"});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIGURATION}, "data": data});
    namespace.put(&map).await?;
    let shards = SHARDS.to_string();
    let start = |name: &str| {
        let own = ["--shards", shards.as_str(), "--identity", name, "--layout", "solo"];
        Controller::start(&Setup {
            kubeconfig: &cluster.kubeconfig,
            namespace: &namespace.name,
            executor: "none",
            alone: false,
            arguments: &own,
            environment: &[],
        })
    };
    let mut controllers = BTreeMap::new();
    for name in ["one", "two", "three"] {
        controllers.insert(format!("{name}_"), start(name)?);
    }
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", namespace.name);
    let holders = Holders::default();
    holders.follow(api, &leases, Holders::are_balanced).await?;

    let pods = Pods::default();
    let collection = namespace.core("pods");
    let watched = pods.watch(api, &collection);
    let driven = async {
        for number in 0..WORKFLOWS {
            namespace.put(&workflow(number)).await?;
        }
        pods.until(BEFORE).await?;
        // Who keeps the locks, and does what concerns all.
        let victim = holders.of("workflow-controller").context("nobody holds the first shard")?;
        let controller = controllers.iter().find(|(name, _)| victim.starts_with(name.as_str()));
        let name = controller.map(|(name, _)| name.clone()).with_context(|| format!("{victim} is not ours"))?;
        drop(controllers.remove(&name));
        let killed = Instant::now();
        holders.follow(api, &leases, |holders| holders.are_without(&victim)).await?;
        let taken_over = killed.elapsed();
        println!("                  shards taken over {:.1} s after the kill", taken_over.as_secs_f64());
        for number in 0..WORKFLOWS {
            let over = |workflow: &Value| !workflow["status"]["finishedAt"].is_null();
            let workflow = namespace.until("workflows", &format!("shared-{number}"), LIMIT, over).await?;
            ensure!(workflow["status"]["phase"] == "Succeeded", "shared-{number}: {}", workflow["status"]);
        }
        println!("                  all workflows over {:.1} s after the kill", killed.elapsed().as_secs_f64());
        ensure!(taken_over < TAKEN_OVER, "a shard was taken over after {taken_over:?}");
        // One that comes gets its share, without anybody's death.
        let _third = start("four")?;
        let given = Instant::now();
        holders.follow(api, &leases, Holders::are_balanced).await?;
        println!("                  a new controller has its share after {:.1} s", given.elapsed().as_secs_f64());
        anyhow::Ok(())
    };
    tokio::select! {
        watched = watched => watched?,
        driven = driven => driven?,
    }
    pods.check()
}

/// Waits a little, runs a Pod, and waits again, so that at any moment workflows are in all states.
fn workflow(number: usize) -> Value {
    let mut pod = json!({"name": "pod", "container": {"image": "busybox", "command": ["sleep", "1"]}});
    if number.is_multiple_of(6) {
        pod["synchronization"] = json!({"mutexes": [{"name": "only-one"}]});
    }
    let step = |name: &str, template: &str| json!([{"name": name, "template": template}]);
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
        "metadata": {"name": format!("shared-{number}")},
        "spec": {"entrypoint": "main", "templates": [
            {"name": "main", "steps": [step("before", "wait"), step("pod", "pod"), step("after", "wait")]},
            {"name": "wait", "suspend": {"duration": "2s"}},
            pod,
        ]},
    })
}

/// Who holds which Lease.
#[derive(Default)]
struct Holders(RefCell<BTreeMap<String, String>>);

impl Holders {
    /// Follows the Leases until they are as wanted.
    async fn follow(&self, api: &Api, leases: &str, wanted: impl Fn(&Self) -> bool) -> Result<()> {
        api.follow(leases, |kind, lease| {
            let name = lease["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
            match kind {
                "DELETED" => drop(self.0.borrow_mut().remove(&name)),
                _ => drop(self.0.borrow_mut().insert(name, holder)),
            }
            wanted(self)
        })
        .await
    }

    fn of(&self, lease: &str) -> Option<String> {
        self.0.borrow().get(lease).cloned()
    }

    /// Who holds shards, and how many.
    fn shares(&self) -> BTreeMap<String, usize> {
        let mut shares = BTreeMap::new();
        for (_, holder) in self.0.borrow().iter().filter(|(name, _)| !name.contains(".member-")) {
            *shares.entry(holder.clone()).or_default() += 1;
        }
        shares
    }

    fn are_balanced(&self) -> bool {
        let shares = self.shares();
        shares.len() == 3 && shares.values().all(|share| *share == SHARDS / 3)
    }

    fn are_without(&self, dead: &str) -> bool {
        let shares = self.shares();
        !shares.contains_key(dead) && !shares.contains_key("") && shares.values().sum::<usize>() == SHARDS
    }
}

/// All Pods there ever were, by name.
#[derive(Default)]
struct Pods {
    seen: RefCell<BTreeMap<String, BTreeMap<String, Value>>>,
    news: tokio::sync::Notify,
}

impl Pods {
    async fn watch(&self, api: &Api, pods: &str) -> Result<()> {
        api.follow(pods, |_, pod| {
            let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
            self.seen.borrow_mut().entry(text("name")).or_default().insert(text("uid"), pod.clone());
            self.news.notify_waiters();
            false
        })
        .await
    }

    async fn until(&self, count: usize) -> Result<()> {
        loop {
            let news = self.news.notified();
            if self.seen.borrow().len() >= count {
                return Ok(());
            }
            news.await;
        }
    }

    /// Each was made once, and those with the mutex ran one after the other.
    fn check(&self) -> Result<()> {
        let seen = self.seen.borrow();
        let twice: BTreeSet<&String> = seen.iter().filter(|(_, uids)| uids.len() > 1).map(|(name, _)| name).collect();
        ensure!(twice.is_empty(), "made twice: {twice:?}");
        ensure!(seen.len() == WORKFLOWS, "{} Pods for {WORKFLOWS} workflows", seen.len());
        let alone = (0..WORKFLOWS).step_by(6).map(|number| format!("shared-{number}-"));
        let alone: Vec<String> = alone.collect();
        let mut times: Vec<(&str, &str)> = Vec::new();
        for (_, uids) in seen.iter().filter(|(name, _)| alone.iter().any(|one| name.starts_with(one.as_str()))) {
            for pod in uids.values() {
                let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
                let moment = |field: &str| {
                    ended[field].as_str().with_context(|| format!("a Pod has not ended: {}", pod["status"]))
                };
                times.push((moment("startedAt")?, moment("finishedAt")?));
            }
        }
        times.sort_unstable();
        ensure!(times.len() == alone.len(), "{} Pods had the mutex", times.len());
        let together = times.windows(2).find(|two| two[1].0 < two[0].1);
        ensure!(together.is_none(), "two had the mutex together: {times:?}");
        Ok(())
    }
}

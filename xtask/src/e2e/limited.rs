//! Controllers that share the work: two of them, and a limit to the workflows that work, of which each has its part; and others
//! with another number of shards, which wait. Workflows are suspend nodes alone, so that no image is needed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::api::Api;
use super::cluster::Cluster;
use super::controller::{CONFIGURATION, Controller, Setup};
use super::namespace::Namespace;
use super::{Count, Options, Outcome};
use crate::shell::build;

/// What is shown.
pub const NAME: &str = "shards: two controllers, one limit, one is killed";
/// What is shown of the other test.
pub const OTHERWISE: &str = "shards: another number of them, while workflows work";
/// How many workflows there are, and how many may work.
const WORKFLOWS: usize = 10;
const PARALLELISM: usize = 2;
/// So many are over when a controller is killed.
const BEFORE: usize = 3;
/// The longest that each may take. A controller that was killed is waited for for 12 s.
const LIMIT: Duration = Duration::from_secs(60);
/// Label of workflows that were admitted.
const ADMITTED: &str = "workflows.argoproj.io/tiphys-admitted";

/// Runs those that are wanted.
///
/// # Errors
/// When the cluster refuses a namespace.
pub async fn run_all(options: &Options, cluster: &Cluster, count: &mut Count) -> Result<()> {
    let wanted = [(NAME, "limit"), (OTHERWISE, "other")].into_iter().filter(|(name, _)| options.wants(name));
    let wanted: Vec<(&str, &str)> = wanted.collect();
    if wanted.is_empty() {
        return Ok(());
    }
    // That may take longer than all that follows.
    build("tiphys-controller")?;
    let api = Api::open(&cluster.kubeconfig)?;
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    for (name, suffix) in wanted {
        let namespace =
            Namespace::make(&api, &format!("tiphys-e2e-{stamp}-{suffix}"), "restricted", &cluster.s3).await?;
        let begun = Instant::now();
        let tested = async {
            match name {
                NAME => limited(&namespace, &api, cluster).await,
                _ => divided_otherwise(&namespace, &api, cluster).await,
            }
        };
        let outcome = match tokio::time::timeout(LIMIT, tested).await {
            Ok(outcome) => outcome.into(),
            Err(_) => Outcome::Failed(format!("not over after {} s", LIMIT.as_secs())),
        };
        count.add(name, begun, &outcome);
        if !options.keep {
            namespace.delete().await?;
        }
    }
    Ok(())
}

async fn limited(namespace: &Namespace<'_>, api: &Api, cluster: &Cluster) -> Result<()> {
    configure(namespace).await?;
    let mut controllers =
        vec![("one_", start(namespace, cluster, "one", "2")?), ("two_", start(namespace, cluster, "two", "2")?)];
    let workflows = Workflows::default();
    let collection = namespace.argo("workflows");
    let watched = workflows.watch(api, &collection);
    let driven = async {
        let holder = shared_by_two(namespace, api).await?;
        create(namespace).await?;
        workflows.until_over(BEFORE).await;
        // Who admits workflows.
        controllers.retain(|(name, _)| !holder.starts_with(name));
        ensure!(controllers.len() == 1, "{holder} is not ours");
        let killed = Instant::now();
        workflows.until_over(WORKFLOWS).await;
        println!("                  all workflows over {:.1} s after the kill", killed.elapsed().as_secs_f64());
        anyhow::Ok(())
    };
    tokio::select! {
        watched = watched => watched?,
        driven = driven => driven?,
    }
    workflows.check(namespace).await
}

/// One controller that knows of two shards works; others that know of three come, and work when it has gone.
async fn divided_otherwise(namespace: &Namespace<'_>, api: &Api, cluster: &Cluster) -> Result<()> {
    configure(namespace).await?;
    let two = start(namespace, cluster, "two", "2")?;
    let workflows = Workflows::default();
    let collection = namespace.argo("workflows");
    let watched = workflows.watch(api, &collection);
    let driven = async {
        create(namespace).await?;
        workflows.until_over(1).await;
        let _three = [start(namespace, cluster, "three", "3")?, start(namespace, cluster, "third", "3")?];
        workflows.until_over(BEFORE).await;
        let leases = leases(namespace);
        let divided = |object: &Value| object["metadata"]["labels"]["workflows.argoproj.io/tiphys-shards"].clone();
        let first = api.until(&leases, "workflow-controller", LIMIT, |_| true).await?;
        ensure!(divided(&first) == "2", "two numbers of shards at a time: {first}");
        drop(two);
        api.until(&leases, "workflow-controller", LIMIT, |lease| divided(lease) == "3").await?;
        workflows.until_over(WORKFLOWS).await;
        anyhow::Ok(())
    };
    tokio::select! {
        watched = watched => watched?,
        driven = driven => driven?,
    }
    workflows.check(namespace).await
}

async fn configure(namespace: &Namespace<'_>) -> Result<()> {
    // Another controller may run on this machine, on the port of the metrics.
    let data = json!({"metricsConfig": "enabled: false", "parallelism": PARALLELISM.to_string()});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIGURATION}, "data": data});
    namespace.put(&map).await
}

fn start(namespace: &Namespace<'_>, cluster: &Cluster, identity: &str, shards: &str) -> Result<Controller> {
    Controller::start(&Setup {
        kubeconfig: &cluster.kubeconfig,
        namespace: &namespace.name,
        executor: "none",
        alone: false,
        arguments: &["--shards", shards, "--identity", identity],
        environment: &[],
    })
}

fn leases(namespace: &Namespace<'_>) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", namespace.name)
}

/// Waits until two controllers have a shard each; gives who has the first.
async fn shared_by_two(namespace: &Namespace<'_>, api: &Api) -> Result<String> {
    let holder = |lease: &Value| lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
    let (mut first, mut second) = (String::new(), String::new());
    api.follow(&leases(namespace), |_, lease| {
        match lease["metadata"]["name"].as_str() {
            Some("workflow-controller") => first = holder(lease),
            Some("workflow-controller.shard-1") => second = holder(lease),
            _ => {}
        }
        !first.is_empty() && !second.is_empty() && first != second
    })
    .await?;
    Ok(first)
}

async fn create(namespace: &Namespace<'_>) -> Result<()> {
    for number in 0..WORKFLOWS {
        let workflow = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
            "metadata": {"name": format!("limited-{number}")},
            "spec": {"entrypoint": "main", "templates": [{"name": "main", "suspend": {"duration": "1s"}}]},
        });
        namespace.put(&workflow).await?;
    }
    Ok(())
}

/// What was seen of the workflows, in the order in which it happened.
#[derive(Default)]
struct Workflows {
    working: RefCell<BTreeSet<String>>,
    over: RefCell<BTreeSet<String>>,
    most: RefCell<BTreeSet<String>>,
    news: tokio::sync::Notify,
}

impl Workflows {
    async fn watch(&self, api: &Api, collection: &str) -> Result<()> {
        api.follow(collection, |_, workflow| {
            let name = workflow["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let labels = &workflow["metadata"]["labels"];
            let is_over = labels["workflows.argoproj.io/completed"] == "true";
            let has_place = workflow["status"]["phase"] == "Running" || !labels[ADMITTED].is_null();
            let (mut working, mut most) = (self.working.borrow_mut(), self.most.borrow_mut());
            match has_place && !is_over {
                true => drop(working.insert(name.clone())),
                false => drop(working.remove(&name)),
            }
            if working.len() > most.len() {
                most.clone_from(&working);
            }
            if is_over {
                self.over.borrow_mut().insert(name);
            }
            self.news.notify_waiters();
            false
        })
        .await
    }

    async fn until_over(&self, count: usize) {
        loop {
            let news = self.news.notified();
            if self.over.borrow().len() >= count {
                return;
            }
            news.await;
        }
    }

    /// All have succeeded, as many at a time as may, and each was admitted.
    async fn check(&self, namespace: &Namespace<'_>) -> Result<()> {
        let most = self.most.borrow().clone();
        ensure!(most.len() == PARALLELISM, "so many had a place at a time: {most:?}");
        let workflows = namespace.workflows("").await?;
        ensure!(workflows.len() == WORKFLOWS, "{} workflows", workflows.len());
        for workflow in &workflows {
            let metadata = &workflow["metadata"];
            ensure!(workflow["status"]["phase"] == "Succeeded", "{}: {}", metadata["name"], workflow["status"]);
            ensure!(metadata["labels"][ADMITTED] == metadata["uid"], "not admitted: {metadata}");
        }
        Ok(())
    }
}

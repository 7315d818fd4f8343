//! Two controllers, each with a namespace of its own as if it were a cluster's, and one database: what a workflow of one holds, a
//! workflow of the other waits for, also while the holder's controller is killed and comes again. No image is needed.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::api::Api;
use super::cluster::Cluster;
use super::controller::{CONFIGURATION, Controller, Setup};
use super::databases::{self, Server};
use super::namespace::Namespace;
use super::{Count, Options, Outcome};
use crate::shell::build;

/// What is shown.
pub const NAME: &str = "locks: two controllers, one database";
/// The longest that all of it may take.
const LIMIT: Duration = Duration::from_secs(90);
/// What the workflow that waits is told.
const WAITS: &str = "Waiting for all/Database/m lock (mtx/all/m). Lock status: 1/1";

/// Runs it, if it is wanted.
///
/// # Errors
/// When the cluster refuses a namespace.
pub async fn run_all(options: &Options, cluster: &Cluster, count: &mut Count) -> Result<()> {
    if !options.wants(NAME) {
        return Ok(());
    }
    // That may take longer than all that follows.
    build("tiphys-controller")?;
    let api = Api::open(&cluster.kubeconfig)?;
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let one = Namespace::make(&api, &format!("tiphys-e2e-{stamp}-one"), "restricted", &cluster.s3).await?;
    let other = Namespace::make(&api, &format!("tiphys-e2e-{stamp}-other"), "restricted", &cluster.s3).await?;
    let begun = Instant::now();
    let outcome = match tokio::time::timeout(LIMIT, shared(&one, &other, cluster)).await {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(error)) => Outcome::Failed(format!("{error:#}")),
        Err(_) => Outcome::Failed(format!("not over after {} s", LIMIT.as_secs())),
    };
    count.add(NAME, begun, &outcome);
    if options.keep {
        return Ok(());
    }
    one.delete().await?;
    other.delete().await
}

async fn shared(one: &Namespace<'_>, other: &Namespace<'_>, cluster: &Cluster) -> Result<()> {
    let data = databases::folder()?;
    let database = Server::postgres(&data.path().join("postgres"))?;
    for namespace in [one, other] {
        furnish(namespace, &database).await?;
    }
    let mut first = start(one, cluster)?;
    let _second = start(other, cluster)?;
    one.put(&workflow("holds", &json!({}))).await?;
    one.until("workflows", "holds", LIMIT, |workflow| workflow["status"]["phase"] == "Running").await?;
    other.put(&workflow("waits", &json!({"duration": "0s"}))).await?;
    let waits = |workflow: &Value| workflow["status"]["message"] == WAITS;
    other.until("workflows", "waits", LIMIT, waits).await?;
    // Who stands behind it in its own controller, and is let in by it.
    other.put(&workflow("later", &json!({"duration": "0s"}))).await?;
    other.until("workflows", "later", LIMIT, waits).await?;
    first.replace()?;
    // The new one works, and the lock is where it was.
    one.put(&workflow("behind", &json!({"duration": "0s"}))).await?;
    one.until("workflows", "behind", LIMIT, waits).await?;
    let waiting = other.until("workflows", "waits", LIMIT, |_| true).await?;
    ensure!(waits(&waiting), "it did not wait for the lock: {}", waiting["status"]);
    one.patch(&one.argo("workflows"), "holds", &json!({"spec": {"shutdown": "Terminate"}})).await?;
    for (namespace, name) in [(other, "waits"), (other, "later"), (one, "behind")] {
        let over = |workflow: &Value| !workflow["status"]["finishedAt"].is_null();
        let workflow = namespace.until("workflows", name, LIMIT, over).await?;
        ensure!(workflow["status"]["phase"] == "Succeeded", "{name}: {}", workflow["status"]);
    }
    Ok(())
}

/// What a controller with the database is told.
async fn furnish(namespace: &Namespace<'_>, database: &Server) -> Result<()> {
    namespace.allow_everything().await?;
    let signed = json!({"user": databases::USER, "password": databases::PASSWORD});
    let named = json!({"name": "database"});
    namespace.put(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": named, "stringData": signed})).await?;
    let secret = |key: &str| json!({"name": "database", "key": key});
    let synchronization = json!({"controllerName": namespace.name, "pollSeconds": 1, "postgresql": {
        "host": "127.0.0.1", "port": database.port, "database": "postgres",
        "userNameSecret": secret("user"), "passwordSecret": secret("password"),
    }});
    // Another controller may run on this machine, on the port of the metrics.
    let data = json!({"metricsConfig": "enabled: false", "synchronization": synchronization.to_string()});
    namespace
        .put(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIGURATION}, "data": data}))
        .await
}

fn start(namespace: &Namespace<'_>, cluster: &Cluster) -> Result<Controller> {
    Controller::start(&Setup {
        kubeconfig: &cluster.kubeconfig,
        namespace: &namespace.name,
        executor: "none",
        alone: true,
        arguments: &[],
        environment: &[],
    })
}

fn workflow(name: &str, suspend: &Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": name},
        "spec": {
            "entrypoint": "main",
            "synchronization": {"mutexes": [{"name": "m", "namespace": "all", "database": true}]},
            "templates": [{"name": "main", "suspend": suspend}],
        },
    })
}

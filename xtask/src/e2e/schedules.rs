//! What our controller decides about workflows as a whole: schedules, parallelism, retention, Pods made anew. In a namespace of
//! its own, whose configuration changes meanwhile. Its workflows need no Pods: they wait for a moment, and end.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::api::Api;
use super::cluster::Cluster;
use super::controller::{CONFIGURATION, Controller, Setup};
use super::namespace::Namespace;
use super::{Count, Options};

/// The longest that anything here may take.
const LIMIT: Duration = Duration::from_secs(40);

/// Runs them, those that are wanted.
///
/// # Errors
/// When the cluster refuses the namespace, or the controller cannot be started.
pub async fn run_all(options: &Options, cluster: &Cluster, executor: &str, count: &mut Count) -> Result<()> {
    let names = [HISTORY, FORBID, REPLACE, KILLED, PLACES, RETENTION, EVICTED];
    if !names.into_iter().any(|name| options.wants(name)) {
        return Ok(());
    }
    let api = Api::open(&cluster.kubeconfig)?;
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let name = format!("tiphys-e2e-{stamp}-s");
    let namespace = Namespace::make(&api, &name, "privileged", &cluster.s3).await?;
    namespace.allow_everything().await?;
    // Another controller may run on this machine, on the port of the metrics.
    let data = json!({"metricsConfig": "enabled: false"});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIGURATION}, "data": data});
    namespace.put(&map).await?;
    let mut controller = Controller::start(&Setup {
        kubeconfig: &cluster.kubeconfig,
        namespace: &name,
        executor,
        alone: true,
        arguments: &[],
        environment: &[],
    })?;
    for name in names.into_iter().filter(|name| options.wants(name)) {
        let begun = Instant::now();
        let outcome = match name {
            HISTORY => history(&namespace).await,
            FORBID => forbid(&namespace).await,
            REPLACE => replace(&namespace).await,
            KILLED => killed(&namespace, &mut controller).await,
            PLACES => places(&namespace).await,
            RETENTION => retention(&namespace).await,
            _ => evicted(&namespace).await,
        };
        count.add(name, begun, &outcome.into());
    }
    if options.keep { Ok(()) } else { namespace.delete().await }
}

/// A workflow's spec that takes so many seconds; none is for ever.
fn pause(seconds: Option<u64>) -> Value {
    let suspend = seconds.map_or_else(|| json!({}), |seconds| json!({"duration": format!("{seconds}s")}));
    json!({"entrypoint": "main", "templates": [{"name": "main", "suspend": suspend}]})
}

async fn schedule(namespace: &Namespace<'_>, name: &str, spec: Value, run: Value) -> Result<()> {
    let mut object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "CronWorkflow", "metadata": {"name": name}, "spec": spec,
    });
    object["spec"]["workflowSpec"] = run;
    namespace.put(&object).await
}

async fn runs(namespace: &Namespace<'_>, name: &str) -> Result<Vec<Value>> {
    namespace.workflows(&format!("workflows.argoproj.io/cron-workflow%3D{name}")).await
}

async fn configure(namespace: &Namespace<'_>, data: Value) -> Result<()> {
    namespace.patch(&namespace.core("configmaps"), CONFIGURATION, &json!({"data": data})).await
}

async fn workflow(namespace: &Namespace<'_>, name: &str, priority: i64, spec: Value) -> Result<()> {
    let mut object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec,
    });
    object["spec"]["priority"] = priority.into();
    namespace.put(&object).await
}

fn succeeded(object: &Value) -> u64 {
    object["status"]["succeeded"].as_u64().unwrap_or_default()
}

fn active(object: &Value) -> usize {
    object["status"]["active"].as_array().map_or(0, Vec::len)
}

const HISTORY: &str = "schedule: makes its runs, keeps its history, stops";

async fn history(namespace: &Namespace<'_>) -> Result<()> {
    let spec = json!({
        "schedules": ["@every 2s", "0 0 1 1 *"], "successfulJobsHistoryLimit": 2,
        "stopStrategy": {"expression": "cronworkflow.succeeded >= 4"},
        "workflowMetadata": {"labels": {"mine": "yes"}},
    });
    schedule(namespace, "history", spec, pause(Some(1))).await?;
    let stopped = |cron: &Value| cron["status"]["phase"] == "Stopped";
    let cron = namespace.until("cronworkflows", "history", LIMIT, stopped).await?;
    ensure!(succeeded(&cron) == 4 && active(&cron) == 0, "{}", cron["status"]);
    ensure!(cron["metadata"]["labels"]["cronworkflows.argoproj.io/completed"] == "true", "{}", cron["metadata"]);
    let kept = runs(namespace, "history").await?;
    // The last one may be about to go.
    ensure!(kept.len() == 2 || kept.len() == 3, "{} runs are kept", kept.len());
    let last = cron["status"]["lastScheduledTime"].as_str().unwrap_or_default();
    let found = kept.iter().any(|run| {
        let metadata = &run["metadata"];
        metadata["annotations"]["workflows.argoproj.io/scheduled-time"] == last && metadata["labels"]["mine"] == "yes"
    });
    ensure!(found, "no run is of {last}");
    Ok(())
}

const FORBID: &str = "schedule: Forbid keeps runs back";

async fn forbid(namespace: &Namespace<'_>) -> Result<()> {
    let spec = json!({"schedules": ["@every 1s"], "concurrencyPolicy": "Forbid"});
    schedule(namespace, "forbid", spec, pause(Some(3))).await?;
    let most = Cell::new(0);
    let twice = |cron: &Value| {
        most.set(most.get().max(active(cron)));
        succeeded(cron) >= 2
    };
    namespace.until("cronworkflows", "forbid", LIMIT, twice).await?;
    namespace.remove("cronworkflows", "forbid").await?;
    ensure!(most.get() == 1, "{} runs were active together", most.get());
    Ok(())
}

const REPLACE: &str = "schedule: Replace ends the run before";

async fn replace(namespace: &Namespace<'_>) -> Result<()> {
    let spec = json!({"schedules": ["@every 2s"], "concurrencyPolicy": "Replace", "failedJobsHistoryLimit": 9});
    schedule(namespace, "replace", spec, pause(None)).await?;
    let replaced = |cron: &Value| cron["status"]["failed"].as_u64().is_some_and(|failed| failed >= 2);
    namespace.until("cronworkflows", "replace", LIMIT, replaced).await?;
    let all = runs(namespace, "replace").await?;
    namespace.remove("cronworkflows", "replace").await?;
    let open = all.iter().filter(|run| run["status"]["finishedAt"].is_null()).count();
    ensure!(open <= 1, "{open} of {} runs are open", all.len());
    Ok(())
}

const KILLED: &str = "schedule: a controller that is killed makes no run twice and misses none";

async fn killed(namespace: &Namespace<'_>, controller: &mut Controller) -> Result<()> {
    let spec = json!({
        "schedules": ["@every 2s"], "startingDeadlineSeconds": 60, "successfulJobsHistoryLimit": 100,
        "stopStrategy": {"expression": "cronworkflow.succeeded >= 8"},
    });
    schedule(namespace, "killed", spec, pause(Some(1))).await?;
    for done in [1, 2, 4, 5, 7] {
        namespace.until("cronworkflows", "killed", LIMIT, |cron| succeeded(cron) >= done).await?;
        controller.replace()?;
    }
    let cron = namespace.until("cronworkflows", "killed", LIMIT, |cron| cron["status"]["phase"] == "Stopped").await?;
    let all = runs(namespace, "killed").await?;
    let mut times: Vec<i64> =
        all.iter().filter_map(|run| run["metadata"]["name"].as_str()?.rsplit('-').next()?.parse().ok()).collect();
    times.sort_unstable();
    ensure!(succeeded(&cron) as usize + active(&cron) == times.len(), "{} runs, and {}", times.len(), cron["status"]);
    let gaps = times.windows(2).map(|two| two[1] - two[0]);
    ensure!(gaps.clone().all(|gap| gap == 2), "between runs there are {:?} s", gaps.collect::<Vec<_>>());
    Ok(())
}

const PLACES: &str = "parallelism: by priority, and followed live";

async fn places(namespace: &Namespace<'_>) -> Result<()> {
    configure(namespace, json!({"parallelism": "1"})).await?;
    // The configuration is in force when a second workflow has to wait.
    workflow(namespace, "first", 0, pause(Some(4))).await?;
    let running = |workflow: &Value| workflow["status"]["phase"] == "Running";
    namespace.until("workflows", "first", LIMIT, running).await?;
    for (name, priority) in [("second", 0), ("important", 5), ("third", 0)] {
        workflow(namespace, name, priority, pause(Some(1))).await?;
        let postponed = |workflow: &Value| {
            let message = workflow["status"]["message"].as_str().unwrap_or_default();
            workflow["status"]["phase"] == "Pending" && message.contains("too many workflows are already running")
        };
        namespace.until("workflows", name, LIMIT, postponed).await?;
    }
    let over = |workflow: &Value| workflow["status"]["phase"] == "Succeeded";
    let important = namespace.until("workflows", "important", LIMIT, over).await?;
    let second = namespace.until("workflows", "second", LIMIT, running).await?;
    ensure!(important["status"]["startedAt"].as_str() <= second["status"]["startedAt"].as_str(), "second came first");
    ensure!(second["status"]["message"].is_null(), "{}", second["status"]["message"]);
    configure(namespace, json!({"parallelism": "0"})).await?;
    namespace.until("workflows", "third", LIMIT, over).await?;
    Ok(())
}

const RETENTION: &str = "retention: the oldest go";

async fn retention(namespace: &Namespace<'_>) -> Result<()> {
    for name in ["old", "new"] {
        workflow(namespace, name, 0, pause(Some(1))).await?;
        let over = |workflow: &Value| workflow["metadata"]["labels"]["workflows.argoproj.io/completed"] == "true";
        namespace.until("workflows", name, LIMIT, over).await?;
    }
    let policy = json!({"retentionPolicy": "{completed: 1, failed: 9, errored: 9}"});
    let before = namespace.workflows("workflows.argoproj.io/phase%3DSucceeded").await?.len();
    ensure!(before >= 2, "{before} workflows have succeeded");
    configure(namespace, policy).await?;
    namespace.until_gone("workflows", "old", LIMIT).await?;
    configure(namespace, json!({"retentionPolicy": null})).await?;
    let left = namespace.workflows("workflows.argoproj.io/phase%3DSucceeded").await?;
    ensure!(left.iter().any(|workflow| workflow["metadata"]["name"] == "new"), "the newest is gone as well");
    Ok(())
}

const EVICTED: &str = "failedPodRestart: a Pod that is evicted before it began is made anew";

async fn evicted(namespace: &Namespace<'_>) -> Result<()> {
    configure(namespace, json!({"failedPodRestart": "{enabled: true, maxRestarts: 1}"})).await?;
    let spec = json!({"entrypoint": "main", "nodeSelector": {"no-such": "machine"}, "templates": [
        {"name": "main", "container": {"image": "busybox", "command": ["true"]}}]});
    workflow(namespace, "evicted", 0, spec).await?;
    let mut before = String::new();
    let lost = json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}});
    for restarts in 1..=2 {
        let another = |pod: &Value| pod["metadata"]["uid"].as_str().is_some_and(|uid| uid != before);
        let pod = namespace.until_core("pods", "evicted", LIMIT, another).await?;
        before = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        namespace.patch(&namespace.core("pods"), "evicted/status", &lost).await?;
        let noticed = |workflow: &Value| {
            let node = &workflow["status"]["nodes"]["evicted"];
            node["failedPodRestarts"] == restarts || node["phase"] == "Failed"
        };
        let workflow = namespace.until("workflows", "evicted", LIMIT, noticed).await?;
        let phase = &workflow["status"]["nodes"]["evicted"]["phase"];
        ensure!(phase == if restarts == 1 { "Pending" } else { "Failed" }, "restart {restarts}: {phase}");
    }
    Ok(())
}

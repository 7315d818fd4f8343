//! The corpus with the shapes of Pods that are not Argo's: of each workflow must come the same.
//!
//! An ordinary run takes what is not run with Argo's Pods with the layout that the controller has by itself, and [`CHOSEN`] cases, in
//! which every kind of step is, without init containers; `--layout` takes all of them. Without logs to save: with them no step's Pod is
//! the user's container alone.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tiphys_contract::label;
use tiphys_tests::corpus::{self, Case};

use super::api::Api;
use super::between::{Between, Change};
use super::cluster::Cluster;
use super::controller::{Controller, Furniture, Setup, furnish};
use super::namespace::Namespace;
use super::recorded;
use super::steps::{self, Images};
use super::workflows::{self, Rule};
use super::{Count, Options};

/// The layouts, by the controller's names.
pub const LAYOUTS: [&str; 4] = ["legacy", "image-volume", "solo", "auto"];

/// What the controller does where nothing is said.
const DEFAULT: &str = "solo";

/// Each kind of step, and each way in which one ends.
const CHOSEN: [&str; 26] = [
    "e2e-expectedfailures-exit-handlers-0",
    "e2e-expectedfailures-oom-kill-0",
    "e2e-expectedfailures-timeouts-step-0",
    "e2e-functional-artifact-passing-0",
    "e2e-functional-daemon-nginx-0",
    "e2e-functional-init-container-0",
    "e2e-functional-output-parameter-0",
    "e2e-functional-steps-0",
    "e2e-testdata-cannot-start-workflow-0",
    "e2e-testdata-exit-1-0",
    "e2e-testdata-input-on-mount-workflow-0",
    "e2e-testdata-output-on-mount-workflow-0",
    "e2e-testdata-output-result-workflow-0",
    "e2e-testdata-progress-workflow-0",
    "e2e-testdata-retry-on-error-workflow-0",
    "e2e-testdata-sidecar-workflow-0",
    "e2e-testdata-signaled-workflow-0",
    "e2e-testdata-workflow-data-tracing-0",
    "examples-artifact-passing-subpath-0",
    "examples-container-set-template-graph-workflow-0",
    "examples-container-set-template-workspace-workflow-0",
    "examples-exit-code-output-variable-0",
    "examples-k8s-resource-log-selector-0",
    "examples-k8s-set-owner-reference-0",
    "examples-pod-spec-patch-0",
    "examples-retry-container-to-completion-0",
];

/// Of a user's container alone, and of one with an executor. Which Pods come of `auto` is another layout's on each cluster.
const FEW: [&str; 4] = [
    "e2e-functional-artifact-passing-0",
    "e2e-functional-output-parameter-0",
    "e2e-testdata-exit-1-0",
    "e2e-testdata-sidecar-workflow-0",
];

/// Cases that come out otherwise in Pods without an init container. docs/conformance-kubernetes.md has the same.
const IMAGE_VOLUME_DIFFERENT: &[(&str, &str, &str)] = &[
    ("e2e-expectedfailures-output-artifact-not-optional-0", "/nodes/{wf}[0].generate-artifact/message", NO_WAIT),
    ("e2e-testdata-artifactgc-artgc-multi-strategy-multi-anno-0", "/nodes/{wf}[0].call-first/message", NO_WAIT),
    ("e2e-testdata-global-artifact-passing-0", "/nodes/{wf}[3].save-artifact/message", NO_WAIT),
];
const NO_WAIT: &str = "the message names `supervisor`, which there is in place of `wait`";

/// The longest until a workflow is over that was told to end: less than the grace period, after which it would be killed.
const ENDING: Duration = Duration::from_secs(25);
/// The longest until a step runs.
const STARTING: Duration = Duration::from_secs(60);

/// Runs the cases of an ordinary run: with the default layout, without init containers, and with whatever the cluster can do.
///
/// # Errors
/// When the cluster refuses a namespace, or a controller does not start.
pub async fn run_chosen(
    options: &Options,
    cluster: &Cluster,
    executor: &str,
    images: &Images,
    count: &mut Count,
) -> Result<()> {
    let Some(folder) = options.corpus.clone().or_else(corpus::folder) else { return Ok(()) };
    let all = corpus::cases(&folder);
    let as_argo = recorded::one_of_each(&all);
    let is_as_argo = |case: &Case| as_argo.iter().any(|other| other.name == case.name);
    for layout in [DEFAULT, "image-volume", "auto"] {
        let mut cases = all.clone();
        cases.retain(|case| match layout {
            DEFAULT => !is_as_argo(case),
            "auto" => FEW.contains(&case.name.as_str()),
            _ => CHOSEN.contains(&case.name.as_str()),
        });
        cases.retain(|case| options.wants(&format!("{layout}: workflow {}", case.name)));
        let begun = Instant::now();
        run(layout, (&folder, &cases), options, cluster, (executor, images), count).await?;
        count.part(layout, begun);
    }
    Ok(())
}

/// Runs the whole corpus with one layout.
///
/// # Errors
/// When there is no corpus, the cluster refuses a namespace, or the controller does not start.
pub async fn run_whole(
    layout: &str,
    options: &Options,
    cluster: &Cluster,
    executor: &str,
    images: &mut Images,
    count: &mut Count,
) -> Result<()> {
    let folder = options.corpus.clone().or_else(corpus::folder);
    let folder = folder.context("no corpus: give --corpus FOLDER or set TIPHYS_CORPUS")?;
    if layout == "image-volume" {
        let api = Api::open(&cluster.kubeconfig)?;
        let namespace = Namespace::make(&api, &name_of("probe")?, "restricted", &cluster.s3).await?;
        images.as_volumes = steps::image_volumes(&namespace, &images.executor).await;
        namespace.delete().await?;
    }
    let mut cases = corpus::cases(&folder);
    cases.retain(|case| options.wants(&case.name));
    run(layout, (&folder, &cases), options, cluster, (executor, images), count).await
}

fn name_of(what: &str) -> Result<String> {
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    Ok(format!("tiphys-e2e-{stamp}-{what}"))
}

async fn run(
    layout: &str,
    (folder, cases): (&Path, &[Case]),
    options: &Options,
    cluster: &Cluster,
    (executor, images): (&str, &Images),
    count: &mut Count,
) -> Result<()> {
    let own: Vec<_> = ENDED.iter().filter(|ended| options.wants(&format!("{layout}: {}", ended.name))).collect();
    // The default has an executor in as few Pods as can be, and many cases for a way with a detour.
    let injects = layout != DEFAULT && options.wants(&format!("{layout}: {INJECTED}"));
    if cases.is_empty() && own.is_empty() && !injects {
        return Ok(());
    }
    let api = Api::open(&cluster.kubeconfig)?;
    let name = name_of(layout)?;
    let namespace = Namespace::make(&api, &name, "privileged", &cluster.s3).await?;
    let is_argos = layout == "legacy";
    furnish(&namespace, cluster, folder, &Furniture { database: None, logs: is_argos }).await?;
    // Where the container runtime mounts no images, Pods get a copy of what would be in the volume.
    let copied = (layout == "image-volume" && !images.as_volumes).then(|| images.executor.clone());
    let changes = injects || copied.is_some();
    let change: Change = Box::new(move |pod| {
        copied.iter().for_each(|image| steps::stand_in(pod, image));
        inject(pod);
    });
    let between = if changes { Some(Between::open(&api, Some(change))?) } else { None };
    let kubeconfig = between.as_ref().map_or_else(|| cluster.kubeconfig.clone(), Between::kubeconfig);
    let arguments = ["--layout", layout];
    let setup = Setup {
        kubeconfig: &kubeconfig,
        namespace: &name,
        executor,
        alone: true,
        arguments: &arguments,
        environment: &[],
    };
    let controller = Controller::start(&setup)?;
    let cases: Vec<&Case> = cases.iter().collect();
    let different = if layout == "image-volume" { IMAGE_VOLUME_DIFFERENT } else { &[] };
    let rule = Rule { logs: is_argos, pods: is_argos.then_some(executor), different };
    workflows::run_all(&cases, (&format!("{layout}: "), 0), rule, &namespace, count).await;
    for own in own {
        let begun = Instant::now();
        let outcome = own.run(&namespace).await.into();
        count.add(&format!("{layout}: {}", own.name), begun, &outcome);
    }
    if injects {
        let begun = Instant::now();
        count.add(&format!("{layout}: {INJECTED}"), begun, &injected(&namespace).await.into());
    }
    drop(controller);
    if options.keep { Ok(()) } else { namespace.delete().await }
}

const INJECTED: &str = "a container that somebody puts into the Pod, and that never ends";

/// The workflow to whose Pods it comes.
const INJECTED_INTO: &str = "injected";

/// As a mesh's webhook: the container is not of the template, has no mounts of ours, and knows nothing of the step's end.
fn inject(pod: &mut Value) {
    if pod["metadata"]["labels"][label::WORKFLOW] == INJECTED_INTO {
        let script = "trap exit TERM; while true; do sleep 1; done";
        let proxy = json!({"name": "proxy", "image": "busybox", "command": ["sh", "-c", script]});
        pod["spec"]["containers"].as_array_mut().into_iter().for_each(|all| all.push(proxy.clone()));
    }
}

async fn injected(namespace: &Namespace<'_>) -> Result<()> {
    let outputs = json!({"parameters": [{"name": "told", "valueFrom": {"path": "/tmp/told"}}]});
    let manifest = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": INJECTED_INTO},
        "spec": {"entrypoint": "main", "templates": [{"name": "main", "outputs": outputs,
            "container": {"image": "busybox", "command": ["sh", "-c", "echo done > /tmp/told"]}}]},
    });
    let (workflow, pods) = workflows::complete(namespace, &manifest).await?;
    ensure!(workflow["status"]["phase"] == "Succeeded", "it ended as {}", workflow["status"]);
    let told = &workflow["status"]["nodes"][INJECTED_INTO]["outputs"]["parameters"][0]["value"];
    ensure!(told == "done", "its output is {told}");
    let containers = pods.iter().flat_map(|pod| pod["spec"]["containers"].as_array()).flatten();
    ensure!(containers.into_iter().any(|one| one["name"] == "proxy"), "nothing was put into its Pod");
    Ok(())
}

/// A workflow that is told to end while its step runs.
struct Ended {
    name: &'static str,
    /// `spec.shutdown`
    how: &'static str,
    /// Whether the exit handler runs.
    handled: bool,
}

/// argo: exec_control.go; exit handlers are for workflows that stop.
const ENDED: [Ended; 2] = [
    Ended { name: "stopped while it runs", how: "Stop", handled: true },
    Ended { name: "terminated while it runs", how: "Terminate", handled: false },
];

impl Ended {
    async fn run(&self, namespace: &Namespace<'_>) -> Result<()> {
        let name = format!("ended-{}", self.how.to_lowercase());
        let shell = |script: &str| json!({"image": "busybox", "command": ["sh", "-c", script]});
        let manifest = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": name},
            "spec": {"entrypoint": "main", "onExit": "handler", "templates": [
                {"name": "main", "container": shell("sleep 300")}, {"name": "handler", "container": shell("true")},
            ]},
        });
        namespace.put(&manifest).await?;
        let nodes = |workflow: &Value| workflow["status"]["nodes"].as_object().cloned().unwrap_or_default();
        let runs = |workflow: &Value| nodes(workflow).values().any(|node| node["phase"] == "Running");
        namespace.until("workflows", &name, STARTING, runs).await?;
        namespace.patch(&namespace.argo("workflows"), &name, &json!({"spec": {"shutdown": self.how}})).await?;
        let workflow = namespace.until("workflows", &name, ENDING, workflows::is_over).await?;
        namespace.remove("workflows", &name).await?;
        let status = &workflow["status"];
        let expected = format!("Stopped with strategy '{}'", self.how);
        ensure!(status["phase"] == "Failed" && status["message"] == expected.as_str(), "it ended as {status}");
        let nodes = nodes(&workflow);
        let main = nodes.values().find(|node| node["templateName"] == "main").context("no node")?;
        let message = format!("workflow shutdown with strategy:  {}", self.how);
        ensure!(main["phase"] == "Failed" && main["message"] == message.as_str(), "the step ended as {main}");
        let handler = nodes.values().find(|node| node["templateName"] == "handler");
        let handled = handler.is_some_and(|node| node["phase"] == "Succeeded");
        ensure!(handled == self.handled, "the exit handler is {handler:?}");
        Ok(())
    }
}

//! Whole workflows of the corpus, driven by our controller on the cluster.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tiphys_tests::corpus::{self, Case};
use tiphys_tests::normalise::normalise;

use super::Outcome;
use super::cluster::Cluster;
use super::databases::{self, Server};
use super::made::{self, Compared};
use super::namespace::{CREDENTIALS, Namespace};
use super::recorded::CHANCE;
use super::{Count, WORKFLOWS};
use crate::difference::difference;
use crate::shell::{build, target};

/// The longest that a workflow may take.
const LIMIT: Duration = Duration::from_secs(420);
/// The ConfigMap that the controller reads.
pub const CONFIGURATION: &str = "workflow-controller-configmap";
/// The Secret with who we are in the database.
const DATABASE: &str = "database";
/// What [`archived`] shows.
pub const ARCHIVED: &str = "what is over is archived";
/// The namespace in which the corpus was recorded.
const RECORDED_NAMESPACE: &str = "argo";
/// Label of a workflow that is over.
const COMPLETED: &str = "workflows.argoproj.io/completed";

/// Cases that do not come out as recorded: which, how one of the differences begins, and why. docs/conformance-kubernetes.md
/// has the same.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "e2e-expectedfailures-oom-kill-0",
        "/nodes/{wf}/outputs/artifacts: expected null",
        "Argo loses the log of a killed main",
    ),
    (
        "e2e-expectedfailures-large-workflow-0",
        "/message: expected null",
        "its manifest names a namespace that is not the tests'",
    ),
    (
        "e2e-functional-input-artifact-optional-0",
        "/nodes/{wf}/inputs/artifacts[0]/http/url",
        "Go writes an empty text, ours none",
    ),
    (
        "e2e-testdata-signaled-container-set-workflow-0",
        "/nodes/{wf}.two/message",
        "the container that depends on the killed one tells so, before it is killed itself",
    ),
    (
        "e2e-testdata-workflow-data-tracing-0",
        "/nodes/{wf}[1].transform/outputs/result",
        "lists what others left in the bucket",
    ),
    ("examples-hdfs-artifact-0", "/phase: expected \"Failed\", got \"Error\"", "HDFS is refused before anything runs"),
    (
        "examples-cron-backfill-0",
        "/nodes/{wf}/outboundNodes",
        "Pods of a group are created at once, so that all are refused",
    ),
];
/// The words with which a workflow is refused that asks for what this version does not have.
const REFUSED: &str = "is not supported by this version of Tiphys";

/// A controller that is running.
pub struct Controller {
    command: Command,
    child: Child,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a controller is started.
pub struct Setup<'a> {
    /// How it reaches the API server.
    pub kubeconfig: &'a Path,
    /// The namespace that it looks at.
    pub namespace: &'a str,
    /// The executor's image.
    pub executor: &'a str,
    /// What else it is told.
    pub arguments: &'a [&'a str],
    /// What it finds in its environment.
    pub environment: &'a [(&'a str, &'a str)],
}

impl Controller {
    /// Builds and starts it for one namespace.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn start(setup: &Setup<'_>) -> Result<Self> {
        let program = build("tiphys-controller")?;
        let log = target().join("e2e-controller.log");
        let file = std::fs::File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| log.display().to_string())?;
        let mut command = Command::new(program);
        // One that was killed would hold its Lease for a while.
        command.args(["--no-leader-election", "--namespaced", "--health-port", "0"]);
        command.args(["--namespace", setup.namespace, "--executor-image", setup.executor]).args(setup.arguments);
        command.envs(setup.environment.iter().copied());
        command.env("KUBECONFIG", setup.kubeconfig).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().context("tiphys-controller cannot be started")?;
        Ok(Self { command, child })
    }

    /// Kills it, as the kernel does, and starts another one.
    ///
    /// # Errors
    /// When that cannot be started.
    pub fn replace(&mut self) -> Result<()> {
        self.kill();
        self.child = self.command.spawn().context("tiphys-controller cannot be started")?;
        Ok(())
    }

    fn kill(&mut self) {
        // It is the child of this process alone, and keeps nothing that could be lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a namespace has in which the corpus runs.
pub struct Furniture<'a> {
    /// The archive; none where nothing is archived.
    pub database: Option<&'a Server>,
    /// Whether logs are saved, as they were when the corpus was recorded.
    pub logs: bool,
}

/// Puts what the corpus's workflows refer to into the namespace, and the controller's configuration.
///
/// # Errors
/// When the cluster refuses.
pub async fn furnish(
    namespace: &Namespace<'_>,
    cluster: &Cluster,
    folder: &Path,
    furniture: &Furniture<'_>,
) -> Result<()> {
    namespace.allow_everything().await?;
    let secret = |key: &str| json!({"name": CREDENTIALS, "key": key});
    let repository = json!({"archiveLogs": furniture.logs, "s3": {
        "bucket": "my-bucket", "endpoint": cluster.s3.host, "insecure": true,
        "accessKeySecret": secret("accesskey"), "secretKeySecret": secret("secretkey"),
    }});
    let images = json!({
        "argoproj/argosay:v2": {"entrypoint": ["/argosay"]}, "argoproj/argosay:v1": {"entrypoint": ["cowsay"]},
        "docker/whalesay:latest": {"entrypoint": ["cowsay"]}, "docker/whalesay": {"entrypoint": ["cowsay"]},
        "busybox": {"entrypoint": ["sh"]}, "busybox:latest": {"entrypoint": ["sh"]},
        "alpine": {"entrypoint": ["sh"]}, "alpine:latest": {"entrypoint": ["sh"]}, "alpine:3.23": {"cmd": ["sh"]},
        "nginx:1.13": {"cmd": ["nginx", "-g", "daemon off;"]},
        "curlimages/curl": {"entrypoint": ["/usr/bin/curl"]},
    });
    // The chart's test asks for metrics; here the port may be taken.
    let metrics = json!({"enabled": false});
    let signed = json!({"user": databases::USER, "password": databases::PASSWORD});
    let named = json!({"name": DATABASE});
    namespace.put(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": named, "stringData": signed})).await?;
    let mut data = json!({
        "artifactRepository": repository.to_string(), "images": images.to_string(), "metricsConfig": metrics.to_string(),
    });
    if let Some(database) = furniture.database {
        let persistence = json!({"archive": true, "postgresql": {
            "host": "127.0.0.1", "port": database.port, "database": "postgres", "tableName": "argo_workflows",
            "userNameSecret": {"name": DATABASE, "key": "user"}, "passwordSecret": {"name": DATABASE, "key": "password"},
        }});
        data["persistence"] = persistence.to_string().into();
    }
    namespace
        .put(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIGURATION}, "data": data}))
        .await?;
    for (file, text) in corpus::common(folder) {
        let trees = tiphys_api::yaml::parse(&text).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;
        for tree in trees {
            namespace.put(&tree.root.to_value()).await.with_context(|| file.clone())?;
        }
    }
    Ok(())
}

/// How a case is run and judged.
#[derive(Clone, Copy)]
pub struct Rule<'a> {
    /// Whether logs are saved; where they are not, no case is asked for them.
    pub logs: bool,
    /// Whether Pods are compared with the recorded ones, and then the executor's image in them.
    pub pods: Option<&'a str>,
    /// What comes out otherwise beyond [`DIFFERENT`]: which case, how one of the differences begins, and why.
    pub different: &'static [(&'static str, &'static str, &'static str)],
}

/// Runs cases, [`WORKFLOWS`] at a time. Their names in what is printed begin with `before`, those of their workflows end with
/// a number, from `first` on.
pub async fn run_all(
    cases: &[&Case],
    (before, first): (&str, usize),
    rule: Rule<'_>,
    namespace: &Namespace<'_>,
    count: &mut Count,
) {
    let one = |(number, case)| run(case, first + number, namespace, rule);
    let mut over = stream::iter(cases.iter().copied().enumerate()).map(one).buffer_unordered(WORKFLOWS);
    let (all, mut compared) = (Instant::now(), Compared::default());
    while let Some((name, begun, outcome, pods)) = over.next().await {
        count.add(&format!("{before}{name}"), begun, &outcome);
        compared.add(pods);
    }
    if rule.pods.is_some() {
        let name =
            format!("{before}Pods as recorded: {}, and {} that are no longer there", compared.same, compared.absent);
        let different = compared.different.join("\n");
        let outcome = if different.is_empty() { Outcome::Passed } else { Outcome::Failed(different) };
        count.add(&name, all, &outcome);
    }
}

/// What is told of a case: its name, when it began, what came of it and of its Pods.
type Told = (String, Instant, Outcome, Compared);

/// Runs a case.
pub async fn run(case: &Case, number: usize, namespace: &Namespace<'_>, rule: Rule<'_>) -> Told {
    let begun = Instant::now();
    let name = format!("workflow {}", case.name);
    let mut compared = Compared::default();
    if let Some(source) = CHANCE.iter().find(|source| case.manifest.contains(**source) && !case.tags.contains("varies"))
    {
        return (name, begun, Outcome::Skipped(format!("leaves its outcome to chance: {source}")), compared);
    }
    let outcome = match one(case, number, namespace, rule, &mut compared).await {
        Ok(None) => Outcome::Passed,
        Ok(Some(difference)) if difference.contains(REFUSED) => Outcome::Skipped(difference),
        Ok(Some(difference)) => match known(case, &difference, rule) {
            Some(reason) => Outcome::Skipped(format!("differs as known: {reason}")),
            None => Outcome::Failed(difference),
        },
        Err(error) => Outcome::Failed(format!("{error:#}")),
    };
    (name, begun, outcome, compared)
}

/// Why a case comes out so, where that is known.
fn known(case: &Case, difference: &str, rule: Rule<'_>) -> Option<&'static str> {
    let listed = DIFFERENT
        .iter()
        .chain(rule.different)
        .find(|(name, begins, _)| *name == case.name && difference.lines().any(|line| line.starts_with(begins)));
    listed.map(|(_, _, reason)| *reason)
}

/// A manifest as JSON.
fn read(text: &str) -> Result<Value> {
    tiphys_api::yaml::to_json(text).map_err(|error| anyhow::anyhow!("{error}"))
}

/// Whether nothing more comes of a workflow.
pub fn is_over(workflow: &Value) -> bool {
    workflow["metadata"]["labels"][COMPLETED] == "true"
}

/// Submits a workflow, follows it to its end and takes it away; gives it as it was then, and its Pods that were left.
async fn complete(namespace: &Namespace<'_>, manifest: &Value) -> Result<(Value, Vec<Value>)> {
    let name = manifest["metadata"]["name"].as_str().context("the manifest has no name")?;
    namespace.put(manifest).await?;
    let workflow = namespace.until("workflows", name, LIMIT, is_over).await;
    let pods = namespace.pods(&format!("workflows.argoproj.io%2Fworkflow%3D{name}")).await;
    namespace.remove("workflows", name).await?;
    Ok((workflow?, pods?))
}

async fn one(
    case: &Case,
    number: usize,
    namespace: &Namespace<'_>,
    rule: Rule<'_>,
    compared: &mut Compared,
) -> Result<Option<String>> {
    let mut manifest = read(&case.manifest)?;
    // Names must not meet: some manifests have one of their own.
    let metadata = &mut manifest["metadata"];
    let base = metadata["generateName"].as_str().or(metadata["name"].as_str()).unwrap_or("workflow");
    // At most 63 characters.
    let base = base.get(..56).unwrap_or(base);
    let name = format!("{}-{number}", base.trim_end_matches('-'));
    metadata["name"] = name.as_str().into();
    metadata.as_object_mut().map(|metadata| metadata.remove("generateName"));
    let (workflow, pods) = complete(namespace, &manifest).await?;
    if let Some(executor) = rule.pods {
        *compared = made::compare_all(case, &workflow, &pods, executor, &namespace.name)?;
    }
    // Messages name the namespace, which had a name of its own when the corpus was recorded.
    let workflow = serde_json::from_str(&workflow.to_string().replace(&namespace.name, RECORDED_NAMESPACE))?;
    let got = normalise(&workflow);
    let mut found = Vec::new();
    let saved = |outcome: &Value| if rule.logs { outcome.clone() } else { without_logs(outcome) };
    for expected in &case.expected {
        match difference(case, &saved(expected), &saved(&got)) {
            None => return Ok(None),
            Some(text) => found.push(text),
        }
    }
    Ok(Some(found.join("\n-- or --\n")))
}

/// An outcome as it is where no logs are saved.
fn without_logs(outcome: &Value) -> Value {
    let mut outcome = outcome.clone();
    for node in outcome["nodes"].as_object_mut().into_iter().flat_map(|nodes| nodes.values_mut()) {
        let Some(outputs) = node.get_mut("outputs").and_then(Value::as_object_mut) else { continue };
        if let Some(artifacts) = outputs.get_mut("artifacts").and_then(Value::as_array_mut) {
            artifacts.retain(|artifact| !artifact["name"].as_str().is_some_and(|name| name.ends_with("-logs")));
        }
        outputs.retain(|_, value| value != &json!([]));
        if outputs.is_empty() {
            node.as_object_mut().map(|node| node.remove("outputs"));
        }
    }
    outcome
}

/// A workflow that the corpus does not have, and what must hold when it is over.
pub struct Own {
    /// What it shows.
    pub name: &'static str,
    /// Its manifest; `{s3}` stands for the address of the S3 server.
    manifest: &'static str,
    /// The first difference to what is expected of its status.
    differs: fn(&Value) -> Option<String>,
}

/// Those workflows.
pub const OWN: [Own; 3] = [
    Own {
        name: "http templates, by the agent",
        manifest: "
kind: Workflow
metadata: {name: http}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: ask, template: ask, withSequence: {count: '3'}}]]
  - name: ask
    http: {url: 'http://{s3}/', successCondition: 'response.statusCode > 0'}
",
        differs: |status| {
            let nodes = status["nodes"].as_object().into_iter().flat_map(|nodes| nodes.values());
            let asked = nodes.filter(|node| node["type"] == "HTTP" && node["phase"] == "Succeeded").count();
            (asked != 3).then(|| format!("{asked} http nodes succeeded, expected 3"))
        },
    },
    Own {
        name: "4,000 nodes, which go out compressed",
        manifest: "
kind: Workflow
metadata: {name: large}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: pause, template: pause, withSequence: {count: '4000'}}]]
  - name: pause
    suspend: {duration: 1s}
",
        differs: |status| match (status["progress"].as_str(), status["compressedNodes"].is_string()) {
            (Some("4000/4000"), true) if status["nodes"].is_null() => None,
            found => {
                Some(format!("progress and compressed: {found:?}, and nodes beside: {}", !status["nodes"].is_null()))
            }
        },
    },
    Own {
        name: "30,000 nodes, which go into the artifact repository",
        manifest: "
kind: Workflow
metadata: {name: larger}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: pause, template: pause, withSequence: {count: '30000'}}]]
  - name: pause
    suspend: {duration: 1s}
",
        differs: |status| {
            let outside = status["offloadNodeStatusVersion"].as_str().is_some_and(|text| text.starts_with("artifact:"));
            let beside = !status["nodes"].is_null() || !status["compressedNodes"].is_null();
            (!outside || beside || status["progress"] != "30000/30000")
                .then(|| format!("outside: {outside}, nodes beside: {beside}, progress: {}", status["progress"]))
        },
    },
];

/// A workflow that is over is archived.
///
/// # Errors
/// When it is not in the archive then.
pub async fn archived(namespace: &Namespace<'_>, database: &Server) -> Result<()> {
    let manifest = read(
        "
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: kept, labels: {kept: 'yes'}}
spec:
  entrypoint: main
  templates:
  - name: main
    suspend: {duration: 0s}
",
    )?;
    namespace.put(&manifest).await?;
    let archived = |workflow: &Value| workflow["metadata"]["labels"][tiphys_archive::ARCHIVING_STATUS] == "Archived";
    namespace.until("workflows", "kept", LIMIT, archived).await?;
    let server = tiphys_archive::Server {
        host: "127.0.0.1".into(),
        port: Some(database.port),
        database: "postgres".into(),
        credentials: tiphys_archive::Credentials { user: databases::USER.into(), password: databases::PASSWORD.into() },
        encryption: tiphys_archive::Encryption::Off,
    };
    let settings = tiphys_archive::Settings {
        engine: tiphys_archive::Engine::PostgreSql(server),
        pool: tiphys_archive::PoolSize::default(),
        timeout: Duration::from_secs(10),
        reconnection: tiphys_archive::Reconnection::default(),
    };
    let database = tiphys_archive::Database::new(&settings)?;
    let archive = tiphys_archive::Archive::new(database, "default", "", &namespace.name);
    let kept = archive.by_name(&namespace.name, "kept").await?.context("it is not in the archive")?;
    anyhow::ensure!(kept.status.nodes.len() == 1 && kept.metadata.labels["kept"] == "yes", "archived as {kept:?}");
    Ok(())
}

/// Runs one of them; tells when it began, and what came of it.
pub async fn run_own(own: &Own, namespace: &Namespace<'_>, cluster: &Cluster) -> (Instant, Outcome) {
    let begun = Instant::now();
    let outcome = async {
        let manifest = own.manifest.replace("{s3}", &cluster.s3.host);
        let mut manifest = read(&manifest)?;
        manifest["apiVersion"] = "argoproj.io/v1alpha1".into();
        let (workflow, _) = complete(namespace, &manifest).await?;
        let status = &workflow["status"];
        let failed = (status["phase"] != "Succeeded").then(|| format!("{}: {}", status["phase"], status["message"]));
        Ok::<_, anyhow::Error>(failed.or_else(|| (own.differs)(status)))
    };
    match outcome.await {
        Ok(None) => (begun, Outcome::Passed),
        Ok(Some(difference)) => (begun, Outcome::Failed(difference)),
        Err(error) => (begun, Outcome::Failed(format!("{error:#}"))),
    }
}

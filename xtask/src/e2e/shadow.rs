//! `--shadow`: our own controller works, another of ours looks on with the chart's rights to read, and finds nothing; except in
//! the one workflow whose Pod is made with another image than its template says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tiphys_tests::corpus::{self, Case};

use super::api::Api;
use super::between::{Between, Change};
use super::cluster::Cluster;
use super::controller::{Controller, Furniture, Setup, furnish};
use super::namespace::Namespace;
use super::workflows::{self, is_over};
use super::{Count, Options, Outcome};
use crate::generated;
use crate::shell::{build, output};

/// What is shown.
pub const NAME: &str = "shadow: looks on while our controller works";
/// Steps, DAGs, loops, conditions, attempts, hooks, artifacts, results, a lock, a container set.
const CASES: [&str; 10] = [
    "e2e-functional-param-aggregation-0",
    "examples-artifact-passing-subpath-0",
    "examples-conditionals-0",
    "examples-container-set-template-graph-workflow-0",
    "examples-continue-on-fail-0",
    "examples-dag-diamond-0",
    "examples-exit-handlers-0",
    "examples-retry-on-error-0",
    "examples-synchronization-tmpl-level-0",
    "examples-template-defaults-0",
];
/// The workflow whose Pod is made otherwise, and the image that it is made with.
const FAULTY: &str = "faulty";
const OTHER_IMAGE: &str = "alpine";
/// The longest that all of it may take, without what is built.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs it, if it is wanted.
///
/// # Errors
/// When the cluster refuses the namespace.
pub async fn run_all(options: &Options, cluster: &Cluster, executor: &str, count: &mut Count) -> Result<()> {
    let Some(folder) = options.corpus.clone().or_else(corpus::folder) else { return Ok(()) };
    if !options.wants(NAME) {
        return Ok(());
    }
    build("tiphys-controller")?;
    let api = Api::open(&cluster.kubeconfig)?;
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let namespace = Namespace::make(&api, &format!("tiphys-e2e-{stamp}-w"), "privileged", &cluster.s3).await?;
    let begun = Instant::now();
    let outcome = match tokio::time::timeout(LIMIT, shadowed(&namespace, &api, cluster, executor, &folder)).await {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(error)) => Outcome::Failed(format!("{error:#}")),
        Err(_) => Outcome::Failed(format!("not over after {} s", LIMIT.as_secs())),
    };
    count.add(NAME, begun, &outcome);
    count.part("shadow", begun);
    if options.keep { Ok(()) } else { namespace.delete().await }
}

async fn shadowed(
    namespace: &Namespace<'_>,
    api: &Api,
    cluster: &Cluster,
    executor: &str,
    folder: &Path,
) -> Result<()> {
    furnish(namespace, cluster, folder, &Furniture { database: None, logs: true }).await?;
    let between = Between::open(api, Some(fault()))?;
    let kubeconfig = between.kubeconfig();
    let setup = Setup {
        kubeconfig: &kubeconfig,
        namespace: &namespace.name,
        executor,
        alone: true,
        // As the controller does that a shadow expects.
        arguments: &["--layout", "legacy"],
        environment: &[],
    };
    let _works = Controller::start(&setup)?;
    let place = tempfile::tempdir()?;
    let reader = reader(api, cluster, &namespace.name, place.path()).await?;
    let looks_on = Shadow::start(&reader, &namespace.name, executor)?;

    let wanted = |case: &Case| CASES.contains(&case.name.as_str());
    let cases: Vec<Case> = corpus::cases(folder).into_iter().filter(wanted).collect();
    ensure!(cases.len() == CASES.len(), "the corpus has {} of the {} cases", cases.len(), CASES.len());
    let mut names = BTreeSet::from([FAULTY.to_owned()]);
    namespace.put(&faulty()).await?;
    for (number, case) in cases.iter().enumerate() {
        let mut manifest = workflows::read(&case.manifest)?;
        let name = format!("shadowed-{number}");
        manifest["metadata"]["name"] = name.as_str().into();
        manifest["metadata"].as_object_mut().map(|metadata| metadata.remove("generateName"));
        namespace.put(&manifest).await?;
        names.insert(name);
    }
    for name in &names {
        namespace.until("workflows", name, LIMIT, is_over).await?;
    }
    let told = tokio::task::spawn_blocking(move || looks_on.ends(&names)).await??;
    for (name, line) in told {
        let found = line.split_once(": ").map_or("", |(_, found)| found);
        match name.as_str() {
            FAULTY => {
                let image = format!(".image: \"{OTHER_IMAGE}\" / \"busybox\"");
                ensure!(found.contains(&image), "another image is not told: {line}");
            }
            _ => ensure!(found.starts_with("equal"), "{line}"),
        }
    }
    Ok(())
}

fn faulty() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": FAULTY},
        "spec": {"entrypoint": "main", "templates": [
            {"name": "main", "container": {"image": "busybox", "command": ["true"]}},
        ]},
    })
}

/// On its way to the API server the faulty workflow's Pod gets another image.
fn fault() -> Change {
    Box::new(|pod| {
        if pod["metadata"]["labels"]["workflows.argoproj.io/workflow"] != FAULTY {
            return;
        }
        let containers = pod["spec"]["containers"].as_array_mut().into_iter().flatten();
        for container in containers.filter(|container| container["name"] == "main") {
            container["image"] = OTHER_IMAGE.into();
        }
    })
}

/// The account that the chart makes for a shadow, with the chart's rights; gives a kubeconfig of it.
async fn reader(api: &Api, cluster: &Cluster, namespace: &str, place: &Path) -> Result<PathBuf> {
    let mut render = generated::template(&generated::helm()?, namespace);
    render.args(["--set", "shadow=true,namespaced=true"]);
    render.args(["--show-only", "templates/rbac-shadow.yaml", "--show-only", "templates/serviceaccount.yaml"]);
    super::install::apply(cluster, namespace, &output(render)?)?;
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/tiphys/token");
    let asked = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = api.create(&path, &asked).await?;
    let token = answer["status"]["token"].as_str().context("there is no token")?;
    let mut view = Command::new("kubectl");
    view.arg("--kubeconfig").arg(&cluster.kubeconfig);
    view.args(["config", "view", "--raw", "--flatten", "--output", "json"]);
    let mut config: Value = serde_json::from_str(&output(view)?)?;
    config["users"] = json!([{"name": "reader", "user": {"token": token}}]);
    for context in config["contexts"].as_array_mut().into_iter().flatten() {
        context["context"]["user"] = "reader".into();
    }
    let path = place.join("kubeconfig");
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}

/// A controller that looks on.
struct Shadow {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Shadow {
    fn drop(&mut self) {
        // It is the child of this process alone, and keeps nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shadow {
    /// Starts it, and waits until it looks.
    fn start(kubeconfig: &Path, namespace: &str, executor: &str) -> Result<Self> {
        let mut command = Command::new(build("tiphys-controller")?);
        command.args(["--shadow", "--namespaced", "--health-port", "0", "--namespace", namespace]);
        command.args(["--executor-image", executor]);
        command.env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("tiphys-controller cannot be started")?;
        let errors = BufReader::new(child.stderr.take().context("it has no log")?);
        let (to, lines) = channel();
        std::thread::spawn(move || {
            for line in errors.lines().map_while(std::result::Result::ok) {
                // Nobody listens once all is told.
                let _ = to.send(line);
            }
        });
        let shadow = Self { child, lines };
        shadow.next(|line| line.contains("shadow started"))?;
        Ok(shadow)
    }

    /// The next line that is wanted. None may tell of a request that is not for it to make.
    fn next(&self, wanted: impl Fn(&str) -> bool) -> Result<String> {
        loop {
            let line = self.lines.recv_timeout(LIMIT).context("it tells no more")?;
            if ["is not sent", "forbidden"].iter().any(|words| line.contains(words)) {
                bail!("it asked for what it must not: {line}");
            }
            if wanted(&line) {
                return Ok(line);
            }
        }
    }

    /// What it tells of these workflows at their ends, by name.
    fn ends(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, String>> {
        let mut told = BTreeMap::new();
        while told.len() < names.len() {
            let line = self.next(|line| line.contains(": workflow "))?;
            let (_, end) = line.split_once(": workflow ").unwrap_or_default();
            let name = end.split([' ', ':', '/']).nth(1).unwrap_or_default();
            if names.contains(name) {
                told.insert(name.to_owned(), end.to_owned());
            }
        }
        Ok(told)
    }
}

//! Our executor in real Pods on a real Kubernetes: those that Argo's controller made, and our own.
//!
//! A Pod's outcome is compared with the recorded one as Argo's controller reads it: phase, message with container and exit
//! code, and the outputs in the WorkflowTaskResult.

mod api;
mod between;
mod case;
mod chaos;
mod cluster;
mod commands;
mod controller;
pub mod databases;
mod install;
mod layouts;
mod limited;
mod made;
mod namespace;
mod own;
mod recorded;
mod schedules;
mod shadow;
mod sharding;
mod shared_locks;
mod steps;
mod verdict;
mod workflows;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tiphys_podspec::Layout;
use tiphys_tests::corpus;

use crate::image;
use crate::shell::{cargo, run as run_command};
use api::Api;
use cluster::Cluster;
use namespace::Namespace;
use steps::Images;

/// Cases under way at a time.
const JOBS: usize = 6;
/// Workflows under way at a time.
const WORKFLOWS: usize = 8;
/// Which cases run once more while their controller is killed again and again.
const KILLED: [&str; 11] = [
    "e2e-functional-loops-dag-0",
    "e2e-testdata-workflow-node-sync-tracing-0",
    "examples-dag-daemon-retry-strategy-0",
    "examples-dag-diamond-steps-0",
    "examples-dag-enhanced-depends-0",
    "examples-dag-targets-0",
    "examples-exit-handler-step-level-0",
    "examples-exit-handlers-0",
    "examples-loops-arbitrary-sequential-steps-0",
    "examples-synchronization-tmpl-level-0",
    "examples-synchronization-wf-level-0",
];
/// How long it lives.
const BETWEEN_KILLS: Duration = Duration::from_secs(4);
/// The longest that the first Pod may take: its image has to be pulled.
const FIRST_POD: Duration = Duration::from_secs(120);

#[derive(Default)]
struct Options {
    only: Option<String>,
    corpus: Option<PathBuf>,
    /// The whole corpus with this layout, and nothing else.
    layout: Option<String>,
    /// All recorded Pods, instead of one case for each kind of step.
    all_recorded: bool,
    keep: bool,
    /// The images as they are shipped, instead of such that are built in less time.
    shipped: bool,
    /// Nothing begins after that.
    end: Option<Instant>,
    /// How many tests were wanted when it was too late for them.
    late: Cell<usize>,
}

impl Options {
    /// Whether what has this name is wanted, and there is time for it.
    fn wants(&self, name: &str) -> bool {
        let is_wanted = self.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
        let is_late = is_wanted && self.end.is_some_and(|end| Instant::now() > end);
        self.late.set(self.late.get() + usize::from(is_late));
        is_wanted && !is_late
    }

    fn build(&self) -> image::Build {
        if self.shipped { image::Build::Release } else { image::Build::Quick }
    }
}

/// What came of a test.
enum Outcome {
    Passed,
    Failed(String),
    /// It cannot be run here, and why.
    Skipped(String),
}

impl From<Result<()>> for Outcome {
    fn from(result: Result<()>) -> Self {
        result.err().map_or(Self::Passed, |error| Self::Failed(format!("{error:#}")))
    }
}

/// What came of all tests.
#[derive(Default)]
struct Count {
    /// Passed, failed, skipped.
    outcomes: [usize; 3],
    /// Those that passed only when they were run once more.
    again: Vec<String>,
    /// How long each part took, in seconds.
    parts: Vec<(String, f64)>,
}

impl Count {
    fn add(&mut self, name: &str, begun: Instant, outcome: &Outcome) {
        let (index, word) = match outcome {
            Outcome::Passed => (0, "ok"),
            Outcome::Failed(_) => (1, "FAILED"),
            Outcome::Skipped(_) => (2, "skipped"),
        };
        self.outcomes[index] += 1;
        println!("{word:>7} {:6.1} s  {name}", begun.elapsed().as_secs_f64());
        if let Outcome::Failed(reason) | Outcome::Skipped(reason) = outcome {
            reason.lines().for_each(|line| println!("                  {line}"));
        }
    }

    /// A part is over.
    fn part(&mut self, name: &str, begun: Instant) {
        self.parts.push((name.to_owned(), begun.elapsed().as_secs_f64()));
    }

    /// Tells how long everything took, and what came of it.
    fn end(mut self, options: &Options) -> Result<()> {
        let late = options.late.get();
        if late > 0 {
            println!("not begun within --minutes: {late} tests");
            self.outcomes[2] += late;
        }
        for (name, seconds) in &self.parts {
            println!("part {seconds:7.1} s  {name}");
        }
        self.again.iter().for_each(|name| println!("passed only the second time: {name}"));
        let [passed, failed, skipped] = self.outcomes;
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        if failed > 0 { bail!("{failed} of {} tests failed", passed + failed) } else { Ok(()) }
    }
}

/// Runs the tests.
pub fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    let mut count = Count::default();
    let begun = Instant::now();
    let cluster = Cluster::find()?;
    count.part("cluster", begun);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begun = Instant::now();
    if let Err(error) = runtime.block_on(first_pod(&cluster)) {
        println!("        the first Pod does not end, the cluster is started again: {error:#}");
        cluster.restart()?;
        runtime.block_on(first_pod(&cluster)).context("the cluster runs no Pods")?;
    }
    count.part("the first Pod", begun);
    if options.layout.is_none() {
        let begun = Instant::now();
        runtime.block_on(sharding::run_all(&options, &cluster, &mut count))?;
        runtime.block_on(limited::run_all(&options, &cluster, &mut count))?;
        count.part("shards", begun);
    }
    if options.layout.is_none() {
        let begun = Instant::now();
        runtime.block_on(shared_locks::run_all(&options, &cluster, &mut count))?;
        count.part("locks in a database", begun);
    }
    let imageless = [sharding::NAME, limited::NAME, limited::OTHERWISE, shared_locks::NAME];
    if options.only.as_ref().is_some_and(|only| imageless.iter().any(|name| name.contains(only.as_str()))) {
        // They need no image, and their names are no others'.
        return count.end(&options);
    }
    let begun = Instant::now();
    let [root, other] = image::executor(options.build())?;
    let mut images = Images {
        executor: cluster.push(&other, "executor-nonroot")?,
        scratch: cluster.push(&other, "scratch")?,
        as_volumes: false,
    };
    let executor = cluster.push(&root, "executor")?;
    count.part("the executor's images", begun);
    if let Some(layout) = &options.layout {
        let whole = layouts::run_whole(layout, &options, &cluster, &executor, &mut images, &mut count);
        runtime.block_on(whole)?;
        return count.end(&options);
    }
    if options.only.is_none() && options.wants("") {
        let begun = Instant::now();
        count.add("stores: the conformance suite on the S3 server", begun, &stores(&cluster).into());
        count.part("stores", begun);
        let begun = Instant::now();
        count.add("archive and locks: their suites on PostgreSQL and MariaDB", begun, &databases::run_tests().into());
        count.part("archive", begun);
    }
    if options.wants("chart") {
        let begun = Instant::now();
        let outcome = runtime.block_on(chart(&options, &cluster, &other));
        count.add("chart: rendered, applied, and a workflow run by what it starts", begun, &outcome.into());
        count.part("chart, with the controller's image", begun);
    }
    cluster.mend()?;
    runtime.block_on(pods(&options, &cluster, &executor, &mut images, &mut count))?;
    cluster.mend()?;
    runtime.block_on(layouts::run_chosen(&options, &cluster, &executor, &images, &mut count))?;
    cluster.mend()?;
    let begun = Instant::now();
    runtime.block_on(schedules::run_all(&options, &cluster, &executor, &mut count))?;
    count.part("schedules", begun);
    runtime.block_on(shadow::run_all(&options, &cluster, &executor, &mut count))?;
    cluster.mend()?;
    runtime.block_on(chaos::run_all(&options, &cluster, &executor, &mut count))?;
    count.end(&options)
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(name) = args.next() {
        let mut value = || args.next().with_context(|| format!("{name} needs a value"));
        match name.as_str() {
            "--only" => options.only = Some(value()?.clone()),
            "--corpus" => options.corpus = Some(value()?.into()),
            "--layout" => {
                let layout = value()?;
                if !layouts::LAYOUTS.contains(&layout.as_str()) {
                    bail!("--layout is {layout:?}: expected one of {}", layouts::LAYOUTS.join(", "));
                }
                options.layout = Some(layout.clone());
            }
            "--minutes" => {
                let minutes: u64 = value()?.parse().context("--minutes takes a number")?;
                options.end = Some(Instant::now() + Duration::from_secs(60 * minutes));
            }
            "--all-recorded" => options.all_recorded = true,
            "--keep" => options.keep = true,
            "--shipped" => options.shipped = true,
            other => bail!("unknown option {other}"),
        }
    }
    Ok(options)
}

/// A Pod that does nothing. What follows would wait for a cluster that runs none until each of its tests has taken its whole time.
async fn first_pod(cluster: &Cluster) -> Result<()> {
    let api = Api::open(&cluster.kubeconfig)?;
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let namespace = Namespace::make(&api, &format!("tiphys-e2e-{stamp}-f"), "privileged", &cluster.s3).await?;
    let container = json!({"name": "main", "image": "busybox", "command": ["true"]});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    });
    let (pod, _) = namespace.run(&pod, "none", FIRST_POD).await?;
    namespace.delete().await?;
    match pod["status"]["phase"].as_str() {
        Some("Succeeded") => Ok(()),
        _ => bail!("it ended as {}", pod["status"]),
    }
}

/// The artifact crate's own suite against the cluster's object store.
fn stores(cluster: &Cluster) -> Result<()> {
    // With the whole workspace chosen, as in `cargo test`, nothing is built anew.
    let mut command = cargo(&["test", "--workspace", "--test", "conformance", "minio"]);
    command.env("TIPHYS_TEST_S3", format!("http://{}", cluster.s3.host));
    command.env("TIPHYS_TEST_S3_ACCESS_KEY", &cluster.s3.access).env("TIPHYS_TEST_S3_SECRET_KEY", &cluster.s3.secret);
    run_command(command)
}

/// The chart, with the images of this state of the sources.
async fn chart(options: &Options, cluster: &Cluster, executor: &image::Built) -> Result<()> {
    install::rendered()?;
    let controller = cluster.push(&image::controller(options.build())?, "controller")?;
    let executor = cluster.push(executor, "executor-nonroot")?;
    let api = Api::open(&cluster.kubeconfig)?;
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    install::run(&api, cluster, &format!("tiphys-e2e-{stamp}-i"), &controller, &executor, options.keep).await
}

async fn pods(
    options: &Options,
    cluster: &Cluster,
    executor: &str,
    images: &mut Images,
    count: &mut Count,
) -> Result<()> {
    let api = Api::open(&cluster.kubeconfig)?;
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let restricted = Namespace::make(&api, &format!("tiphys-e2e-{stamp}-r"), "restricted", &cluster.s3).await?;
    images.as_volumes = steps::image_volumes(&restricted, &images.executor).await;
    let begun = Instant::now();
    for (number, step) in steps::all(images).iter().enumerate() {
        let layout = match step.layout {
            Layout::ImageVolume if images.as_volumes => "image volume",
            Layout::ImageVolume => "image volume, stood in for by a copy as this runtime mounts no images",
            _ => "legacy",
        };
        let name = format!("restricted, {layout}: {}", step.name);
        if !options.wants(&name) && step.name != steps::FIRST {
            continue;
        }
        let begun = Instant::now();
        let outcome = match step.run(&restricted, &format!("step-{number}"), images, &cluster.s3).await {
            Ok(None) => Outcome::Passed,
            Ok(Some(difference)) => Outcome::Failed(difference),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        count.add(&name, begun, &outcome);
    }
    count.part("steps of our own", begun);
    let begun = Instant::now();
    let namespace = Namespace::make(&api, &format!("tiphys-e2e-{stamp}"), "privileged", &cluster.s3).await?;
    match options.corpus.clone().or_else(corpus::folder) {
        None => count.add(
            "recorded Pods",
            Instant::now(),
            &Outcome::Skipped("no corpus: give --corpus FOLDER or set TIPHYS_CORPUS".into()),
        ),
        Some(folder) => {
            let mut cases = corpus::cases(&folder);
            if options.only.is_none() && !options.all_recorded {
                cases.retain(case::is_within_reach);
                cases = recorded::one_of_each(&cases);
            }
            cases.retain(|case| options.wants(&case.name));
            cases.sort_by(corpus::longest_first);
            let one = |(number, case)| case::run(case, number, &namespace, executor, &cluster.s3);
            let mut over = stream::iter(cases.iter().enumerate()).map(one).buffer_unordered(JOBS);
            while let Some(pods) = over.next().await {
                for (name, begun, outcome) in pods {
                    count.add(&name, begun, &outcome);
                }
            }
        }
    }
    if !options.keep {
        restricted.delete().await?;
        namespace.delete().await?;
    }
    count.part("recorded Pods", begun);
    whole(options, cluster, executor, &api, &format!("tiphys-e2e-{stamp}-c"), count).await
}

/// The corpus's workflows, by our controller. Those of which each has a kind of step that none before it has run with Pods as
/// Argo makes them, which are compared with the recorded ones; the others as the controller makes Pods by itself.
async fn whole(
    options: &Options,
    cluster: &Cluster,
    executor: &str,
    api: &Api,
    name: &str,
    count: &mut Count,
) -> Result<()> {
    let Some(folder) = options.corpus.clone().or_else(corpus::folder) else { return Ok(()) };
    let wanted = |name: &str| options.wants(&format!("workflow {name}"));
    let mut cases = corpus::cases(&folder);
    cases.retain(|case| wanted(&case.name));
    cluster.mend()?;
    let namespace = Namespace::make(api, name, "privileged", &cluster.s3).await?;
    let data = databases::folder()?;
    let database = databases::Server::postgres(&data.path().join("postgres"))?;
    let furniture = controller::Furniture { database: Some(&database), logs: true };
    controller::furnish(&namespace, cluster, &folder, &furniture).await?;
    let setup = controller::Setup {
        kubeconfig: &cluster.kubeconfig,
        namespace: name,
        executor,
        alone: true,
        // As the recorded Pods are.
        arguments: &["--layout", "legacy"],
        environment: &[],
    };
    let mut running = controller::Controller::start(&setup)?;
    let rule = workflows::Rule { logs: true, pods: Some(executor), different: &[] };
    let begun = Instant::now();
    let as_argo = if options.only.is_some() { cases.clone() } else { recorded::one_of_each(&cases) };
    workflows::run_all(&as_argo.iter().collect::<Vec<_>>(), ("", 0), rule, &namespace, count).await;
    count.part("the corpus, with Argo's Pods", begun);
    let begun = Instant::now();
    for own in own::OWN.iter().filter(|own| options.wants(own.name)) {
        let (begun, outcome) = own::run_own(own, &namespace, cluster).await;
        count.add(&format!("workflow {}", own.name), begun, &outcome);
    }
    if wanted(own::ARCHIVED) {
        let begun = Instant::now();
        let outcome = own::archived(&namespace, &database).await;
        count.add(&format!("workflow {}", own::ARCHIVED), begun, &outcome.into());
    }
    if wanted(own::ESTIMATED) {
        let begun = Instant::now();
        let outcome = own::estimated(&namespace).await;
        count.add(&format!("workflow {}", own::ESTIMATED), begun, &outcome.into());
    }
    count.part("workflows of our own", begun);
    let begun = Instant::now();
    commands::test(cluster, name, |name| options.wants(name), |name, begun, outcome| count.add(name, begun, outcome))?;
    count.part("commands", begun);
    let begun = Instant::now();
    let one = |(number, case)| workflows::run(case, number, &namespace, rule);
    let again = cases.iter().filter(|case| KILLED.contains(&case.name.as_str()));
    let again = stream::iter(again.enumerate()).map(|(number, case)| one((number + cases.len(), case)));
    let mut over = again.buffer_unordered(WORKFLOWS);
    let mut end = tokio::time::Instant::now() + BETWEEN_KILLS;
    loop {
        match tokio::time::timeout_at(end, over.next()).await {
            Ok(Some((name, begun, outcome, _))) => count.add(&format!("controller killed: {name}"), begun, &outcome),
            Ok(None) => break,
            Err(_) => {
                running.replace()?;
                end += BETWEEN_KILLS;
            }
        }
    }
    drop(over);
    count.part("the controller killed", begun);
    if !options.keep {
        namespace.delete().await?;
    }
    Ok(())
}

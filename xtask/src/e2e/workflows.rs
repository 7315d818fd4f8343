//! Whole workflows of the corpus, driven by our controller on the cluster.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tiphys_tests::corpus::{Case, longest_first};
use tiphys_tests::normalise::normalise;

use super::Outcome;
use super::made::{self, Compared};
use super::namespace::Namespace;
use super::recorded::CHANCE;
use super::{Count, WORKFLOWS};
use crate::difference::difference;

/// The longest that a workflow may take.
pub const LIMIT: Duration = Duration::from_secs(240);
/// So many that fail one after the other are no fault of their own: the others are not begun.
const GIVE_UP: usize = 2 * WORKFLOWS;
/// What is added to the numbers of workflows that are run once more: no run has so many.
const AGAIN: usize = 1000;
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

/// Runs cases, [`WORKFLOWS`] at a time, the longest first. Their names in what is printed begin with `before`, those of their
/// workflows end with a number, from `first` on. One that fails is run once more when nothing else runs: many workflows set
/// times to steps that a busy machine does not keep. The end of the run names it. When [`GIVE_UP`] have failed in a row, that is told
/// as one failure, and nothing more is run: on a cluster that is out of order each would take its whole time.
pub async fn run_all(
    cases: &[&Case],
    (before, first): (&str, usize),
    rule: Rule<'_>,
    namespace: &Namespace<'_>,
    count: &mut Count,
) {
    let mut cases = cases.to_vec();
    cases.sort_by(|one, other| longest_first(one, other));
    let one = async |(number, case)| (case, run(case, first + number, namespace, rule).await);
    let mut over = stream::iter(cases.into_iter().enumerate()).map(one).buffer_unordered(WORKFLOWS);
    let (all, mut compared) = (Instant::now(), Compared::default());
    let (mut failed, mut in_a_row) = (Vec::new(), 0);
    while let Some((case, (name, begun, outcome, pods))) = over.next().await {
        if let Outcome::Failed(difference) = outcome {
            let lines: String = difference.lines().map(|line| format!("\n                  {line}")).collect();
            println!("  again {:6.1} s  {before}{name}{lines}", begun.elapsed().as_secs_f64());
            failed.push(case);
            in_a_row += 1;
            if in_a_row == GIVE_UP {
                let reason = format!("{GIVE_UP} workflows failed one after the other: what is left is not run");
                count.add(&format!("{before}the corpus"), all, &Outcome::Failed(reason));
                return;
            }
            continue;
        }
        in_a_row = 0;
        count.add(&format!("{before}{name}"), begun, &outcome);
        compared.add(pods);
    }
    for (number, case) in failed.into_iter().enumerate() {
        let (name, begun, outcome, pods) = run(case, first + number + AGAIN, namespace, rule).await;
        let name = format!("{before}{name}");
        count.add(&name, begun, &outcome);
        compared.add(pods);
        if matches!(outcome, Outcome::Passed) {
            count.again.push(name);
        }
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
///
/// # Errors
/// When it is no YAML.
pub fn read(text: &str) -> Result<Value> {
    tiphys_api::yaml::to_json(text).map_err(|error| anyhow::anyhow!("{error}"))
}

/// Whether nothing more comes of a workflow.
pub fn is_over(workflow: &Value) -> bool {
    workflow["metadata"]["labels"][COMPLETED] == "true"
}

/// Submits a workflow, follows it to its end and takes it away; gives it as it was then, and its Pods that were left.
///
/// # Errors
/// When the cluster refuses, or it does not end in time.
pub async fn complete(namespace: &Namespace<'_>, manifest: &Value) -> Result<(Value, Vec<Value>)> {
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

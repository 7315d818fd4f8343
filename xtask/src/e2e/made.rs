//! The Pods that our controller made, beside those that Argo's made of the same workflows.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tiphys_contract::{env, label};
use tiphys_podspec::compare::{as_recorded, compare};
use tiphys_tests::corpus::Case;
use tiphys_tests::normalise::scrub;

/// The executor of the recorded Pods.
const RECORDED_EXECUTOR: &str = "quay.io/argoproj/argoexec:v4.1.2";

/// Differences in all Pods: how the place begins and ends, and why. docs/conformance-kubernetes.md has the same.
const EVERYWHERE: &[(&str, &str, &str)] = &[];

/// Differences in the Pods of one case: which, how the place begins, and why.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("e2e-expectedfailures-exit-handlers-0", ".spec", "it prints how long the workflow took"),
    ("e2e-testdata-progress-workflow-0", ".annotations", TOLD),
    ("e2e-testdata-sidecar-workflow-0", ".spec.containers[1]", "the tests' configuration names the image's entrypoint"),
    ("e2e-testdata-workflow-retry-metrics-0", ".spec.initContainers[0].env[5].value.metrics", EMITTED),
    ("examples-exit-handlers-0", ".spec", "it prints how long the workflow took"),
];
const EMITTED: &str =
    "Argo puts the last attempt's values into the template of which the next one is made, when it emits its metrics";
const TOLD: &str = "what our executor tells by annotations";

/// By how many seconds a machine may be faster or slower than the one of the record.
const SLACK: u64 = 10;

/// What came of comparing.
#[derive(Default)]
pub struct Compared {
    /// Pods that are equal.
    pub same: usize,
    /// Recorded Pods without one of ours: taken away by the time, or never made.
    pub absent: usize,
    /// Where others differ.
    pub different: Vec<String>,
}

impl Compared {
    /// Takes in what came of another case.
    pub fn add(&mut self, other: Compared) {
        self.same += other.same;
        self.absent += other.absent;
        self.different.extend(other.different);
    }
}

/// Compares a case's Pods with those of the workflow that was made of it. `namespace` is the one that it ran in.
///
/// # Errors
/// When the recording cannot be read.
pub fn compare_all(case: &Case, workflow: &Value, pods: &[Value], executor: &str, namespace: &str) -> Result<Compared> {
    let mut compared = Compared::default();
    // Chance decides which Pods there are, and what is in them.
    if case.tags.contains("varies") {
        return Ok(compared);
    }
    let text = std::fs::read_to_string(case.path.join("pods.json")).unwrap_or_else(|_| "[]".into());
    let recorded: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("pods.json of {}", case.name))?;
    let node = |pod: &Value| pod["annotations"][label::NODE_NAME].as_str().map(str::to_owned);
    let ours = pods.iter().map(|pod| without_ours(scrub(workflow, &as_recorded(pod)), executor, namespace));
    let ours: BTreeMap<String, Value> = ours.filter_map(|pod| Some((node(&pod)?, pod))).collect();
    for theirs in &recorded {
        // Pods that collect artifacts are no node's.
        let Some(name) = node(theirs) else { continue };
        let Some(ours) = ours.get(&name) else {
            compared.absent += 1;
            continue;
        };
        let found = compare(theirs, &with_time_left(ours, theirs));
        let found: Vec<_> = found.into_iter().filter(|(at, _)| reason(&case.name, at).is_none()).collect();
        match found.is_empty() {
            true => compared.same += 1,
            false => compared
                .different
                .extend(found.iter().map(|(at, difference)| format!("{} {name} {at}: {difference}", case.name))),
        }
    }
    Ok(compared)
}

/// What is left of a workflow's deadline when a Pod is made is less where everything before it took longer.
fn with_time_left(ours: &Value, theirs: &Value) -> Value {
    let mut ours = ours.clone();
    let left = |pod: &Value| pod["spec"]["activeDeadlineSeconds"].as_u64();
    if let (Some(here), Some(there)) = (left(&ours), left(theirs))
        && here.abs_diff(there) <= SLACK
    {
        ours["spec"]["activeDeadlineSeconds"] = there.into();
    }
    ours
}

fn reason(case: &str, at: &str) -> Option<&'static str> {
    let everywhere = EVERYWHERE.iter().find(|(begins, ends, _)| at.starts_with(begins) && at.ends_with(ends));
    let here = || DIFFERENT.iter().find(|(name, begins, _)| *name == case && at.starts_with(begins));
    everywhere.map(|(_, _, why)| *why).or_else(|| here().map(|(_, _, why)| *why))
}

/// Without what the tests bring, the image and the namespace's name, and without the variable that tells our executor where
/// to deliver results.
fn without_ours(pod: Value, executor: &str, namespace: &str) -> Value {
    let text = pod.to_string().replace(executor, RECORDED_EXECUTOR).replace(namespace, "argo");
    let mut pod: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({}));
    for list in ["containers", "initContainers"] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) {
                variables.retain(|variable| variable["name"] != env::RESULT_SINK);
            }
        }
    }
    pod
}

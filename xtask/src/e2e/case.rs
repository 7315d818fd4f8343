//! A recorded case's Pods, one after the other as their artifacts need it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use tiphys_tests::corpus::Case;

use super::Outcome;
use super::cluster::S3;
use super::namespace::Namespace;
use super::recorded::{Names, Recorded, pods};
use super::verdict::{Ended, compare};

/// The longest that a Pod may take.
const LIMIT: Duration = Duration::from_secs(180);
/// What a case must not need: chance, other networks, controllers, other nodes' Pods, what other Pods left.
const OTHERS: [&str; 6] = ["varies", "network", "agent", "data", "daemon", "kubernetes"];

/// Where a case comes out better than it was recorded: the case, and where in its nodes.
const BETTER: [(&str, &str); 1] = [
    // Argo loses the log of a main container that ran out of memory.
    ("e2e-expectedfailures-oom-kill-0", "/outputs/artifacts: expected null"),
];

/// A Pod's name in what is printed, when it was begun, and what came of it.
type Told = (String, Instant, Outcome);

/// Whether the case's Pods can be run by themselves.
pub fn is_within_reach(case: &Case) -> bool {
    !OTHERS.iter().any(|tag| case.tags.contains(*tag))
}

/// Runs the case's Pods.
pub async fn run(case: &Case, number: usize, namespace: &Namespace<'_>, image: &str, s3: &S3) -> Vec<Told> {
    if let Some(tag) = OTHERS.iter().find(|tag| case.tags.contains(**tag)) {
        return vec![(case.name.clone(), Instant::now(), Outcome::Skipped(format!("tagged {tag}")))];
    }
    let workflow = format!("case-{number}");
    let begun = Instant::now();
    let failed = |error: anyhow::Error| vec![(case.name.clone(), begun, Outcome::Failed(format!("{error:#}")))];
    let uid = match namespace.workflow(&workflow).await {
        Ok(uid) => uid,
        Err(error) => return failed(error),
    };
    let recorded = match pods(case, &Names { workflow: &workflow, uid: &uid, image, s3 }) {
        Ok(recorded) => recorded,
        Err(error) => return failed(error),
    };
    let mut told = Vec::new();
    let mut left = Vec::new();
    for pod in recorded {
        match pod {
            Ok(pod) => left.push(pod),
            Err(reason) => told.push((case.name.clone(), Instant::now(), Outcome::Skipped(reason))),
        }
    }
    let mut there = BTreeSet::new();
    while !left.is_empty() {
        let begun = Instant::now();
        let Some(next) = left.iter().position(|pod| has_all(pod, &there)) else {
            let reason = "its input was made by a Pod that is not recorded, or that failed";
            let name = |pod: &Recorded| format!("{} {}", case.name, pod.node);
            told.extend(left.iter().map(|pod| (name(pod), begun, Outcome::Skipped(reason.into()))));
            break;
        };
        let pod = left.remove(next);
        let outcome = one(case, &workflow, &uid, &pod, namespace).await;
        if matches!(outcome, Outcome::Passed) {
            there.extend(pod.makes);
        }
        told.push((format!("{} {}", case.name, pod.node), begun, outcome));
    }
    told
}

/// Whether the inputs are there: objects themselves, or in directories that are.
fn has_all(pod: &Recorded, there: &BTreeSet<String>) -> bool {
    let within = |key: &str, made: &String| key.strip_prefix(made.as_str()).is_some_and(|rest| rest.starts_with('/'));
    pod.needs.iter().all(|key| there.contains(key) || there.iter().any(|made| within(key, made)))
}

async fn one(case: &Case, workflow: &str, uid: &str, recorded: &Recorded, namespace: &Namespace<'_>) -> Outcome {
    let expected: Vec<&Value> = case.expected.iter().map(|expected| &expected["nodes"][&recorded.node]).collect();
    if let Some(reason) = expected.iter().find_map(|node| why_not(node)) {
        return Outcome::Skipped(reason);
    }
    let (pod, result) = match namespace.run(&recorded.pod, &recorded.node_id, LIMIT).await {
        Ok(over) => over,
        Err(error) => return Outcome::Failed(format!("{error:#}")),
    };
    let (node, id) = (&recorded.node, &recorded.node_id);
    let ended = Ended { workflow, uid, id, node, pod: &pod, result: result.as_ref() };
    let mut found = Vec::new();
    for expected in expected {
        match compare(&ended, expected) {
            None => return Outcome::Passed,
            Some(difference) if BETTER.iter().any(|(name, at)| *name == case.name && difference.starts_with(at)) => {
                return Outcome::Passed;
            }
            Some(difference) => found.push(difference),
        }
    }
    Outcome::Failed(found.join("\n-- or --\n"))
}

/// Why no Pod comes to this outcome by itself.
fn why_not(node: &Value) -> Option<String> {
    let message = node["message"].as_str().unwrap_or_default();
    match (node["phase"].as_str(), message) {
        (Some("Succeeded"), _) => None,
        (Some("Failed" | "Error"), message) if message.contains("(exit code") => None,
        (Some("Failed" | "Error"), message) if message.starts_with("Pod was active") => None,
        (phase, message) => Some(format!("the controller decided it: {} {message}", phase.unwrap_or("no phase"))),
    }
}

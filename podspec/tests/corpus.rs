//! Rebuilds every Pod of the corpus, where it is at hand, from what was recorded of it: the template that it carries, the
//! workflow's spec, the configuration that the corpus describes. Each Pod must come out as Argo's controller made it.

#![allow(clippy::unwrap_used)] // Helpers of tests are not seen as tests.

mod recorded;

use serde_json::{Value, json};
use tiphys_podspec::compare::compare;

use recorded::{Case, Corpus};

/// Differences that are no mistake: the case, where in the Pod, and why. Besides these, `tiphys_podspec::compare` makes equal
/// what the API server adds and what the record has scrubbed.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("examples-k8s-patch-json-pod-0", ".annotations.foo", "a later step of the workflow put it there"),
    ("examples-k8s-patch-merge-pod-0", ".annotations.foo", "a later step of the workflow put it there"),
    (
        "e2e-functional-dag-skipped-volume-default-0",
        ".spec.volumes[2].configMap.name",
        "the value comes from the scope of a task, which the engine substitutes and the record does not hold",
    ),
];

#[test]
fn pods_are_as_argo_made_them() {
    let Some(corpus) = Corpus::find() else { return };
    let mut wrong = Vec::new();
    let mut collectors = 0;
    let mut same = 0;
    for case in corpus.cases() {
        for pod in &case.pods {
            // A Pod that collects artifacts runs no template.
            if pod["labels"]["workflows.argoproj.io/component"] == "artifact-gc" {
                collectors += 1;
                continue;
            }
            match differences(&corpus, &case, pod) {
                Ok(differences) if differences.is_empty() => same += 1,
                Ok(differences) => wrong.push(format!("{}\n    {}", case.name, differences.join("\n    "))),
                Err(reason) => wrong.push(format!("{}\n    no Pod: {reason}", case.name)),
            }
        }
    }
    println!("{same} Pods are the same, {} differ, {collectors} collect artifacts", wrong.len());
    assert!(wrong.is_empty(), "{} Pods differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(same > 500, "only {same} Pods were compared");
}

fn differences(corpus: &Corpus, case: &Case, pod: &Value) -> Result<Vec<String>, String> {
    let ours = corpus.build(case, pod)?;
    let found = compare(pod, &json!({"labels": ours.labels, "annotations": ours.annotations, "spec": ours.spec}));
    let allowed = |at: &str| ALLOWED.iter().any(|(name, path, _)| *name == case.name && *path == at);
    Ok(found.into_iter().filter(|(at, _)| !allowed(at)).map(|(at, difference)| format!("{at}: {difference}")).collect())
}

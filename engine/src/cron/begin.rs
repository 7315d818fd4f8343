//! One run: whether it is made, and the workflow that it is. argo: workflow/cron/operator.go, run, enforceRuntimePolicy.

use jiff::Timestamp;
use serde_json::{Value, json};
use tiphys_api::{CronWorkflow, ObjectMeta, Time, Workflow};

use super::children::Child;
use super::status::{SPEC_ERROR, SUBMISSION_ERROR, is_stopped, set_condition, stop_if_due};
use super::timetable::Timetable;
use super::variables;
use crate::estimate::CRON_WORKFLOW;

/// Annotation of a run: when it was due.
pub(super) const SCHEDULED_TIME: &str = "workflows.argoproj.io/scheduled-time";
const API_VERSION: &str = "argoproj.io/v1alpha1";
/// Labels of the CronWorkflow that its runs have as well. argo: workflow/common/convert.go.
const PASSED_ON: [&str; 4] = [
    "workflows.argoproj.io/controller-instanceid",
    "workflows.argoproj.io/creator",
    "workflows.argoproj.io/creator-email",
    "workflows.argoproj.io/creator-preferred-username",
];

/// What becomes of a run that is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is not made. Where the reason may pass, it is looked at again for as long as `startingDeadlineSeconds` allows.
    Skip {
        /// Why, for the log.
        reason: String,
        /// Whether trying again could come out otherwise without a change of the spec.
        settled: bool,
        /// Whether it is `concurrencyPolicy: Forbid` that keeps it from being made.
        forbidden: bool,
    },
    /// It is made.
    Run {
        /// Workflows that are terminated first, by name.
        replaces: Vec<String>,
        /// What is made.
        workflow: Box<Workflow>,
    },
}

/// Decides about a run. What the status has to say of that is put into the object.
///
/// `problem` is what validation says of it.
pub fn begin(cron: &mut CronWorkflow, table: &Timetable, at: Timestamp, problem: Option<&str>) -> Verdict {
    let skip = |reason: &str, settled| Verdict::Skip { reason: reason.to_owned(), settled, forbidden: false };
    table.note(cron);
    found(cron, problem);
    if problem.is_some() {
        return skip("the spec is wrong", true);
    }
    if !stop_if_due(cron) {
        return skip("its stop strategy cannot be evaluated", true);
    }
    if cron.spec.suspend {
        return skip("it is suspended", false);
    }
    if is_stopped(cron) {
        return skip("its stop strategy has ended it", true);
    }
    match variables::holds(cron) {
        Ok(true) => {}
        Ok(false) => return skip("its condition does not hold", false),
        Err(reason) => {
            refused(cron, &format!("run policy error: {reason}"));
            return skip("its condition cannot be evaluated", true);
        }
    }
    let active = cron.status.active.iter().filter_map(|one| one["name"].as_str()).map(str::to_owned);
    let replaces = match cron.spec.concurrency_policy.as_str() {
        "Forbid" if !cron.status.active.is_empty() => {
            let reason = "'ConcurrencyPolicy: Forbid' and a run is active".to_owned();
            return Verdict::Skip { reason, settled: false, forbidden: true };
        }
        "Replace" => active.collect(),
        _ => Vec::new(),
    };
    Verdict::Run { replaces, workflow: Box::new(run(cron, at)) }
}

/// Validation has found a problem, or none.
pub fn found(cron: &mut CronWorkflow, problem: Option<&str>) {
    set_condition(cron, SPEC_ERROR, problem.map(str::to_owned));
}

/// The name of the run that is due then.
pub fn run_name(cron: &str, at: Timestamp) -> String {
    format!("{cron}-{}", at.as_second())
}

/// The workflow of the run that is due then.
fn run(cron: &CronWorkflow, at: Timestamp) -> Workflow {
    let from = &cron.metadata;
    let mut metadata =
        ObjectMeta { name: run_name(&from.name, at), namespace: from.namespace.clone(), ..ObjectMeta::default() };
    for label in PASSED_ON {
        if let Some(value) = from.labels.get(label) {
            metadata.labels.insert(label.into(), value.clone());
        }
    }
    metadata.labels.insert(CRON_WORKFLOW.into(), from.name.clone());
    metadata.annotations.insert(SCHEDULED_TIME.into(), Time(at).to_string());
    if let Some(given) = &cron.spec.workflow_metadata {
        metadata.labels.extend(given.labels.clone());
        metadata.annotations.extend(given.annotations.clone());
        metadata.finalizers.clone_from(&given.finalizers);
    }
    metadata.owner_references.push(json!({
        "apiVersion": API_VERSION, "kind": "CronWorkflow", "name": from.name, "uid": from.uid,
        "controller": true, "blockOwnerDeletion": true,
    }));
    Workflow {
        api_version: API_VERSION.into(),
        kind: "Workflow".into(),
        metadata,
        spec: cron.spec.workflow_spec.clone(),
        ..Workflow::default()
    }
}

/// A run was made, or is there already.
pub fn started(cron: &mut CronWorkflow, at: Timestamp, child: Option<&Child>) {
    if let Some(child) = child
        && !is_active(cron, &child.uid)
    {
        cron.status.active.push(reference(cron, child));
    }
    cron.status.phase = "Active".into();
    cron.status.last_scheduled_time = Some(Time(at));
    set_condition(cron, SUBMISSION_ERROR, None);
}

/// A run could not be made.
pub fn refused(cron: &mut CronWorkflow, message: &str) {
    set_condition(cron, SUBMISSION_ERROR, Some(message.to_owned()));
    cron.status.failed += 1;
}

pub(super) fn is_active(cron: &CronWorkflow, uid: &str) -> bool {
    cron.status.active.iter().any(|one| one["uid"] == uid)
}

pub(super) fn reference(cron: &CronWorkflow, child: &Child) -> Value {
    json!({
        "kind": "Workflow", "apiVersion": API_VERSION, "name": child.name, "namespace": cron.metadata.namespace,
        "uid": child.uid, "resourceVersion": child.version,
    })
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn decide(spec: Value, status: Value, problem: Option<&str>) -> (CronWorkflow, Verdict) {
        let mut cron: CronWorkflow = serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "n", "uid": "u", "labels": {
                "workflows.argoproj.io/creator": "me", "workflows.argoproj.io/controller-instanceid": "i", "mine": "x"}},
            "spec": spec, "status": status,
        }))
        .unwrap();
        cron.spec.schedules = vec!["* * * * *".into()];
        let table = Timetable::of(&cron.spec, &TimeZone::UTC).unwrap();
        let verdict = begin(&mut cron, &table, Timestamp::from_second(60).unwrap(), problem);
        assert!(!table.is_new(&cron));
        (cron, verdict)
    }

    fn reason(verdict: &Verdict) -> (&str, bool) {
        let Verdict::Skip { reason, settled, .. } = verdict else { panic!("{verdict:?}") };
        (reason, *settled)
    }

    #[test]
    fn a_run_is_a_workflow_by_its_time() {
        let metadata = json!({"labels": {"l": "1"}, "annotations": {"a": "2"}, "finalizers": ["f"]});
        let (_, verdict) =
            decide(json!({"workflowMetadata": metadata, "workflowSpec": {"entrypoint": "main"}}), json!({}), None);
        let Verdict::Run { replaces, workflow } = verdict else { panic!("{verdict:?}") };
        assert!(replaces.is_empty());
        let expected = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": {"entrypoint": "main"},
            "metadata": {
                "name": "c-60", "namespace": "n", "finalizers": ["f"],
                "labels": {"workflows.argoproj.io/cron-workflow": "c", "workflows.argoproj.io/creator": "me",
                    "workflows.argoproj.io/controller-instanceid": "i", "l": "1"},
                "annotations": {"workflows.argoproj.io/scheduled-time": "1970-01-01T00:01:00Z", "a": "2"},
                "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "CronWorkflow", "name": "c", "uid": "u",
                    "controller": true, "blockOwnerDeletion": true}],
            },
        });
        assert_eq!(serde_json::to_value(&workflow).unwrap(), expected);
    }

    #[test]
    fn policies() {
        let active = json!({"active": [{"name": "c-1", "uid": "a"}]});
        let of = |policy: &str| decide(json!({"concurrencyPolicy": policy}), active.clone(), None).1;
        assert_eq!(reason(&of("Forbid")), ("'ConcurrencyPolicy: Forbid' and a run is active", false));
        for (policy, names) in [("", [].as_slice()), ("Allow", &[]), ("Replace", &["c-1"])] {
            let Verdict::Run { replaces, .. } = of(policy) else { panic!("{policy}") };
            assert_eq!(replaces, names, "{policy}");
        }
        assert_eq!(reason(&decide(json!({"suspend": true}), json!({}), None).1), ("it is suspended", false));
        assert!(!reason(&decide(json!({"when": "1 == 2"}), json!({}), None).1).1);
        assert!(reason(&decide(json!({}), json!({"phase": "Stopped"}), None).1).1);
    }

    #[test]
    fn errors_are_conditions() {
        let (cron, verdict) = decide(json!({}), json!({}), Some("no entrypoint"));
        assert_eq!((reason(&verdict).1, cron.status.failed), (true, 0));
        assert_eq!(
            (cron.status.conditions[0].r#type.as_str(), cron.status.conditions[0].message.as_str()),
            ("SpecError", "no entrypoint")
        );
        let (cron, _) = decide(json!({"when": "{{x}}"}), json!({}), None);
        assert_eq!(cron.status.failed, 1);
        assert_eq!(cron.status.conditions[0].r#type, "SubmissionError");
        assert_eq!(cron.status.conditions[0].message, "run policy error: failed to resolve {{x}}");
        let (cron, _) =
            decide(json!({"stopStrategy": {"expression": "cronworkflow.failed >= 3"}}), json!({"failed": 3}), None);
        assert!(is_stopped(&cron) && cron.metadata.labels["cronworkflows.argoproj.io/completed"] == "true");
    }

    #[test]
    fn what_was_made_is_written() {
        let (before, _) = decide(json!({}), json!({"conditions": [{"type": "SubmissionError"}]}), None);
        let mut after = before.clone();
        let child = Child { name: "c-60".into(), uid: "k".into(), version: "7".into(), ..Child::default() };
        started(&mut after, Timestamp::from_second(60).unwrap(), Some(&child));
        started(&mut after, Timestamp::from_second(60).unwrap(), Some(&child));
        let reference = json!({"kind": "Workflow", "apiVersion": "argoproj.io/v1alpha1", "name": "c-60", "namespace": "n",
            "uid": "k", "resourceVersion": "7"});
        assert_eq!(
            super::super::changes(&before, &after),
            Some(
                json!({"status": {"active": [reference], "lastScheduledTime": "1970-01-01T00:01:00Z", "conditions": [],
                "succeeded": 0, "failed": 0, "phase": "Active"}})
            )
        );
        assert_eq!(super::super::changes(&after, &after), None);
    }
}

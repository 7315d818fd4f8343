//! The workflows of a CronWorkflow: which are active, how many ended how, and which have to go.
//! argo: workflow/cron/operator.go, reconcileActiveWfs, enforceHistoryLimit.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tiphys_api::{CronWorkflow, Time, WorkflowPhase};

use super::begin::{SCHEDULED_TIME, is_active, reference, run_name, started};
use super::status::stop_if_due;
use crate::estimate::CRON_WORKFLOW;

/// How many runs are kept where the spec does not say: of those that succeeded, and of the others.
const KEPT: (i64, i64) = (3, 1);
/// Label: a workflow's phase.
const PHASE: &str = "workflows.argoproj.io/phase";

/// A workflow that a CronWorkflow owns, as its metadata tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Child {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The version in which it was seen.
    pub version: String,
    /// Its phase.
    pub phase: WorkflowPhase,
    /// The CronWorkflow that its label names.
    pub of: String,
    /// When it was due.
    pub scheduled: Option<Timestamp>,
    /// When it ended, where that is known.
    pub finished: Option<Time>,
}

impl Child {
    /// By its metadata.
    pub fn of(
        (name, uid, version): (String, String, String),
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
    ) -> Child {
        let phase = labels.get(PHASE).and_then(|word| serde_json::from_value(word.as_str().into()).ok());
        Child {
            name,
            uid,
            version,
            phase: phase.unwrap_or_default(),
            of: labels.get(CRON_WORKFLOW).cloned().unwrap_or_default(),
            scheduled: annotations.get(SCHEDULED_TIME).and_then(|text| text.parse().ok()),
            finished: None,
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, WorkflowPhase::Succeeded | WorkflowPhase::Failed | WorkflowPhase::Error)
    }

    /// The moment of the schedule that it was made for, and not by hand.
    fn run_of(&self, cron: &CronWorkflow) -> Option<Timestamp> {
        self.scheduled.filter(|at| run_name(&cron.metadata.name, *at) == self.name)
    }
}

/// Brings the status to what is there: who is active, how many ended how. A run that was made by a driver that was killed before
/// it could write so is written now.
pub fn reconcile<'c>(cron: &mut CronWorkflow, children: impl Iterator<Item = &'c Child> + Clone) {
    let recorded = cron.status.last_scheduled_time.map(|time| time.0);
    let mut ended = Vec::new();
    for child in children.clone() {
        let run = child.run_of(cron).filter(|at| recorded.is_none_or(|last| *at > last));
        if let Some(at) = run {
            started(cron, at.max(cron.status.last_scheduled_time.map_or(at, |last| last.0)), None);
        }
        let active = is_active(cron, &child.uid);
        if !active && !child.is_over() {
            let reference = reference(cron, child);
            cron.status.active.push(reference);
        } else if child.is_over() && (active || run.is_some()) {
            ended.push(child.phase);
        }
    }
    let open = |uid: &str| children.clone().any(|child| child.uid == uid && !child.is_over());
    cron.status.active.retain(|one| one["uid"].as_str().is_some_and(open));
    for phase in ended {
        match phase {
            WorkflowPhase::Succeeded => cron.status.succeeded += 1,
            _ => cron.status.failed += 1,
        }
        stop_if_due(cron);
    }
}

/// Runs of which too many are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surplus {
    /// Names and uids of those that have to go.
    pub delete: Vec<(String, String)>,
    /// Uids of those of which it has to be known when they ended, before it can be told which have to go.
    pub unknown: Vec<String>,
}

/// Which runs go: those that ended first.
pub fn surplus<'c>(cron: &CronWorkflow, children: impl Iterator<Item = &'c Child>) -> Surplus {
    let over = children.filter(|child| child.is_over() && child.of == cron.metadata.name);
    let (succeeded, failed): (Vec<&Child>, Vec<&Child>) =
        over.partition(|child| child.phase == WorkflowPhase::Succeeded);
    let limit = |given: Option<i64>, usual| given.filter(|limit| *limit >= 0).unwrap_or(usual);
    let mut surplus = Surplus::default();
    for (mut over, limit) in [
        (succeeded, limit(cron.spec.successful_jobs_history_limit, KEPT.0)),
        (failed, limit(cron.spec.failed_jobs_history_limit, KEPT.1)),
    ] {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if over.len() <= limit {
            continue;
        }
        let unknown = over.iter().filter(|child| limit > 0 && child.finished.is_none()).map(|child| child.uid.clone());
        let unknown: Vec<String> = unknown.collect();
        if !unknown.is_empty() {
            surplus.unknown.extend(unknown);
            continue;
        }
        over.sort_by(|one, other| (other.finished, &other.name).cmp(&(one.finished, &one.name)));
        surplus.delete.extend(over.iter().skip(limit).map(|child| (child.name.clone(), child.uid.clone())));
    }
    surplus
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cron(spec: Value, status: Value) -> CronWorkflow {
        serde_json::from_value(json!({"metadata": {"name": "c", "namespace": "n"}, "spec": spec, "status": status}))
            .unwrap()
    }

    fn child(name: &str, phase: WorkflowPhase, finished: i64) -> Child {
        let seconds = name.rsplit('-').next().and_then(|text| text.parse().ok());
        Child {
            name: name.into(),
            uid: format!("uid-{name}"),
            phase,
            of: "c".into(),
            scheduled: seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            finished: (finished > 0).then(|| Time::from_second(finished)),
            ..Child::default()
        }
    }

    fn active(cron: &CronWorkflow) -> Vec<&str> {
        cron.status.active.iter().map(|one| one["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn the_status_follows_what_is_there() {
        let reference = |name: &str| json!({"name": name, "uid": format!("uid-{name}")});
        let status = json!({"lastScheduledTime": "1970-01-01T00:03:00Z", "succeeded": 1,
            "active": [reference("c-60"), reference("c-120"), reference("c-180"), reference("gone")]});
        let mut cron = cron(json!({"stopStrategy": {"expression": "cronworkflow.failed == 1"}}), status);
        let children = [
            child("c-60", WorkflowPhase::Succeeded, 70),
            child("c-120", WorkflowPhase::Running, 0),
            child("c-180", WorkflowPhase::Error, 190),
            child("by-hand-240", WorkflowPhase::Pending, 0),
            child("by-hand-300", WorkflowPhase::Succeeded, 310),
            child("c-1", WorkflowPhase::Succeeded, 2),
        ];
        reconcile(&mut cron, children.iter());
        assert_eq!(active(&cron), ["c-120", "by-hand-240"]);
        assert_eq!((cron.status.succeeded, cron.status.failed, cron.status.phase.as_str()), (2, 1, "Stopped"));
        assert_eq!(cron.status.last_scheduled_time, Some(Time::from_second(180)));
        let again = cron.clone();
        reconcile(&mut cron, children.iter());
        assert_eq!(cron, again);
    }

    #[test]
    fn a_run_that_was_never_written_is_found() {
        let mut cron = cron(json!({}), json!({"lastScheduledTime": "1970-01-01T00:01:00Z"}));
        let children = [child("c-180", WorkflowPhase::Running, 0), child("c-120", WorkflowPhase::Failed, 130)];
        reconcile(&mut cron, children.iter());
        assert_eq!(active(&cron), ["c-180"]);
        assert_eq!((cron.status.failed, cron.status.last_scheduled_time), (1, Some(Time::from_second(180))));
    }

    #[test]
    fn those_that_ended_first_go() {
        let children = [
            child("c-1", WorkflowPhase::Succeeded, 50),
            child("c-2", WorkflowPhase::Succeeded, 20),
            child("c-3", WorkflowPhase::Succeeded, 30),
            child("c-4", WorkflowPhase::Failed, 40),
            child("c-5", WorkflowPhase::Error, 45),
            child("c-6", WorkflowPhase::Running, 0),
        ];
        let names = |spec: Value, children: &[Child]| {
            let surplus = surplus(&cron(spec, json!({})), children.iter());
            (surplus.delete.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), surplus.unknown)
        };
        assert_eq!(names(json!({}), &children), (vec!["c-4".to_string()], vec![]));
        let limits = json!({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 5});
        assert_eq!(names(limits.clone(), &children).0, ["c-3", "c-2"]);
        let mut children = children;
        children[0].finished = None;
        assert_eq!(names(limits, &children), (vec![], vec!["uid-c-1".to_string()]));
        assert_eq!(names(json!({"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 9}), &children).0.len(), 3);
    }
}

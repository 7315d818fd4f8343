//! Workflows on a schedule. argo: validate.go, CronWorkflow.

use std::collections::{BTreeMap, HashSet};

use jiff::tz::TimeZone;
use tiphys_api::CronWorkflow;

use super::report::{Outcome, Place, Problem, Report};
use super::scope::Globals;
use super::spec::Subject;
use super::template::Validation;
use super::{Options, Templates};
use crate::cron::{Schedule, time_zone};
use crate::estimate::CRON_WORKFLOW;

/// Longest name: the workflows' names are it and a time, and are labels.
const LONGEST_NAME: usize = 52;

/// The problems of a cron workflow.
pub(super) fn problems(cron: &CronWorkflow, lookup: &dyn Templates, report: Report) -> Vec<Problem> {
    let mut validation =
        Validation { lookup, report, globals: Globals::default(), of_template: false, checked: HashSet::new() };
    // Stopping early is how the first problem ends the validation; the problem is in the report.
    let _stopped = check(cron, &mut validation);
    validation.report.into_problems()
}

fn check(cron: &CronWorkflow, validation: &mut Validation<'_>) -> Outcome {
    let spec = Place { path: "spec".to_string(), ..Place::default() };
    let (report, name) = (&mut validation.report, &cron.metadata.name);
    if name.len() > LONGEST_NAME {
        let length = name.len();
        let message =
            format!("cron workflow name {name:?} must not be more than 52 characters long (currently {length})");
        report.error(&Place::default().below("metadata.name"), message)?;
    }
    if cron.spec.schedules.is_empty() {
        report.error(&spec.below(".schedules"), "cron workflow must have at least one schedule")?;
    }
    for (index, schedule) in cron.spec.schedules.iter().enumerate() {
        if let Err(wrong) = Schedule::parse(schedule, &TimeZone::UTC) {
            let place = spec.below(format_args!(".schedules[{index}]"));
            report.error(&place, format!("cron schedule {schedule} is malformed: {wrong}"))?;
        }
    }
    if let Err(wrong) = time_zone(&cron.spec.timezone, &TimeZone::UTC) {
        let message = format!("invalid timezone {:?}: {wrong}", cron.spec.timezone);
        report.error(&spec.below(".timezone"), message)?;
    }
    let policy = &cron.spec.concurrency_policy;
    if !matches!(policy.as_str(), "" | "Allow" | "Forbid" | "Replace") {
        report.error(&spec.below(".concurrencyPolicy"), format!("'{policy}' is not a valid concurrencyPolicy"))?;
    }
    if cron.spec.starting_deadline_seconds.is_some_and(|seconds| seconds < 0) {
        report.error(&spec.below(".startingDeadlineSeconds"), "startingDeadlineSeconds must be positive")?;
    }

    let added = [
        (CRON_WORKFLOW.to_string(), name.clone()),
        ("workflows.argoproj.io/scheduled-time".to_string(), String::new()),
    ];
    let [label, annotation] = added.map(|pair| BTreeMap::from([pair]));
    let (mut labels, mut annotations) = (vec![&label], vec![&annotation]);
    if let Some(metadata) = &cron.spec.workflow_metadata {
        labels.push(&metadata.labels);
        annotations.push(&metadata.annotations);
    }
    let subject = Subject {
        spec: &cron.spec.workflow_spec,
        path: "spec.workflowSpec",
        name: ("workflow", ""),
        labels,
        annotations,
        defaults: None,
        is_template: false,
    };
    validation.report.enter("cannot validate Workflow:".to_string());
    let outcome = subject.check(validation, Options::default());
    validation.report.leave();
    outcome
}

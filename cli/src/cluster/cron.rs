//! `tiphys cron`: workflows on a schedule.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tiphys_api::document::Object;
use tiphys_api::{CronWorkflow, Time, Workflow};
use tiphys_engine::cron::Timetable;
use tiphys_kubernetes::{ApiError, Kind};

use super::backfill::backfill;
use super::{objects, within};
use crate::args::{CronCommand, CronFileArgs, Global, LintKind, ObjectNames};
use crate::display::style::{age, duration};
use crate::failure::Failure;
use crate::submit::apply;
use crate::{lint, output};

/// Manages cron workflows.
pub fn cron(global: &Global, command: CronCommand) -> Result<(), Failure> {
    const KIND: Kind = Kind::CronWorkflow;
    match command {
        CronCommand::Lint(args) => lint::lint_kind(global, &args, LintKind::Cronworkflows),
        CronCommand::List(args) => within(global, async |cluster| objects::list(&cluster, KIND, &args).await),
        CronCommand::Get(args) => within(global, async |cluster| objects::get(&cluster, KIND, &args).await),
        CronCommand::Delete(args) => within(global, async |cluster| objects::delete(&cluster, KIND, &args).await),
        CronCommand::Create(args) => write(global, &args, false),
        CronCommand::Update(args) => write(global, &args, true),
        CronCommand::Suspend(args) => suspend(global, &args, true),
        CronCommand::Resume(args) => suspend(global, &args, false),
        CronCommand::Backfill(args) => backfill(global, &args),
    }
}

fn write(global: &Global, args: &CronFileArgs, replace: bool) -> Result<(), Failure> {
    let input = objects::read(&args.file)?;
    within(global, async |cluster| {
        let change = |object: &mut Object| match object {
            Object::CronWorkflow(cron) => apply_to(cron, args),
            _ => Ok(()),
        };
        objects::write(&cluster, global, Kind::CronWorkflow, &args.file, &input, replace, change).await
    })
}

/// Applies the command line: what concerns workflows to the spec of those that will be started, the name to the schedule
/// itself. argo: cron/create.go.
fn apply_to(cron: &mut CronWorkflow, args: &CronFileArgs) -> Result<(), Failure> {
    let mut workflow = Workflow { spec: std::mem::take(&mut cron.spec.workflow_spec), ..Workflow::default() };
    apply(&mut workflow, &args.options)?;
    cron.spec.workflow_spec = workflow.spec;
    let (made, own) = (workflow.metadata, &mut cron.metadata);
    if !made.name.is_empty() || !made.generate_name.is_empty() {
        own.name = made.name;
        own.generate_name = made.generate_name;
    }
    own.labels.extend(made.labels);
    if let Some(schedule) = &args.schedule {
        cron.spec.schedules = vec![schedule.clone()];
    }
    Ok(())
}

fn suspend(global: &Global, args: &ObjectNames, suspended: bool) -> Result<(), Failure> {
    within(global, async |cluster| {
        for name in &args.names {
            let path = cluster.objects(Kind::CronWorkflow).named(name);
            cluster.api.patch(&path, &json!({"spec": {"suspend": suspended}})).await?;
            let done = if suspended { "suspended" } else { "resumed" };
            output::print(&format!("cron workflow {name} {done}\n"));
        }
        Ok(())
    })
}

fn typed(object: Value) -> Result<CronWorkflow, Failure> {
    Ok(serde_json::from_value(object).map_err(ApiError::Unreadable)?)
}

/// When a cron workflow is due next; None where it is suspended, or its schedules cannot be read.
fn next(cron: &CronWorkflow) -> Option<Timestamp> {
    let (now, timetable) = (Timestamp::now(), Timetable::of(&cron.spec, &TimeZone::UTC).ok()?);
    if cron.spec.suspend { None } else { timetable.next(cron, now, now) }
}

/// Cron workflows in columns. argo: cron/list.go.
pub(super) fn table(objects: Vec<Value>, namespaces: bool) -> Result<String, Failure> {
    let columns = ["NAMESPACE", "NAME", "AGE", "LAST RUN", "NEXT RUN", "SCHEDULES", "TIMEZONE", "SUSPENDED"];
    let mut rows = vec![columns.map(str::to_owned).to_vec()];
    for object in objects {
        let cron = typed(object)?;
        let next = next(&cron);
        let CronWorkflow { metadata, spec, status, .. } = cron;
        rows.push(vec![
            metadata.namespace,
            metadata.name,
            age(metadata.creation_timestamp),
            status.last_scheduled_time.map_or_else(|| "N/A".to_owned(), |time| age(Some(time))),
            next.map_or_else(|| "N/A".to_owned(), |at| duration(Some(Time(Timestamp::now())), Some(Time(at)))),
            spec.schedules.join(","),
            spec.timezone,
            spec.suspend.to_string(),
        ]);
    }
    if !namespaces {
        rows.iter_mut().for_each(|row| drop(row.remove(0)));
    }
    Ok(output::table(&rows))
}

/// A cron workflow in a few lines. argo: cron/util.go, getCronWorkflowGet.
pub(super) fn details(object: Value) -> Result<String, Failure> {
    let cron = typed(object)?;
    let next = next(&cron);
    let CronWorkflow { metadata, spec, status, .. } = cron;
    let moment = |time: Option<Time>| time.map(|time| format!("{time} ({} ago)", age(Some(time)))).unwrap_or_default();
    let active = status.active.iter().filter_map(|one| one["name"].as_str()).collect::<Vec<_>>().join(", ");
    let mut rows = vec![
        ("Name", metadata.name),
        ("Namespace", metadata.namespace),
        ("Created", moment(metadata.creation_timestamp)),
        ("Schedules", spec.schedules.join(",")),
        ("Suspended", spec.suspend.to_string()),
        ("Timezone", spec.timezone),
        ("StartingDeadlineSeconds", spec.starting_deadline_seconds.map(|s| s.to_string()).unwrap_or_default()),
        ("ConcurrencyPolicy", spec.concurrency_policy),
        ("Phase", status.phase),
        ("LastScheduledTime", moment(status.last_scheduled_time)),
        ("NextScheduledTime", next.map(|at| Time(at).to_string()).unwrap_or_default()),
        ("Active", active),
    ];
    rows.extend(
        status.conditions.iter().map(|one| ("Condition", format!("{} {} {}", one.r#type, one.status, one.message))),
    );
    rows.extend(spec.workflow_spec.arguments.parameters.iter().map(|parameter| {
        let value = parameter.value.as_ref().map(|value| value.as_str()).unwrap_or_default();
        ("Parameter", format!("{} = {value}", parameter.name))
    }));
    Ok(output::fields(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{ObjectFileArgs, SubmitOptions};

    fn object() -> Value {
        json!({
            "metadata": {"name": "nightly", "namespace": "n"},
            "spec": {"schedules": ["0 3 * * *", "@hourly"], "timezone": "Europe/Berlin", "concurrencyPolicy": "Forbid",
                "suspend": true,
                "workflowSpec": {"entrypoint": "main", "arguments": {"parameters": [{"name": "p", "value": "1"}]}}},
            "status": {"active": [{"name": "nightly-1"}]},
        })
    }

    #[test]
    fn cron_workflows_are_printed() {
        let expected = "\
NAMESPACE   NAME      AGE   LAST RUN   NEXT RUN   SCHEDULES           TIMEZONE        SUSPENDED
n           nightly         N/A        N/A        0 3 * * *,@hourly   Europe/Berlin   true
";
        assert_eq!(table(vec![object()], true).unwrap(), expected);
        let expected = "\
Name                nightly
Namespace           n
Schedules           0 3 * * *,@hourly
Suspended           true
Timezone            Europe/Berlin
ConcurrencyPolicy   Forbid
Active              nightly-1
Parameter           p = 1
";
        assert_eq!(details(object()).unwrap(), expected);
    }

    #[test]
    fn the_next_run_is_told() {
        let mut cron = typed(object()).unwrap();
        assert_eq!(next(&cron), None);
        cron.spec.suspend = false;
        let (next, now) = (next(&cron).unwrap(), Timestamp::now());
        assert!(next > now && next.duration_since(now).as_secs() <= 3600, "{next}");
    }

    #[test]
    fn the_command_line_changes_what_is_started() {
        let mut cron = typed(object()).unwrap();
        let file = ObjectFileArgs { files: Vec::new(), strict: false, output: None };
        let options = SubmitOptions {
            name: Some("daily".into()),
            entrypoint: Some("other".into()),
            parameters: vec!["p=2".into()],
            labels: vec!["a=b".into()],
            ..SubmitOptions::default()
        };
        apply_to(&mut cron, &CronFileArgs { file, schedule: Some("@daily".into()), options }).unwrap();
        let cron = serde_json::to_value(cron).unwrap();
        assert_eq!(cron["metadata"], json!({"name": "daily", "namespace": "n", "labels": {"a": "b"}}));
        assert_eq!(cron["spec"]["schedules"], json!(["@daily"]));
        assert_eq!(cron["spec"]["workflowSpec"]["entrypoint"], "other");
        assert_eq!(cron["spec"]["workflowSpec"]["arguments"]["parameters"], json!([{"name": "p", "value": "2"}]));
    }
}

//! `tiphys cron backfill`: a cron workflow is run for times that have passed, by a workflow that submits one for each.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tiphys_api::{AnyString, CronWorkflow, Parameter, Workflow, yaml};
use tiphys_engine::cron::Timetable;
use tiphys_kubernetes::{ApiError, Kind};
use tiphys_local::RunName;

use super::within;
use crate::args::{BackfillArgs, Global};
use crate::failure::Failure;
use crate::output;
use crate::submit::scheduled;

/// Times of one backfill at most.
const MOST: usize = 100_000;
/// The longest beginning of a name that the server completes. argo: util/workflow_name.go.
const LONGEST_PREFIX: usize = 57;
/// What a workflow gets for its time.
const TIME: &str = "{{inputs.parameters.backfillscheduletime}}";

/// Submits the workflows that submit the others.
pub fn backfill(global: &Global, args: &BackfillArgs) -> Result<(), Failure> {
    let start = moment("--start", &args.start)?;
    let end = args.end.as_deref().map_or_else(|| Ok(Timestamp::now()), |text| moment("--end", text))?;
    let name = match &args.backfill {
        Some(name) => name.clone(),
        None => RunName::generate("b").map_err(Failure::usage)?.to_string(),
    };
    within(global, async |cluster| {
        let cron: CronWorkflow = cluster.api.get(&cluster.objects(Kind::CronWorkflow).named(&args.name)).await?;
        let times = times(&cron, start, end)?;
        let manifest = manifest(&cron, &name, args)?;
        for times in times.chunks(usize::try_from(args.most).unwrap_or(usize::MAX)) {
            let mut driver = driver(&args.name, &manifest, times)?;
            cluster.own(&mut driver.metadata, global)?;
            let made = cluster.create(&driver, false).await?;
            if !global.quiet {
                let (times, made) = (times.len(), made.metadata.name);
                output::print(&format!(
                    "{made} runs cron workflow {} for {times} times, as backfill {name}\n",
                    args.name
                ));
            }
        }
        if times.is_empty() {
            output::print(&format!("cron workflow {} has no time from {start} to {end}\n", args.name));
        }
        Ok(())
    })
}

/// A moment as it is given on the command line.
fn moment(flag: &str, text: &str) -> Result<Timestamp, Failure> {
    // Go writes the zone as letters, which the standard of mails knows for UTC alone.
    let found = text.parse().ok().or_else(|| rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()));
    found.ok_or_else(|| {
        Failure::usage(format!(
            "{flag} {text}: expected RFC 3339, such as 2026-01-02T15:04:05Z, or a time such as Fri, 02 Jan 2026 15:04:05 UTC"
        ))
    })
}

/// The times of a schedule after one moment, up to another.
fn times(cron: &CronWorkflow, start: Timestamp, end: Timestamp) -> Result<Vec<Timestamp>, Failure> {
    let failed = |reason: String| Failure::failed(Some(format!("cron workflow {}: {reason}", cron.metadata.name)));
    let timetable = Timetable::of(&cron.spec, &TimeZone::UTC).map_err(failed)?;
    // Periods are counted from the start, not from the last run.
    let mut fresh = cron.clone();
    fresh.status.last_scheduled_time = None;
    let mut times = Vec::new();
    let mut at = start;
    while let Some(next) = timetable.next(&fresh, start, at).filter(|next| *next <= end) {
        if times.len() == MOST {
            return Err(failed(format!("there are more than {MOST} times from {start} to {end}")));
        }
        times.push(next);
        at = next;
    }
    Ok(times)
}

/// A workflow of the backfill, as the text that a resource template creates. argo: cron/backfill.go.
fn manifest(cron: &CronWorkflow, name: &str, args: &BackfillArgs) -> Result<String, Failure> {
    let mut workflow = scheduled(cron);
    "argoproj.io/v1alpha1".clone_into(&mut workflow.api_version);
    "Workflow".clone_into(&mut workflow.kind);
    let prefix = format!("{}-backfill-{}", cron.metadata.name, name.to_lowercase());
    let prefix: String = prefix.chars().take(LONGEST_PREFIX - 1).collect();
    workflow.metadata.generate_name = prefix + "-";
    let parameters = &mut workflow.spec.arguments.parameters;
    parameters.retain(|parameter| parameter.name != args.argument);
    let value = Some(AnyString::from(TIME));
    parameters.push(Parameter { name: args.argument.clone(), value, ..Parameter::default() });
    let mut value = serde_json::to_value(&workflow).map_err(ApiError::Unreadable)?;
    if !args.parallel {
        value["spec"]["priority"] = i32::MAX.into();
        value["spec"]["synchronization"] = json!({"mutexes": [{"name": name}]});
    }
    Ok(yaml::print(&value))
}

/// The workflow that creates one for each time.
fn driver(cron: &str, manifest: &str, times: &[Timestamp]) -> Result<Workflow, Failure> {
    // As Go prints a time.
    let times: Vec<String> = times.iter().map(|at| at.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()).collect();
    let parameter = json!({"name": "backfillscheduletime"});
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "backfill-wf-", "labels": {"workflows.argoproj.io/backfill": cron}},
        "spec": {"entrypoint": "main", "templates": [
            {"name": "main", "steps": [[{
                "name": "create-workflow",
                "template": "create-workflow",
                "arguments": {"parameters": [{"name": "backfillscheduletime", "value": "{{item}}"}]},
                "withParam": Value::from(times).to_string(),
            }]]},
            {"name": "create-workflow", "inputs": {"parameters": [parameter]}, "resource": {
                "action": "create",
                "successCondition": "status.phase == Succeeded",
                "failureCondition": "status.phase in (Failed, Error)",
                "manifest": manifest,
            }},
        ]},
    });
    Ok(serde_json::from_value(object).map_err(ApiError::Unreadable)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron() -> CronWorkflow {
        let spec = json!({"schedules": ["0 3 * * *"], "timezone": "Europe/Berlin",
            "workflowSpec": {"workflowTemplateRef": {"name": "t"}, "arguments": {"parameters": [{"name": "time", "value": "x"}]}}});
        let status = json!({"lastScheduledTime": "2026-03-29T01:00:00Z"});
        serde_json::from_value(json!({"metadata": {"name": "nightly"}, "spec": spec, "status": status})).unwrap()
    }

    fn args() -> BackfillArgs {
        BackfillArgs {
            name: "nightly".into(),
            backfill: None,
            start: String::new(),
            end: None,
            parallel: false,
            argument: "time".into(),
            most: 2,
        }
    }

    #[test]
    fn times_are_those_of_the_schedule() {
        let at = |text: &str| moment("--start", text).unwrap();
        let found = times(&cron(), at("2026-03-27T12:00:00Z"), at("Mon, 30 Mar 2026 12:00:00 UTC")).unwrap();
        let found: Vec<String> = found.iter().map(Timestamp::to_string).collect();
        // The clocks go forward on the 29th.
        assert_eq!(found, ["2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]);
        let mut often = cron();
        often.spec.schedules = vec!["@every 1s".into()];
        let error = times(&often, at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")).unwrap_err();
        assert!(error.message().is_some_and(|text| text.contains("more than 100000 times")), "{error:?}");
        assert!(moment("--start", "soon").is_err());
    }

    #[test]
    fn a_workflow_submits_one_for_each_time() {
        let manifest = manifest(&cron(), "Again", &args()).unwrap();
        let child = yaml::to_json(&manifest).unwrap();
        assert_eq!(child["metadata"]["generateName"], "nightly-backfill-again-");
        assert_eq!(child["spec"]["arguments"]["parameters"], json!([{"name": "time", "value": TIME}]));
        assert_eq!(child["spec"]["synchronization"], json!({"mutexes": [{"name": "Again"}]}));
        let driver = driver("nightly", &manifest, &[Timestamp::UNIX_EPOCH]).unwrap();
        let driver = serde_json::to_value(driver).unwrap();
        assert_eq!(driver["metadata"]["labels"], json!({"workflows.argoproj.io/backfill": "nightly"}));
        let step = &driver["spec"]["templates"][0]["steps"][0][0];
        assert_eq!(step["withParam"], "[\"1970-01-01 00:00:00 +0000 UTC\"]");
        assert_eq!(driver["spec"]["templates"][1]["resource"]["manifest"], manifest);
    }
}

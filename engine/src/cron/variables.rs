//! `cronworkflow.*`: what `when` and the stop strategy see. argo: workflow/cron/operator.go, expressionEnv.

use std::collections::BTreeMap;
use std::sync::Arc;

use tiphys_api::CronWorkflow;
use tiphys_expr::go::Time;
use tiphys_expr::template::{TagKind, scan};
use tiphys_expr::{Value, go, lang, when};

/// The environment of expressions. Argo's labels take the place of annotations by mistake; here both are what they say.
fn environment(cron: &CronWorkflow) -> Value {
    let texts = |map: &BTreeMap<String, String>| {
        let entries = map.iter().map(|(key, text)| (key.as_str(), Value::str(text.as_str())));
        Value::map(entries.chain([("json", Value::str(json(map)))]))
    };
    let metadata = &cron.metadata;
    let last = cron.status.last_scheduled_time;
    let fields = [
        ("name", Value::str(metadata.name.as_str())),
        ("namespace", Value::str(metadata.namespace.as_str())),
        ("labels", texts(&metadata.labels)),
        ("annotations", texts(&metadata.annotations)),
        ("failed", Value::Int(cron.status.failed)),
        ("succeeded", Value::Int(cron.status.succeeded)),
        ("lastScheduledTime", last.map_or(Value::Nil, |time| Value::Time(Arc::new(Time::utc(time.0))))),
    ];
    lang::argo_env([(Arc::from("cronworkflow"), Value::map(fields))])
}

fn json(map: &BTreeMap<String, String>) -> String {
    serde_json::to_string(map).unwrap_or_default()
}

/// The text of a simple tag. None: there is no such variable.
fn text(cron: &CronWorkflow, name: &str) -> Option<String> {
    let metadata = &cron.metadata;
    Some(match name.strip_prefix("cronworkflow.")? {
        "name" => metadata.name.clone(),
        "namespace" => metadata.namespace.clone(),
        "labels.json" => json(&metadata.labels),
        "annotations.json" => json(&metadata.annotations),
        "failed" => cron.status.failed.to_string(),
        "succeeded" => cron.status.succeeded.to_string(),
        "lastScheduledTime" => cron.status.last_scheduled_time?.to_string(),
        other => match other.split_once('.')? {
            ("labels", key) => metadata.labels.get(key)?.clone(),
            ("annotations", key) => metadata.annotations.get(key)?.clone(),
            _ => return None,
        },
    })
}

/// Whether `spec.when` lets a run begin. Err: why that cannot be told.
pub(super) fn holds(cron: &CronWorkflow) -> Result<bool, String> {
    let condition = &cron.spec.when;
    if condition.is_empty() {
        return Ok(true);
    }
    let mut plain = String::with_capacity(condition.len());
    let mut done = 0;
    for tag in scan(condition).map_err(|error| error.to_string())? {
        plain.push_str(&condition[done..tag.span.start]);
        done = tag.span.end;
        match tag.kind {
            TagKind::Simple => {
                let value = text(cron, &tag.name).ok_or_else(|| format!("failed to resolve {{{{{}}}}}", tag.text))?;
                plain.push_str(&value);
            }
            TagKind::Expression => {
                let value = lang::eval(&tag.name, &environment(cron))
                    .map_err(|error| format!("failed to evaluate expression: {error}"))?;
                plain.push_str(&go::sprintf("%v", &[value]));
            }
        }
    }
    plain.push_str(&condition[done..]);
    when::evaluate(&plain).map_err(|error| error.to_string())
}

/// Whether the stop strategy ends the schedule. Err: in Argo's words, why that cannot be told.
pub(super) fn stops(cron: &CronWorkflow) -> Result<bool, String> {
    let Some(strategy) = &cron.spec.stop_strategy else { return Ok(false) };
    lang::eval_bool(&strategy.expression, &environment(cron)).map_err(|error| {
        let name = &cron.metadata.name;
        format!("failed to check CronWorkflow '{name}' stopping condition: failed to evaluate stop expression: {error}")
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use tiphys_expr::ambient;

    use super::*;

    fn cron(when: &str, stop: &str) -> CronWorkflow {
        serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "n", "labels": {"a": "1"}, "annotations": {"a": "2"}},
            "spec": {"when": when, "stopStrategy": {"expression": stop}},
            "status": {"failed": 2, "succeeded": 1, "lastScheduledTime": "2026-03-07T10:00:00Z"},
        }))
        .unwrap()
    }

    #[test]
    fn conditions() {
        let now: Timestamp = "2026-03-07T11:00:01Z".parse().unwrap();
        for (when, expected) in [
            ("", true),
            (
                "{{= cronworkflow.lastScheduledTime == nil || (now() - cronworkflow.lastScheduledTime).Seconds() > 3600 }}",
                true,
            ),
            ("{{= (now() - cronworkflow.lastScheduledTime).Seconds() > 7200 }}", false),
            ("{{cronworkflow.failed}} > 1", true),
            ("{{= cronworkflow.failed - cronworkflow.succeeded }} == 1", true),
            ("'{{cronworkflow.labels.a}}' == '1' && {{cronworkflow.annotations.a}} == 2", true),
            ("{{= cronworkflow.name == 'c' && cronworkflow.labels.a == '1' }}", true),
        ] {
            assert_eq!(ambient::with(now, 0, || holds(&cron(when, "false"))), Ok(expected), "{when}");
        }
        for (when, reason) in
            [("{{nothing}} == 1", "failed to resolve {{nothing}}"), ("{{= nothing.x }}", "failed to evaluate")]
        {
            assert!(holds(&cron(when, "false")).unwrap_err().contains(reason), "{when}");
        }
        let refused = ambient::without_expressions(true, || holds(&cron("{{=true}}", "false")));
        assert_eq!(refused, Err("failed to resolve {{=true}}".to_owned()));
    }

    #[test]
    fn stop_strategies() {
        assert_eq!(stops(&cron("", "cronworkflow.failed >= 2")), Ok(true));
        assert_eq!(stops(&cron("", "cronworkflow.succeeded > 1")), Ok(false));
        assert!(stops(&cron("", "cronworkflow.name")).unwrap_err().starts_with(
            "failed to check CronWorkflow 'c' stopping condition: failed to evaluate stop expression: unable to cast"
        ));
    }
}

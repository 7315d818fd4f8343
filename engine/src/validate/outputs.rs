//! What a template gives, and the metrics it emits. argo: workflow/validate/validate.go, validateOutputs; metrics/util.go.

use tiphys_api::{Metrics, Parameter, Prometheus, Template, TemplateType};

use super::location;
use super::names::{self, Rule};
use super::report::{Outcome, Place, Report};
use super::scope::Visible;
use super::template::{is_leaf, type_name};

/// Checks the outputs of a template in which the known tags have been filled in.
pub(super) fn check(report: &mut Report, place: &Place, template: &Template, visible: &Visible<'_>) -> Outcome {
    let outputs = &template.outputs;
    let prefix = format!("templates.{}.outputs", template.name);
    let given = outputs.parameters.iter().map(|parameter| parameter.name.as_str());
    names::check(report, &place.below(".parameters"), &format!("{prefix}.parameters "), Rule::Value, given)?;
    let given = outputs.artifacts.iter().map(|artifact| artifact.name.as_str());
    names::check(report, &place.below(".artifacts"), &format!("{prefix}.artifacts "), Rule::Value, given)?;
    let json = serde_json::to_string(outputs).unwrap_or_default();
    visible.check(report, place, &prefix, &json)?;

    for (index, artifact) in outputs.artifacts.iter().enumerate() {
        let place = place.below(format_args!(".artifacts[{index}]"));
        let name = format!("templates.{}.outputs.artifacts.{}", template.name, artifact.name);
        if is_leaf(template) {
            if let Some(wrong) = location::wrong_with_path(artifact) {
                report.error(&place.below(".path"), format!("error in {name}: {wrong}"))?;
            }
        } else if !artifact.path.is_empty() {
            let message = format!("{name}.path only valid in container/script templates");
            report.error(&place.below(".path"), message)?;
        }
        check_global_name(report, &place, &name, &artifact.global_name)?;
    }
    for (index, parameter) in outputs.parameters.iter().enumerate() {
        let place = place.below(format_args!(".parameters[{index}]"));
        let name = format!("templates.{}.outputs.parameters.{}", template.name, parameter.name);
        check_source(report, &place, &name, parameter)?;
        check_source_for_type(report, &place, &name, parameter, template)?;
        check_global_name(report, &place, &name, &parameter.global_name)?;
    }
    Ok(())
}

fn check_global_name(report: &mut Report, place: &Place, name: &str, global: &str) -> Outcome {
    match names::value(global) {
        Some(wrong) if !global.is_empty() && !names::holds_parameter(global) => {
            report.error(&place.below(".globalName"), format!("{name}.globalName: {wrong}"))
        }
        _ => Ok(()),
    }
}

fn check_source(report: &mut Report, place: &Place, name: &str, parameter: &Parameter) -> Outcome {
    let from = match (&parameter.value, &parameter.value_from) {
        (Some(_), Some(_)) => {
            return report.error(place, format!("{name} has both valueFrom and value specified, choose one"));
        }
        (Some(_), None) => return Ok(()),
        (None, None) => return report.error(place, format!("{name} does not have valueFrom or value specified")),
        (None, Some(from)) => from,
    };
    let texts = [&from.path, &from.jq_filter, &from.json_path, &from.parameter, &from.expression];
    let kinds = texts.iter().filter(|text| !text.is_empty()).count() + usize::from(from.supplied.is_some());
    let one_of = "path, jqFilter, jsonPath, parameter, raw";
    match kinds {
        0 => {
            let message = format!("valueFrom type unspecified. choose one of: {one_of}, expression");
            report.error(&place.below(".valueFrom"), message)
        }
        1 => Ok(()),
        _ => {
            let message = format!("multiple valueFrom types specified. choose one of: {one_of}");
            report.error(&place.below(".valueFrom"), message)
        }
    }
}

fn check_source_for_type(
    report: &mut Report,
    place: &Place,
    name: &str,
    parameter: &Parameter,
    template: &Template,
) -> Outcome {
    let Some(from) = &parameter.value_from else { return Ok(()) };
    let kind = type_name(template);
    let place = place.below(".valueFrom");
    match template.template_type() {
        Some(TemplateType::Container | TemplateType::ContainerSet | TemplateType::Script) if from.path.is_empty() => {
            report.error(&place, format!("{name}.path must be specified for {kind} templates"))
        }
        Some(TemplateType::Resource) if from.jq_filter.is_empty() && from.json_path.is_empty() => {
            report.error(&place, format!("{name} .jqFilter or jsonPath must be specified for {kind} templates"))
        }
        Some(TemplateType::Dag | TemplateType::Steps) => match (from.parameter.is_empty(), from.expression.is_empty()) {
            (true, true) => {
                report.error(&place, format!("{name}.parameter or expression must be specified for {kind} templates"))
            }
            (false, false) => report.error(
                &place,
                format!(
                    "{name} shouldn't have both `from` and `expression` specified in `ValueFrom` for {kind} templates"
                ),
            ),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Checks the metrics of a template.
pub(super) fn check_metrics(report: &mut Report, place: &Place, template: &str, metrics: &Metrics) -> Outcome {
    for (index, metric) in metrics.prometheus.iter().enumerate() {
        let place = place.below(format_args!(".prometheus[{index}]"));
        let name = &metric.name;
        if !is_metric_name(name) {
            let message = format!(
                "templates.{template} metric name '{name}' is invalid. Metric names must contain alphanumeric characters or '_'"
            );
            report.error(&place.below(".name"), message)?;
        }
        for label in metric.labels.iter().filter(|label| !is_metric_name(&label.key)) {
            let key = &label.key;
            let message =
                format!("metric label '{key}' is invalid: keys may only contain alphanumeric characters or '_'");
            report.error(&place.below(".labels"), message)?;
        }
        if metric.help.is_empty() {
            let message =
                format!("templates.{template} metric '{name}' must contain a help string under 'help: ' field");
            report.error(&place, message)?;
        }
        if let Some(wrong) = wrong_with_value(metric) {
            report.error(&place, format!("templates.{template} metric '{name}' error: {wrong}"))?;
        }
    }
    Ok(())
}

/// argo: metrics/util.go, IsValidMetricName.
pub(crate) fn is_metric_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn wrong_with_value(metric: &Prometheus) -> Option<&'static str> {
    if let Some(gauge) = &metric.gauge {
        if gauge.value.is_empty() {
            return Some("missing gauge.value");
        }
        if gauge.realtime == Some(true) && gauge.value.contains("resourcesDuration.") {
            return Some("'resourcesDuration.*' metrics cannot be used in real-time");
        }
    }
    if metric.counter.as_ref().is_some_and(|counter| counter.value.is_empty()) {
        return Some("missing counter.value");
    }
    if metric.histogram.as_ref().is_some_and(|histogram| histogram.value.is_empty()) {
        return Some("missing histogram.value");
    }
    None
}

//! Metrics that workflows and templates define: what is measured, and when. argo: operator.go, computeMetrics;
//! steps.go, prepareMetricScope.
//!
//! A template's metrics are emitted when its node is over, with what is known of the node then; one that is `realtime` is
//! also begun with the node. Metrics of a retried template are emitted for each attempt that is followed by another, and
//! for the retry node as a whole. A metric that cannot be emitted fails nothing: the condition MetricsError says why.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tiphys_api::{Condition, Metrics, NodeStatus, Prometheus, Template};
use tiphys_expr::template::{self, Layered};

use crate::frame::{Body, Key, Parent};
use crate::id::NodeId;

use crate::plan::{Action, GaugeOperation, Measured, Measurement};
use crate::run::{Run, fulfilled};
use crate::templates::to_json;
use crate::validate::is_metric_name;

const METRICS_ERROR: &str = "MetricsError";
/// Variables that are values of their own while they grow.
const NODE_DURATION: &str = "duration";
const WORKFLOW_DURATION: &str = "workflow.duration";

/// A metric of this moment, or why there is none.
type Emission = Result<Option<Measurement>, String>;

impl Run {
    /// A call goes to work: what it emits is kept for its end, and what is told while it runs begins.
    pub(crate) fn meter(&mut self, key: Key, processed: &Arc<Template>) {
        if processed.metrics.is_some() {
            self.metered.insert(self.frames[key].id.clone(), processed.clone());
        }
    }

    /// The call's node is there: what is told while it runs begins.
    pub(crate) fn meter_begins(&mut self, key: Key) {
        let id = &self.frames[key].id;
        let Some(template) = self.metered.get(id).cloned() else { return };
        if matches!(self.frames[key].body, Body::Retry(_)) {
            return;
        }
        let Some(node) = self.node(id.as_str()).filter(|node| !fulfilled(node)) else { return };
        let variables = node_variables(node);
        let since = node.started_at.map(|time| time.0);
        self.emit(template.metrics.as_deref(), &variables, since.map(|since| (since, None)), true);
    }

    /// A node is over. Its outputs may still come in the same turn, so that it is measured at the turn's end.
    pub(crate) fn meter_ends(&mut self, id: &NodeId) {
        if self.metered.is_empty() || !self.metered.contains_key(id) {
            return;
        }
        let is_attempt = |key: &Key| matches!(self.frames[*key].parent, Parent::Attempt { .. });
        if !self.by_id.get(id).is_some_and(is_attempt) {
            self.measured.push(id.clone());
        }
    }

    /// An attempt is followed by another.
    pub(crate) fn meter_attempt(&mut self, attempt: Key) {
        let id = self.frames[attempt].id.clone();
        if self.metered.contains_key(&id) {
            self.measured.push(id);
        }
    }

    /// Measures what is over since the last turn.
    pub(crate) fn measure(&mut self) {
        for id in std::mem::take(&mut self.measured) {
            let Some(template) = self.metered.remove(&id) else { continue };
            let Some(node) = self.node(id.as_str()) else { continue };
            let (variables, span) = (node_variables(node), span(node));
            self.emit(template.metrics.as_deref(), &variables, span, false);
        }
    }

    /// The workflow goes to work: its own metrics that are told while it runs begin.
    pub(crate) fn meter_workflow_begins(&mut self) {
        let spec = self.spec.clone();
        self.emit(spec.metrics.as_deref(), &default_variables(), None, true);
    }

    /// The workflow is over, in the regular way: its own metrics, with what is known of its entry point.
    pub(crate) fn meter_workflow_ends(&mut self) {
        self.measure();
        let spec = self.spec.clone();
        let Some(node) = self.entry.and_then(|entry| self.frame_node(entry)) else { return };
        let (variables, span) = (node_variables(node), span(node));
        let status = self.wf.status.phase;
        self.globals.set("workflow.status", status.as_str());
        self.emit(spec.metrics.as_deref(), &variables, span, false);
    }

    /// A driver cannot take a measurement.
    pub(crate) fn metric_refused(&mut self, message: &str) {
        self.out.status_changed = true;
        let conditions = &mut self.wf.status.conditions;
        match conditions.iter_mut().find(|condition| condition.r#type == METRICS_ERROR) {
            Some(condition) if condition.message.contains(message) => {}
            Some(condition) => condition.message = format!("{}, {message}", condition.message),
            None => conditions.push(Condition {
                r#type: METRICS_ERROR.into(),
                status: "True".into(),
                message: message.into(),
                ..Condition::default()
            }),
        }
    }

    fn emit(
        &mut self,
        metrics: Option<&Metrics>,
        variables: &BTreeMap<String, String>,
        span: Option<(Timestamp, Option<Timestamp>)>,
        only_realtime: bool,
    ) {
        let Some(metrics) = metrics else { return };
        for metric in &metrics.prometheus {
            if only_realtime && !is_realtime(metric) {
                continue;
            }
            match self.measurement(metric, variables, span) {
                Ok(None) => {}
                Ok(Some(measurement)) => self.act(Action::Measure(Box::new(measurement))),
                Err(message) => self.metric_refused(&message),
            }
        }
    }

    fn measurement(
        &self,
        metric: &Prometheus,
        variables: &BTreeMap<String, String>,
        span: Option<(Timestamp, Option<Timestamp>)>,
    ) -> Emission {
        let name = &metric.name;
        if metric.help.is_empty() {
            return Err(format!("metric '{name}' must contain a help string under 'help: ' field"));
        }
        let scope = Layered(variables, &self.globals);
        // The value is filled in by itself: of a realtime metric it stays the variable that it is.
        let frame = Prometheus { gauge: None, counter: None, histogram: None, ..metric.clone() };
        let unable =
            |reason: &dyn std::fmt::Display| format!("unable to substitute parameters for metric '{name}': {reason}");
        let replaced = template::replace(&to_json(&frame), &scope, false).map_err(|error| unable(&error))?;
        let frame: Prometheus = serde_json::from_str(&replaced).map_err(|error| unable(&error))?;
        let wanted = match frame.when.as_str() {
            "" => true,
            when => tiphys_expr::when::evaluate(when).map_err(|error| {
                format!("unable to compute 'when' clause for metric '{}': {error}", self.wf.metadata.name)
            })?,
        };
        if !wanted {
            return Ok(None);
        }
        if !is_metric_name(&frame.name) {
            return Err(cannot(
                &frame.name,
                "metric name is invalid: names may only contain alphanumeric characters or '_'",
            ));
        }
        let value = |text: &str| -> Result<f64, String> {
            let text = template::replace(&to_json(&text), &scope, false).map_err(|error| unable(&error))?;
            let text: String = serde_json::from_str(&text).map_err(|error| unable(&error))?;
            let syntax = || cannot(&frame.name, &format!("strconv.ParseFloat: parsing \"{text}\": invalid syntax"));
            tiphys_expr::go::parse_float(&text).ok_or_else(syntax)
        };
        let measured = match (&metric.gauge, &metric.histogram, &metric.counter) {
            (Some(gauge), _, _) if is_realtime(metric) => {
                let (since, until) = self.realtime(&gauge.value, span)?;
                Measured::Duration { since, until }
            }
            (Some(gauge), _, _) => {
                let operation = match gauge.operation.as_str() {
                    "Add" => GaugeOperation::Add,
                    "Sub" => GaugeOperation::Sub,
                    _ => GaugeOperation::Set,
                };
                Measured::Gauge { operation, value: value(&gauge.value)? }
            }
            (None, Some(histogram), _) => {
                let bounds = histogram.buckets.iter().filter_map(|bound| bound.0.as_f64()).collect();
                Measured::Histogram { bounds, value: value(&histogram.value)? }
            }
            (None, None, Some(counter)) => Measured::Counter { value: value(&counter.value)? },
            (None, None, None) => return Err(cannot(&frame.name, "invalid metric spec")),
        };
        let labels = frame.labels.into_iter().map(|label| (label.key, label.value)).collect();
        Ok(Some(Measurement { name: frame.name, help: frame.help, labels, measured }))
    }

    /// From when, and to when, a duration that is told while it grows.
    fn realtime(
        &self,
        value: &str,
        span: Option<(Timestamp, Option<Timestamp>)>,
    ) -> Result<(Timestamp, Option<Timestamp>), String> {
        let variable = value.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
        let variable =
            variable.ok_or_else(|| "real time metrics can only be used with metric variables".to_string())?;
        let found = match variable {
            WORKFLOW_DURATION => {
                let status = &self.wf.status;
                status.started_at.map(|since| (since.0, status.finished_at.map(|until| until.0)))
            }
            NODE_DURATION => span,
            _ => None,
        };
        found.ok_or_else(|| format!("'{variable}' is not available as a real time metric"))
    }
}

fn cannot(name: &str, reason: &str) -> String {
    format!("could not construct metric '{name}': {reason}")
}

fn is_realtime(metric: &Prometheus) -> bool {
    metric.gauge.as_ref().is_some_and(|gauge| gauge.realtime == Some(true))
}

fn span(node: &NodeStatus) -> Option<(Timestamp, Option<Timestamp>)> {
    node.started_at.map(|since| (since.0, node.finished_at.map(|until| until.0)))
}

/// What is known without a node. argo: prepareDefaultMetricScope.
fn default_variables() -> BTreeMap<String, String> {
    let texts = [
        (NODE_DURATION, "0"),
        ("status", "Pending"),
        ("resourcesDuration.cpu", "0"),
        ("resourcesDuration.memory", "0"),
    ];
    texts.into_iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
}

/// What is known of a node.
fn node_variables(node: &NodeStatus) -> BTreeMap<String, String> {
    let mut variables = default_variables();
    let mut set = |name: String, value: &str| drop(variables.insert(name, value.to_string()));
    if let (Some(since), Some(until)) = (node.started_at, node.finished_at) {
        let seconds = until.0.duration_since(since.0).as_secs_f64();
        set(NODE_DURATION.into(), &format!("{seconds:.6}"));
    }
    if !node.children.is_empty() {
        set("retries".into(), &(node.children.len() - 1).to_string());
    }
    set("status".into(), node.phase.as_str());
    for parameter in node.inputs.iter().flat_map(|inputs| &inputs.parameters) {
        let value = parameter.value.as_ref().map_or("", |value| value.as_str());
        set(format!("inputs.parameters.{}", parameter.name), value);
    }
    if let Some(outputs) = &node.outputs {
        outputs.result.iter().for_each(|result| set("outputs.result".into(), result));
        outputs.exit_code.iter().for_each(|code| set("exitCode".into(), code));
        for parameter in &outputs.parameters {
            let value = parameter.value.as_ref().map_or("", |value| value.as_str());
            set(format!("outputs.parameters.{}", parameter.name), value);
        }
    }
    for (resource, seconds) in &node.resources_duration {
        set(format!("resourcesDuration.{resource}"), &seconds.to_string());
    }
    variables
}

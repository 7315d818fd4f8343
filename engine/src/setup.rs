//! Putting a workflow together before it begins: its template's spec, defaults, its own variables. argo: operator.go, setExecWorkflow and the first part of operate; workflow/util/merge.go.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tiphys_api::merge::{Schema, strategic_merge};
use tiphys_api::{Arguments, Artifact, LifecycleHook, Parameter, Template, Workflow, WorkflowPhase, WorkflowSpec};
use tiphys_expr::lang;

use crate::estimate::of_template;
use crate::restrictions::{CHANGED, Restriction};
use crate::run::{Run, Stop, parse_shutdown};
use crate::scope::{Place, Scope};
use crate::templates::to_json;

/// How setting up can end badly.
pub(crate) enum Refusal {
    /// A fact is missing.
    Wait,
    /// The workflow ends in that phase with that message.
    End(WorkflowPhase, String),
}

impl Run {
    /// Puts the spec together. Everything is computed anew after a restart, from what is stored in the status.
    pub(crate) fn set_up(&mut self) -> Result<(), Refusal> {
        let spec = self.merged_spec()?;
        self.spec = Arc::new(spec);
        self.shutdown = self.shutdown.or(parse_shutdown(&self.spec.shutdown));
        if self.wf.status.phase == WorkflowPhase::Unknown {
            self.know_references()?;
            let defaults = self.config.workflow_defaults.as_deref().map(|defaults| &defaults.spec);
            if let Some(problem) = crate::validate::first_problem(&self.wf, &self.templates, defaults) {
                return Err(Refusal::End(WorkflowPhase::Failed, format!("invalid spec: {}", problem.message)));
            }
            if let Some(refused) = crate::unsupported::unsupported(&self.spec, &self.config.without).into_iter().next()
            {
                return Err(Refusal::End(WorkflowPhase::Error, format!("{}: {}", refused.path, refused.message)));
            }
        }
        let failed = |message: String| Refusal::End(WorkflowPhase::Failed, message);
        let spec = self.spec.clone();
        let mut globals = std::mem::take(&mut self.globals);
        let loaded = globals.load(&self.wf, &spec, &|name| self.config_map(name));
        self.globals = globals;
        match loaded {
            Ok(()) => {}
            Err(Stop::Failed(message)) => return Err(failed(format!("failed to set global parameters: {message}"))),
            Err(stop) => return Err(self.wait_for(stop)),
        }
        for parameter in self.wf.status.outputs.iter().flat_map(|outputs| &outputs.parameters) {
            if let Some(value) = &parameter.value {
                self.globals.set(&format!("workflow.outputs.parameters.{}", parameter.name), value.as_str());
            }
        }
        self.spec = Arc::new(self.with_globals(&self.spec)?);
        if self.wf.status.phase == WorkflowPhase::Unknown {
            self.take_metadata()?;
        }
        if self.wf.status.artifact_repository_ref.is_none() {
            self.choose_repository()?;
        }
        Ok(())
    }

    pub(crate) fn wait_for(&mut self, stop: Stop) -> Refusal {
        match stop {
            Stop::Need(need) => {
                self.need(need, None);
                Refusal::Wait
            }
            Stop::Failed(message) => Refusal::End(WorkflowPhase::Error, message),
            Stop::Held | Stop::Locked | Stop::TooDeep => Refusal::Wait,
        }
    }

    /// The workflow's own spec over its template's over the defaults.
    fn merged_spec(&mut self) -> Result<WorkflowSpec, Refusal> {
        let error = |message: String| Refusal::End(WorkflowPhase::Error, message);
        self.check_restriction().map_err(error)?;
        let defaults = self.config.workflow_defaults.clone();
        if let Some(defaults) = &defaults {
            self.take_defaults(defaults).map_err(error)?;
        }
        let defaults = defaults.as_deref().map(|defaults| &defaults.spec);
        let Some(reference) = self.wf.spec.workflow_template_ref.clone() else { return Ok(self.wf.spec.clone()) };
        if let Some(stored) = &self.wf.status.stored_workflow_template_spec {
            let mut spec = (**stored).clone();
            spec.suspend = self.wf.spec.suspend;
            spec.shutdown.clone_from(&self.wf.spec.shutdown);
            if self.config.restriction == Restriction::Secure {
                let found = self.templates.spec(reference.cluster_scope, &reference.name);
                let template = found.map_err(|stop| self.wait_for(stop))?;
                let anew = join(&self.wf.spec, Some(&template), defaults).map_err(error)?;
                let anew = WorkflowSpec { suspend: spec.suspend, shutdown: spec.shutdown.clone(), ..anew };
                if anew != spec {
                    return Err(error(CHANGED.to_string()));
                }
            }
            return Ok(spec);
        }
        let found = self.templates.spec(reference.cluster_scope, &reference.name);
        let template = found.map_err(|stop| self.wait_for(stop))?;
        let spec = join(&self.wf.spec, Some(&template), defaults).map_err(error)?;
        self.wf.status.stored_workflow_template_spec = Some(Box::new(spec.clone()));
        self.wf.metadata.labels.insert(of_template(reference.cluster_scope).into(), reference.name.clone());
        self.out.status_changed = true;
        Ok(spec)
    }

    /// Puts the defaults into the object itself, so that whoever reads it (its user, the archive, what deletes it and its
    /// artifacts) sees the spec that is executed. One that names a template keeps its own spec: what is executed is in its
    /// status. argo: operator.go, setExecWorkflow; merge.go, MergeTo and JoinWorkflowMetaData.
    fn take_defaults(&mut self, defaults: &Workflow) -> Result<(), String> {
        if self.wf.spec.workflow_template_ref.is_none() {
            let merged = join(&self.wf.spec, None, Some(&defaults.spec))?;
            self.out.status_changed |= merged != self.wf.spec;
            self.wf.spec = merged;
        }
        if self.wf.status.phase == WorkflowPhase::Unknown {
            let (own, lower) = (&mut self.wf.metadata, &defaults.metadata);
            for (own, lower) in [(&mut own.labels, &lower.labels), (&mut own.annotations, &lower.annotations)] {
                for (name, value) in lower {
                    own.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        Ok(())
    }

    /// Asks for every (Cluster)WorkflowTemplate that is named, and for those that they name, so that the spec can be
    /// checked whole before anything runs.
    fn know_references(&mut self) -> Result<(), Refusal> {
        let mut open: Vec<(bool, String)> = references(&self.spec);
        let own = self.wf.spec.workflow_template_ref.iter();
        open.extend(own.map(|reference| (reference.cluster_scope, reference.name.clone())));
        let mut seen: Vec<(bool, String)> = Vec::new();
        let mut waiting = false;
        while let Some((cluster_scope, name)) = open.pop() {
            if name.contains("{{") || seen.contains(&(cluster_scope, name.clone())) {
                continue;
            }
            match self.templates.spec(cluster_scope, &name) {
                Ok(spec) => open.extend(references(&spec)),
                Err(Stop::Need(need)) => {
                    self.need(need, None);
                    waiting = true;
                }
                Err(_) => {}
            }
            seen.push((cluster_scope, name));
        }
        if waiting { Err(Refusal::Wait) } else { Ok(()) }
    }

    /// The workflow's variables in everything but the templates, which get theirs when they are called.
    pub(crate) fn with_globals(&self, spec: &WorkflowSpec) -> Result<WorkflowSpec, Refusal> {
        let error = |message: String| Refusal::End(WorkflowPhase::Error, message);
        let mut bare = spec.clone();
        let templates = std::mem::take(&mut bare.templates);
        let text = to_json(&bare);
        if !text.contains("{{") {
            return Ok(spec.clone());
        }
        let replaced =
            tiphys_expr::template::replace(&text, &self.globals, true).map_err(|failure| error(failure.to_string()))?;
        let mut spec: WorkflowSpec = serde_json::from_str(&replaced).map_err(|failure| error(failure.to_string()))?;
        spec.templates = templates;
        Ok(spec)
    }

    /// `workflowMetadata`: labels and annotations that are given or computed. argo: updateWorkflowMetadata.
    fn take_metadata(&mut self) -> Result<(), Refusal> {
        let error = |message: String| Refusal::End(WorkflowPhase::Error, message);
        let Some(metadata) = self.spec.workflow_metadata.clone() else { return Ok(()) };
        let mut labels = metadata.labels.clone();
        for (name, from) in &metadata.labels_from {
            let scope = Scope::new(self, Place::Workflow);
            let expression = &from.expression;
            let value = lang::eval(expression, &lang::nested_env(&scope, &[])).map_err(|failure| {
                error(format!("failed to evaluate label \"{name}\" expression \"{expression}\": {failure}"))
            })?;
            let Ok(Value::String(text)) = value.to_json() else {
                return Err(error(format!(
                    "failed to evaluate label \"{name}\" expression \"{expression}\": it must give a string"
                )));
            };
            labels.insert(name.clone(), text);
        }
        for (name, value) in labels {
            if !is_label_value(&value) {
                return Err(error(format!(
                    "invalid label value \"{value}\" for label \"{name}\": a label's value has at most 63 letters, digits, '-', '_' or '.', and begins and ends with a letter or digit"
                )));
            }
            self.globals.set(&format!("workflow.labels.{name}"), value.as_str());
            self.wf.metadata.labels.insert(name, value);
        }
        for (name, value) in &metadata.annotations {
            self.globals.set(&format!("workflow.annotations.{name}"), value.as_str());
            self.wf.metadata.annotations.insert(name.clone(), value.clone());
        }
        self.spec = Arc::new(self.with_globals(&self.spec)?);
        Ok(())
    }
}

/// The (Cluster)WorkflowTemplates that a spec names: whether it is one for the whole cluster, and the name.
pub fn references(spec: &WorkflowSpec) -> Vec<(bool, String)> {
    let own = spec.workflow_template_ref.iter();
    let mut found: Vec<(bool, String)> =
        own.map(|reference| (reference.cluster_scope, reference.name.clone())).collect();
    let mut open: Vec<&Template> = spec.templates.iter().collect();
    while let Some(template) = open.pop() {
        let steps = template.steps.iter().flatten().flatten();
        let tasks = template.dag.iter().flat_map(|dag| &dag.tasks);
        for task in steps.chain(tasks) {
            found.extend(task.template_ref.iter().map(|reference| (reference.cluster_scope, reference.name.clone())));
            let hooks = task.hooks.values().filter_map(|hook| hook.template_ref.as_ref());
            found.extend(hooks.map(|reference| (reference.cluster_scope, reference.name.clone())));
            open.extend(task.inline.as_deref());
        }
    }
    found
}

/// Merges specs: the workflow's wins over its template's, which wins over the defaults. argo: merge.go, JoinWorkflowSpec.
pub(crate) fn join(
    own: &WorkflowSpec,
    template: Option<&WorkflowSpec>,
    defaults: Option<&WorkflowSpec>,
) -> Result<WorkflowSpec, String> {
    let mut merged = own.clone();
    for lower in [template, defaults].into_iter().flatten() {
        merged = merge_under(lower, &merged)?;
    }
    merged.suspend = own.suspend;
    restore_arguments(&mut merged.arguments, &[Some(own), template, defaults]);
    Ok(merged)
}

/// `upper` over `lower`; hooks and computed labels are taken whole.
fn merge_under(lower: &WorkflowSpec, upper: &WorkflowSpec) -> Result<WorkflowSpec, String> {
    let mut lower = lower.clone();
    let hooks: BTreeMap<String, LifecycleHook> = std::mem::take(&mut lower.hooks);
    let labels_from = lower.workflow_metadata.as_mut().map(|metadata| std::mem::take(&mut metadata.labels_from));
    let as_object = |spec: &WorkflowSpec| serde_json::to_value(Workflow { spec: spec.clone(), ..Default::default() });
    let (low, high) =
        (as_object(&lower).map_err(|error| error.to_string())?, as_object(upper).map_err(|error| error.to_string())?);
    let merged = strategic_merge(&low, &high, Schema::Workflow).map_err(|error| error.to_string())?;
    let merged: Workflow = serde_json::from_value(merged).map_err(|error| error.to_string())?;
    let mut spec = merged.spec;
    for (name, hook) in hooks {
        spec.hooks.entry(name).or_insert(hook);
    }
    if let Some(labels_from) = labels_from.filter(|labels| !labels.is_empty()) {
        let metadata = spec.workflow_metadata.get_or_insert_default();
        for (label, from) in labels_from {
            metadata.labels_from.entry(label).or_insert(from);
        }
    }
    Ok(spec)
}

/// A parameter whose value and source come from different specs takes the whole of the strongest one that has either; an
/// artifact the whole of the strongest, but for its location where all have it in the same kind of store. The strongest
/// spec comes first.
fn restore_arguments(merged: &mut Arguments, specs: &[Option<&WorkflowSpec>]) {
    let specs = || specs.iter().flatten();
    for parameter in &mut merged.parameters {
        let mut named = specs().filter_map(|spec| spec.arguments.parameter(&parameter.name));
        if let Some(strongest) = named.find(|parameter| has_value(parameter)) {
            *parameter = strongest.clone();
        }
    }
    for artifact in &mut merged.artifacts {
        let named: Vec<&Artifact> = specs().filter_map(|spec| spec.arguments.artifact(&artifact.name)).collect();
        let Some(strongest) = named.first() else { continue };
        let store = strongest.location().store();
        let is_same = |artifact: &&Artifact| artifact.location().store().is_none_or(|other| Some(other) == store);
        let location = artifact.location();
        *artifact = (*strongest).clone();
        if store.is_some() && named.iter().all(is_same) {
            artifact.set_location(location);
        }
    }
}

/// argo: workflow_types.go, Parameter.HasValue
fn has_value(parameter: &Parameter) -> bool {
    parameter.value.is_some() || parameter.default.is_some() || parameter.value_from.is_some()
}

/// Kubernetes' rule for the value of a label.
fn is_label_value(value: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bytes = value.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    bytes.len() <= 63 && bytes.iter().all(|byte| inner(*byte)) && ends(bytes.first()) && ends(bytes.last())
}

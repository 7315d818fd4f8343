//! A whole spec. argo: validate.go, Workflow, WorkflowTemplate and ClusterWorkflowTemplate.

use std::collections::{BTreeMap, HashSet};

use tiphys_api::{
    Arguments, ClusterWorkflowTemplate, ExecutorPlugin, TemplateRef, Workflow, WorkflowMetadata, WorkflowSpec,
    WorkflowTemplate,
};

use super::args::{self, Supply};
use super::names::{self, Rule};
use super::report::{Origin, Outcome, Place, Problem, Report};
use super::scope::{ANY_OUTPUT_ARTIFACT, Globals};
use super::template::{Base, Call, Validation, check_pod_resources};
use super::{Options, Templates, beyond, steps};

/// Longest name, because it becomes a label's value.
const LONGEST_NAME: usize = 63;

/// What is validated.
pub(super) struct Subject<'a> {
    pub(super) spec: &'a WorkflowSpec,
    /// Where the spec is in its manifest.
    pub(super) path: &'static str,
    /// The kind and the name, for the message that it is too long.
    pub(super) name: (&'static str, &'a str),
    pub(super) labels: Vec<&'a BTreeMap<String, String>>,
    pub(super) annotations: Vec<&'a BTreeMap<String, String>>,
    /// What lies under the spec and the one that it refers to.
    pub(super) defaults: Option<&'a WorkflowSpec>,
    /// It is a template, validated by itself.
    pub(super) is_template: bool,
}

impl<'a> Subject<'a> {
    pub(super) fn workflow(workflow: &'a Workflow) -> Subject<'a> {
        Subject {
            spec: &workflow.spec,
            path: "spec",
            name: ("workflow", &workflow.metadata.name),
            labels: vec![&workflow.metadata.labels],
            annotations: vec![&workflow.metadata.annotations],
            defaults: None,
            is_template: false,
        }
    }

    pub(super) fn workflow_template(template: &'a WorkflowTemplate) -> Subject<'a> {
        Subject {
            spec: &template.spec,
            path: "spec",
            name: ("workflow template", &template.metadata.name),
            labels: vec![&template.metadata.labels],
            annotations: vec![&template.metadata.annotations],
            defaults: None,
            is_template: true,
        }
    }

    pub(super) fn cluster_workflow_template(template: &'a ClusterWorkflowTemplate) -> Subject<'a> {
        Subject {
            spec: &template.spec,
            path: "spec",
            name: ("cluster workflow template", &template.metadata.name),
            labels: vec![&template.metadata.labels],
            annotations: vec![&template.metadata.annotations],
            defaults: None,
            is_template: true,
        }
    }

    pub(super) fn problems(&self, lookup: &dyn Templates, options: Options, report: Report) -> Vec<Problem> {
        let mut validation = Validation {
            lookup,
            report,
            globals: Globals::default(),
            of_template: self.is_template,
            checked: HashSet::new(),
        };
        // Stopping early is how the first problem ends the validation; the problem is in the report.
        let _stopped = self.check(&mut validation, options);
        validation.report.into_problems()
    }

    pub(super) fn check(&self, validation: &mut Validation<'_>, options: Options) -> Outcome {
        let place = Place { origin: Origin::Here, path: self.path.to_string() };
        let (kind, name) = self.name;
        if name.len() > LONGEST_NAME {
            let length = name.len();
            let message = format!("{kind} name {name:?} must not be more than 63 characters long (currently {length})");
            validation.report.error(&Place::default().below("metadata.name"), message)?;
        }
        let Some(referred) = self.referred(validation, &place)? else { return Ok(()) };

        let given = self.spec.templates.iter().map(|template| template.name.as_str());
        names::check(&mut validation.report, &place.below(".templates"), "spec.templates", Rule::Field, given)?;
        check_plugins(&mut validation.report, &place, self.spec)?;
        let arguments = self.arguments(referred);
        let allow_empty = options.lint || self.is_template;
        let at = place.below(".arguments");
        args::check(&mut validation.report, &at, "spec.arguments.", &arguments, allow_empty)?;
        self.set_globals(&mut validation.globals, &arguments, referred);

        let base = Base { spec: self.spec, place: place.clone() };
        self.check_entrypoint(validation, &base, &arguments, referred)?;
        self.check_exit(validation, &base, referred)?;
        steps::check_hooks(&mut validation.report, &place.below(".hooks"), "hooks", &self.spec.hooks)?;
        check_pod_gc(&mut validation.report, &place, self.spec)?;
        if let Some(resources) = &self.spec.pod_resources {
            let at = place.below(".podResources");
            check_pod_resources(&mut validation.report, &at, "spec.podResources", resources)?;
        }
        let templates = &referred.unwrap_or(self.spec).templates;
        for (index, template) in templates.iter().enumerate() {
            let caller = place.below(format_args!(".templates[{index}]"));
            validation.report.enter(format!("templates.{}", template.name));
            let outcome = self.call(validation, &base, &template.name, &caller, Supply::Anything);
            validation.report.leave();
            outcome?;
        }
        beyond::check(validation, &base, referred.is_some())
    }

    /// The spec that `workflowTemplateRef` names. The outer None: it does not exist, which was reported.
    fn referred<'l>(
        &self,
        validation: &mut Validation<'l>,
        place: &Place,
    ) -> Outcome<Option<Option<&'l WorkflowSpec>>> {
        let Some(reference) = &self.spec.workflow_template_ref else { return Ok(Some(None)) };
        if !self.spec.templates.is_empty() {
            let message = "Templates is invalid field in spec if workflow referred WorkflowTemplate reference";
            validation.report.error(&place.below(".templates"), message)?;
        }
        let lookup = validation.lookup;
        let found = lookup.get(reference.cluster_scope, &reference.name);
        if found.is_none() {
            let resource = if reference.cluster_scope { "clusterworkflowtemplates" } else { "workflowtemplates" };
            let message = format!("{resource}.argoproj.io {:?} not found", reference.name);
            validation.report.error(&place.below(".workflowTemplateRef"), message)?;
        }
        Ok(found.map(Some))
    }

    /// The arguments, and those of the template that they override.
    fn arguments(&self, referred: Option<&WorkflowSpec>) -> Arguments {
        let mut arguments = self.spec.arguments.clone();
        if let Some(referred) = referred {
            // Of those with the same name the first counts.
            let mut seen = HashSet::new();
            arguments.parameters.retain(|parameter| seen.insert(parameter.name.clone()));
            seen.clear();
            arguments.artifacts.retain(|artifact| seen.insert(artifact.name.clone()));
            for parameter in &referred.arguments.parameters {
                if arguments.parameter(&parameter.name).is_none() {
                    arguments.parameters.push(parameter.clone());
                }
            }
            for artifact in &referred.arguments.artifacts {
                if arguments.artifact(&artifact.name).is_none() {
                    arguments.artifacts.push(artifact.clone());
                }
            }
        }
        arguments
    }

    fn set_globals(&self, globals: &mut Globals, arguments: &Arguments, referred: Option<&WorkflowSpec>) {
        for name in ["name", "namespace", "mainEntrypoint", "serviceAccountName", "uid", "status"] {
            globals.set_unknown(format!("workflow.{name}"));
        }
        if !arguments.parameters.is_empty() {
            globals.set_unknown("workflow.parameters");
            globals.set_unknown("workflow.parameters.json");
        }
        for parameter in arguments.parameters.iter().filter(|parameter| !parameter.name.is_empty()) {
            let tag = format!("workflow.parameters.{}", parameter.name);
            match &parameter.value {
                Some(value) => globals.set(tag, value.as_str()),
                None => globals.set_unknown(tag),
            }
        }
        let more: Vec<&WorkflowMetadata> = [Some(self.spec), referred, self.defaults]
            .into_iter()
            .flatten()
            .filter_map(|spec| spec.workflow_metadata.as_deref())
            .collect();
        let annotations = self.annotations.iter().copied().chain(more.iter().map(|more| &more.annotations));
        for key in annotations.flat_map(|annotations| annotations.keys()) {
            globals.set_unknown(format!("workflow.annotations.{key}"));
        }
        let labels =
            self.labels.iter().copied().chain(more.iter().map(|more| &more.labels)).flat_map(|labels| labels.keys());
        for key in labels.chain(more.iter().flat_map(|more| more.labels_from.keys())) {
            globals.set_unknown(format!("workflow.labels.{key}"));
        }
        for name in ["annotations", "annotations.json", "labels", "labels.json"] {
            globals.set_unknown(format!("workflow.{name}"));
        }
        if let Some(priority) = self.spec.priority {
            globals.set("workflow.priority", priority.to_string());
        }
    }

    /// Calls a template of this spec, or of the one that `workflowTemplateRef` names.
    fn call(
        &self,
        validation: &mut Validation<'_>,
        base: &Base<'_>,
        template: &str,
        caller: &Place,
        supply: Supply<'_>,
    ) -> Outcome {
        let reference = self.spec.workflow_template_ref.as_ref().map(|reference| TemplateRef {
            name: reference.name.clone(),
            template: template.to_string(),
            cluster_scope: reference.cluster_scope,
            ..TemplateRef::default()
        });
        let call = match &reference {
            Some(reference) => Call { reference: Some(reference), ..Call::default() },
            None => Call { name: template, ..Call::default() },
        };
        validation.call(base, call, caller, supply).map(drop)
    }

    fn check_entrypoint(
        &self,
        validation: &mut Validation<'_>,
        base: &Base<'_>,
        arguments: &Arguments,
        referred: Option<&WorkflowSpec>,
    ) -> Outcome {
        if self.is_template && self.spec.entrypoint.is_empty() {
            return Ok(());
        }
        let entrypoint = match self.spec.entrypoint.as_str() {
            "" => referred.map_or("", |referred| referred.entrypoint.as_str()),
            entrypoint => entrypoint,
        };
        let place = base.place.below(".entrypoint");
        if entrypoint.is_empty() {
            return validation.report.error(&place, "spec.entrypoint is required");
        }
        let supply = if self.is_template { Supply::Anything } else { Supply::Given(arguments) };
        self.call(validation, base, entrypoint, &place, supply)
    }

    fn check_exit(&self, validation: &mut Validation<'_>, base: &Base<'_>, referred: Option<&WorkflowSpec>) -> Outcome {
        let handler = match self.spec.on_exit.as_str() {
            "" => referred.map_or("", |referred| referred.on_exit.as_str()),
            handler => handler,
        };
        if handler.is_empty() {
            return Ok(());
        }
        validation.globals.set_unknown("workflow.failures");
        let templates =
            [Some(self.spec), referred, self.defaults].into_iter().flatten().flat_map(|spec| &spec.templates);
        let mut artifacts = templates.flat_map(|template| &template.outputs.artifacts);
        if artifacts.any(|artifact| names::holds_parameter(&artifact.global_name)) {
            validation.globals.set(ANY_OUTPUT_ARTIFACT, "true");
        }
        let arguments = Supply::Given(&self.spec.arguments);
        self.call(validation, base, handler, &base.place.below(".onExit"), arguments)
    }
}

fn check_plugins(report: &mut Report, place: &Place, spec: &WorkflowSpec) -> Outcome {
    for (index, plugin) in spec.executor_plugins.iter().enumerate() {
        let nameless = plugin.metadata.name.is_empty().then_some("executor plugin metadata name is mandatory");
        if let Some(wrong) = nameless.or_else(|| executor_plugin_mistake(plugin)) {
            let place = place.below(format_args!(".executorPlugins[{index}]"));
            report.error(&place, format!("spec.executorPlugins: {wrong}"))?;
        }
    }
    Ok(())
}

/// What is wrong with an executor plugin's container, wherever the plugin is declared. argo: plugin_types.go, Validate.
pub fn executor_plugin_mistake(plugin: &ExecutorPlugin) -> Option<&'static str> {
    let container = &plugin.spec.sidecar.container;
    if container["ports"].as_array().is_none_or(Vec::is_empty) {
        Some("at least one port is mandatory")
    } else if !container["resources"]["requests"].is_object() {
        Some("resources requests are mandatory")
    } else if !container["resources"]["limits"].is_object() {
        Some("resources limits are mandatory")
    } else if !container["securityContext"].is_object() {
        Some("security context is mandatory")
    } else {
        None
    }
}

fn check_pod_gc(report: &mut Report, place: &Place, spec: &WorkflowSpec) -> Outcome {
    const STRATEGIES: &[&str] = &["", "OnPodCompletion", "OnPodSuccess", "OnWorkflowCompletion", "OnWorkflowSuccess"];
    let Some(pod_gc) = &spec.pod_gc else { return Ok(()) };
    let strategy = &pod_gc.strategy;
    if !STRATEGIES.contains(&strategy.as_str()) {
        let message = format!("podGC.strategy unknown strategy '{strategy}'");
        report.error(&place.below(".podGC.strategy"), message)?;
    }
    let expressions = pod_gc.label_selector.as_ref().and_then(|selector| selector["matchExpressions"].as_array());
    for expression in expressions.into_iter().flatten() {
        let operator = expression["operator"].as_str().unwrap_or_default();
        if !matches!(operator, "In" | "NotIn" | "Exists" | "DoesNotExist") {
            let message = format!("podGC.labelSelector invalid: {operator:?} is not a valid label selector operator");
            report.error(&place.below(".podGC.labelSelector"), message)?;
        }
    }
    Ok(())
}

//! One template, and the ways to name it. argo: validate.go, validateTemplateHolder and validateTemplate;
//! templateresolution/context.go, ResolveTemplate.

use std::borrow::Cow;
use std::collections::HashSet;

use tiphys_api::{Template, TemplateRef, TemplateType, WorkflowSpec};

use super::Templates;
use super::args::{self, RETRIES, Supply};
use super::containers::{self, DefaultImages};
use super::names::{self, Rule};
use super::report::{Origin, Outcome, Place, Report};
use super::scope::{Globals, PLACEHOLDER, Scope, Visible};
use super::{dag, known, location, outputs, steps, tags};

/// A validation under way.
pub(super) struct Validation<'a> {
    pub(super) lookup: &'a dyn Templates,
    pub(super) report: Report,
    pub(super) globals: Globals,
    /// A template is validated by itself.
    pub(super) of_template: bool,
    /// Templates whose inside has been checked.
    pub(super) checked: HashSet<String>,
}

/// The spec in which names of templates are looked up.
#[derive(Clone)]
pub(super) struct Base<'a> {
    pub(super) spec: &'a WorkflowSpec,
    /// Where the spec is.
    pub(super) place: Place,
}

/// How a step, task or workflow names its template.
#[derive(Clone, Copy, Default)]
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) reference: Option<&'a TemplateRef>,
    pub(super) inline: Option<&'a Template>,
}

impl<'a> From<&'a tiphys_api::Task> for Call<'a> {
    fn from(task: &'a tiphys_api::Task) -> Call<'a> {
        Call { name: &task.template, reference: task.template_ref.as_deref(), inline: task.inline.as_deref() }
    }
}

/// A template that was found.
struct Resolved<'a> {
    template: Cow<'a, Template>,
    base: Base<'a>,
    place: Place,
}

impl<'a> Base<'a> {
    fn template(&self, name: &str) -> Option<(Cow<'a, Template>, Place)> {
        let index = self.spec.templates.iter().position(|template| template.name == name)?;
        let place = self.place.below(format_args!(".templates[{index}]"));
        Some((self.with_pod_metadata(&self.spec.templates[index]), place))
    }

    /// Labels and annotations of all Pods are part of each template, so their tags are checked with it.
    fn with_pod_metadata(&self, template: &'a Template) -> Cow<'a, Template> {
        let Some(metadata) = &self.spec.pod_metadata else { return Cow::Borrowed(template) };
        let mut template = template.clone();
        for (key, value) in &metadata.annotations {
            template.metadata.annotations.entry(key.clone()).or_insert_with(|| value.clone());
        }
        for (key, value) in &metadata.labels {
            template.metadata.labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Cow::Owned(template)
    }

    fn default_images(&self) -> DefaultImages {
        if let Origin::Template { cluster_scope: true, .. } = self.place.origin {
            return DefaultImages::default();
        }
        let Some(defaults) = &self.spec.template_defaults else { return DefaultImages::default() };
        let given =
            |container: &Option<Box<tiphys_api::Container>>| container.as_ref().is_some_and(|c| !c.image.is_empty());
        DefaultImages { container: given(&defaults.container), script: given(&defaults.script) }
    }
}

impl<'a> Validation<'a> {
    /// Checks a call and the template that it leads to. `caller` is where the call is. None where the template is not
    /// known before the workflow runs, or where it does not exist, which was reported.
    pub(super) fn call<'t>(
        &mut self,
        base: &Base<'t>,
        call: Call<'t>,
        caller: &Place,
        supply: Supply<'_>,
    ) -> Outcome<Option<Cow<'t, Template>>>
    where
        'a: 't,
    {
        let Some(resolved) = self.resolve(base, call, caller)? else { return Ok(None) };
        if let Some(retry) = &resolved.template.retry_strategy {
            let policy = &retry.retry_policy;
            if !matches!(policy.as_str(), "" | "Always" | "OnError" | "OnFailure" | "OnTransientError") {
                let place = resolved.place.below(".retryStrategy.retryPolicy");
                self.report.error(&place, format!("{policy} is not a valid RetryPolicy"))?;
            }
        }
        self.template(&resolved, caller, supply)?;
        Ok(Some(resolved.template))
    }

    fn resolve<'t>(&mut self, base: &Base<'t>, call: Call<'t>, caller: &Place) -> Outcome<Option<Resolved<'t>>>
    where
        'a: 't,
    {
        if let Some(reference) = call.reference {
            let place = caller.below(".templateRef");
            let wrong = if !call.name.is_empty() {
                Some("template name cannot be specified with templateRef")
            } else if reference.name.is_empty() {
                Some("resource name is required")
            } else if reference.template.is_empty() {
                Some("template name is required")
            } else {
                None
            };
            if let Some(wrong) = wrong {
                self.report.error(&place, wrong)?;
                return Ok(None);
            }
            let known_late = |text: &str| tags::simple_tags(text).next().is_some();
            if known_late(&reference.name) || known_late(&reference.template) {
                return Ok(None);
            }
        } else if !call.name.is_empty() && base.template(call.name).is_none() {
            self.report.error(&caller.below(".template"), format!("template name '{}' undefined", call.name))?;
            return Ok(None);
        }
        let found = self.find(base, call, caller)?;
        match &found {
            Some(found) if found.template.template_type().is_none() => {
                self.report.error(&found.place, format!("template '{}' type is unknown", found.template.name))?;
                Ok(None)
            }
            _ => Ok(found.map(|found| Resolved { template: known::only(found.template), ..found })),
        }
    }

    fn find<'t>(&mut self, base: &Base<'t>, call: Call<'t>, caller: &Place) -> Outcome<Option<Resolved<'t>>>
    where
        'a: 't,
    {
        if let Some(reference) = call.reference {
            let lookup = self.lookup;
            let origin = Origin::Template { cluster_scope: reference.cluster_scope, name: reference.name.clone() };
            let place = Place { origin, path: "spec".to_string() };
            let other = lookup.get(reference.cluster_scope, &reference.name).map(|spec| Base { spec, place });
            if let Some(inline) = call.inline {
                let base = other.unwrap_or_else(|| base.clone());
                return Ok(Some(Resolved { template: Cow::Borrowed(inline), base, place: caller.below(".inline") }));
            }
            let found = other.and_then(|base| base.template(&reference.template).map(|found| (base, found)));
            if let Some((base, (template, place))) = found {
                return Ok(Some(Resolved { template, base, place }));
            }
            if !reference.template.contains(PLACEHOLDER) {
                let message = format!("template reference {}.{} not found", reference.name, reference.template);
                self.report.error(&caller.below(".templateRef"), message)?;
            }
            return Ok(None);
        }
        if let Some(inline) = call.inline {
            let (template, place) = (Cow::Borrowed(inline), caller.below(".inline"));
            return Ok(Some(Resolved { template, base: base.clone(), place }));
        }
        match base.template(call.name) {
            Some((template, place)) => Ok(Some(Resolved { template, base: base.clone(), place })),
            None => {
                self.report.error(caller, "failed to get a template")?;
                Ok(None)
            }
        }
    }

    fn template(&mut self, resolved: &Resolved<'_>, caller: &Place, supply: Supply<'_>) -> Outcome {
        let Resolved { template, base, place } = resolved;
        let name = &template.name;
        if template.template_types().count() > 1 {
            let message = format!(
                "templates.{name} multiple template types specified. choose one of: container, containerSet, steps, \
                 script, resource, dag, suspend, template, template ref"
            );
            self.report.error(place, message)?;
        }
        self.pod_resources(template, place)?;
        let mut scope = self.inputs(template, place)?;
        if template.init_containers.iter().any(|container| container.name.is_empty()) {
            self.report.error(&place.below(".initContainers"), "initContainers must all have container name")?;
        }
        if template.is_pod() {
            scope.add("pod.name");
        }
        if template.retry_strategy.is_some() {
            RETRIES.iter().for_each(|tag| scope.add(*tag));
        }
        if is_leaf(template) {
            for artifact in template.outputs.artifacts.iter().filter(|artifact| !artifact.path.is_empty()) {
                scope.add(format!("outputs.artifacts.{}.path", artifact.name));
            }
            for parameter in &template.outputs.parameters {
                if parameter.value_from.as_ref().is_some_and(|from| !from.path.is_empty()) {
                    scope.add(format!("outputs.parameters.{}.path", parameter.name));
                }
            }
        }
        let identity = self.identity(template, base, place);
        let is_new = !self.checked.contains(&identity);
        // The inside is checked once; after that only what `limits` asks about can come out differently.
        let unlimited =
            template.timeout.is_empty() && template.pending_timeout.is_empty() && template.resource_claims.is_empty();
        let fills = is_new || !unlimited;
        let (report, globals) = (&mut self.report, &mut self.globals);
        let Some(supplied) = args::supply(report, caller, template, supply, globals, fills)? else {
            return Ok(());
        };
        self.limits(template, &supplied, place)?;
        if is_new {
            self.checked.insert(identity);
            self.inside(&supplied, base, place, scope)?;
        }
        Ok(())
    }

    /// What tells one template from another. Argo knows an inline template by its name, which is empty, and so checks
    /// the first one only.
    fn identity(&self, template: &Template, base: &Base<'_>, place: &Place) -> String {
        if self.report.is_thorough() {
            return format!("{:?}/{}", place.origin, place.path);
        }
        format!("{:?}/{}", base.place.origin, template.name)
    }

    fn pod_resources(&mut self, template: &Template, place: &Place) -> Outcome {
        let Some(resources) = &template.pod_resources else { return Ok(()) };
        let name = &template.name;
        if matches!(template.template_type(), Some(TemplateType::Http | TemplateType::Plugin)) {
            let kind = type_name(template);
            let message = format!("templates.{name}.podResources is not supported for {kind} templates");
            return self.report.error(&place.below(".podResources"), message);
        }
        check_pod_resources(
            &mut self.report,
            &place.below(".podResources"),
            &format!("templates.{name}.podResources"),
            resources,
        )
    }

    fn inputs(&mut self, template: &Template, place: &Place) -> Outcome<Scope> {
        let (inputs, place) = (&template.inputs, place.below(".inputs"));
        let prefix = format!("templates.{}.inputs", template.name);
        let given = inputs.parameters.iter().map(|parameter| parameter.name.as_str());
        names::check(
            &mut self.report,
            &place.below(".parameters"),
            &format!("{prefix}.parameters"),
            Rule::Value,
            given,
        )?;
        let given = inputs.artifacts.iter().map(|artifact| artifact.name.as_str());
        names::check(&mut self.report, &place.below(".artifacts"), &format!("{prefix}.artifacts"), Rule::Value, given)?;
        let mut scope = Scope::default();
        for parameter in &inputs.parameters {
            scope.add(format!("inputs.parameters.{}", parameter.name));
        }
        if !inputs.parameters.is_empty() {
            scope.add("inputs.parameters");
        }
        for (index, artifact) in inputs.artifacts.iter().enumerate() {
            let place = place.below(format_args!(".artifacts[{index}]"));
            let tag = format!("inputs.artifacts.{}", artifact.name);
            let name = format!("templates.{}.{tag}", template.name);
            if is_leaf(template) {
                if let Some(wrong) = location::wrong_with_path(artifact) {
                    self.report.error(&place.below(".path"), format!("error in {name}: {wrong}"))?;
                }
                scope.add(format!("{tag}.path"));
            } else if !artifact.path.is_empty() {
                let message = format!("{name}.path only valid in container/script templates");
                self.report.error(&place.below(".path"), message)?;
            }
            scope.add(tag);
            if !artifact.from.is_empty() {
                self.report.error(&place.below(".from"), format!("{name}.from not valid in inputs"))?;
            }
            location::check(&mut self.report, &place, &name, &artifact.location())?;
        }
        Ok(scope)
    }

    /// Fields that only some types may have.
    fn limits(&mut self, template: &Template, supplied: &Template, place: &Place) -> Outcome {
        let (name, kind) = (&template.name, type_name(supplied));
        if !template.resource_claims.is_empty() && !supplied.is_pod() {
            let message = format!(
                "templates.{name}.resourceClaims is not supported for {kind} templates, which do not create a pod"
            );
            self.report.error(&place.below(".resourceClaims"), message)?;
        }
        if !supplied.timeout.is_empty() {
            let place = place.below(".timeout");
            if !is_leaf(supplied) {
                self.report.error(&place, format!("{kind} template doesn't support timeout field"))?;
            }
            if supplied.timeout.parse::<i64>().is_ok() {
                self.report.error(&place, format!("{} has invalid duration format in timeout", supplied.name))?;
            }
        }
        if !supplied.pending_timeout.is_empty() && !is_leaf(supplied) {
            let message = format!("{kind} template doesn't support pendingTimeout field");
            self.report.error(&place.below(".pendingTimeout"), message)?;
        }
        Ok(())
    }

    fn inside(&mut self, template: &Template, base: &Base<'_>, place: &Place, mut scope: Scope) -> Outcome {
        match template.template_type() {
            Some(TemplateType::Steps) => steps::check(self, &mut scope, base, place, template)?,
            Some(TemplateType::Dag) => dag::check(self, &mut scope, base, place, template)?,
            _ => {
                let json = serde_json::to_string(template).unwrap_or_default();
                let prefix = format!("templates.{}:", template.name);
                let visible = visible(&scope, &self.globals, self.of_template);
                visible.check(&mut self.report, place, &prefix, &json)?;
                containers::check(&mut self.report, place, template, base.default_images())?;
            }
        }
        let visible = visible(&scope, &self.globals, self.of_template);
        outputs::check(&mut self.report, &place.below(".outputs"), template, &visible)?;
        if let Some(location) = &template.archive_location {
            let name = format!("templates.{}.archiveLocation", template.name);
            location::check(&mut self.report, &place.below(".archiveLocation"), &name, location)?;
        }
        if let Some(metrics) = &template.metrics {
            outputs::check_metrics(&mut self.report, &place.below(".metrics"), &template.name, metrics)?;
        }
        Ok(())
    }
}

fn visible<'a>(scope: &'a Scope, globals: &'a Globals, of_template: bool) -> Visible<'a> {
    Visible { scope, globals, also: &|_| false, any_workflow_parameter: of_template }
}

/// Checks the resources of a whole Pod. argo: validate.go, validatePodResources.
pub(super) fn check_pod_resources(
    report: &mut Report,
    place: &Place,
    prefix: &str,
    resources: &serde_json::Value,
) -> Outcome {
    if resources["claims"].as_array().is_some_and(|claims| !claims.is_empty()) {
        report.error(&place.below(".claims"), format!("{prefix}.claims is not supported for pod-level resources"))?;
    }
    for list in ["limits", "requests"] {
        let named = resources[list].as_object().into_iter().flat_map(|list| list.keys());
        for name in named.filter(|name| !matches!(name.as_str(), "cpu" | "memory") && !name.starts_with("hugepages-")) {
            let message = format!(
                "{prefix}: {name:?} is not a valid pod-level resource, only cpu, memory and hugepages-* are supported"
            );
            report.error(&place.below(format_args!(".{list}.{name}")), message)?;
        }
    }
    Ok(())
}

/// Whether the template does work itself. Argo does not count `suspend` among them.
pub(super) fn is_leaf(template: &Template) -> bool {
    template.is_leaf() && template.template_type() != Some(TemplateType::Suspend)
}

/// The type's name in messages.
pub(super) fn type_name(template: &Template) -> &'static str {
    match template.template_type() {
        Some(TemplateType::Container) => "Container",
        Some(TemplateType::ContainerSet) => "ContainerSet",
        Some(TemplateType::Steps) => "Steps",
        Some(TemplateType::Script) => "Script",
        Some(TemplateType::Resource) => "Resource",
        Some(TemplateType::Dag) => "DAG",
        Some(TemplateType::Suspend) => "Suspend",
        Some(TemplateType::Data) => "Data",
        Some(TemplateType::Http) => "HTTP",
        Some(TemplateType::Plugin) => "Plugin",
        None => "Unknown",
    }
}

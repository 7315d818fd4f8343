//! Finding templates: by name in the current base, by reference in a (Cluster)WorkflowTemplate, or inline.
//!
//! argo: workflow/templateresolution/context.go. What is found by reference is stored in `status.storedTemplates`, so
//! that a later change of the WorkflowTemplate does not change a running workflow.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;

use serde_json::Value;
use tiphys_api::merge::{Schema, strategic_merge};
use tiphys_api::{Task, Template, TemplateRef, TemplateType, WorkflowSpec};

use crate::plan::Need;
use crate::run::Stop;

/// Where template names are looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Base {
    /// The workflow itself, by its name; empty when its spec came through `workflowTemplateRef`.
    Local(Arc<str>),
    /// A WorkflowTemplate.
    Namespaced(Arc<str>),
    /// A ClusterWorkflowTemplate.
    Cluster(Arc<str>),
}

impl Base {
    /// As in `templateScope` of nodes.
    pub fn scope(&self) -> String {
        match self {
            Base::Local(name) => format!("local/{name}"),
            Base::Namespaced(name) => format!("namespaced/{name}"),
            Base::Cluster(name) => format!("cluster/{name}"),
        }
    }

    /// The other way round.
    pub fn of_scope(scope: &str) -> Option<Base> {
        let (kind, name) = scope.split_once('/')?;
        match kind {
            "local" => Some(Base::Local(name.into())),
            "namespaced" => Some(Base::Namespaced(name.into())),
            "cluster" => Some(Base::Cluster(name.into())),
            _ => None,
        }
    }

    fn of_reference(reference: &TemplateRef) -> Base {
        let name = reference.name.as_str().into();
        if reference.cluster_scope { Base::Cluster(name) } else { Base::Namespaced(name) }
    }
}

/// A template that was found, with defaults merged, and its JSON text without inputs for substitution.
#[derive(Clone)]
pub(crate) struct Resolved(Arc<ResolvedInner>);

struct ResolvedInner {
    template: Arc<Template>,
    text: OnceLock<Arc<str>>,
}

impl Resolved {
    pub fn new(template: Template) -> Resolved {
        Resolved(Arc::new(ResolvedInner { template: Arc::new(template), text: OnceLock::new() }))
    }

    pub fn template(&self) -> &Arc<Template> {
        &self.0.template
    }

    /// The template as JSON, its inputs left out.
    pub fn text(&self) -> Arc<str> {
        self.0
            .text
            .get_or_init(|| {
                let mut bare = (*self.0.template).clone();
                bare.inputs = Default::default();
                to_json(&bare).into()
            })
            .clone()
    }
}

/// JSON text of something that cannot fail to be written: our own types have text keys only.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl crate::validate::Templates for Templates {
    fn get(&self, cluster_scope: bool, name: &str) -> Option<&WorkflowSpec> {
        self.specs.get(&(cluster_scope, name.to_string())).and_then(|found| found.as_deref().ok())
    }
}

/// The templates that are known.
#[derive(Default)]
pub(crate) struct Templates {
    /// What was said of (Cluster)WorkflowTemplates.
    specs: HashMap<(bool, String), Result<Arc<WorkflowSpec>, String>>,
    /// Found templates by stored key or, local ones, by name.
    found: HashMap<String, Resolved>,
}

impl Templates {
    pub fn learn(&mut self, cluster_scope: bool, name: String, spec: Result<Box<WorkflowSpec>, String>) {
        self.specs.entry((cluster_scope, name)).or_insert_with(|| spec.map(|spec| Arc::from(*spec)));
    }

    /// The spec of a (Cluster)WorkflowTemplate.
    pub fn spec(&self, cluster_scope: bool, name: &str) -> Result<Arc<WorkflowSpec>, Stop> {
        match self.specs.get(&(cluster_scope, name.to_string())) {
            Some(Ok(spec)) => Ok(spec.clone()),
            Some(Err(message)) => Err(Stop::Failed(message.clone())),
            None => Err(Stop::Need(Need::Template { cluster_scope, name: name.to_string() })),
        }
    }

    /// Finds the template a task calls. The answer's base is where names inside it are looked up; the key is under which
    /// it is stored in the status, for those that are.
    pub fn resolve(
        &mut self,
        workflow: &WorkflowSpec,
        stored: &std::collections::BTreeMap<String, Template>,
        base: &Base,
        task: &Task,
    ) -> Result<(Base, Resolved, Option<String>), Stop> {
        let new_base = task.template_ref.as_deref().map_or_else(|| base.clone(), Base::of_reference);
        let key = stored_key(base, task);
        let cache_key = match (&key, &task.inline) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(task.template.clone()),
        };
        if let Some(found) = cache_key.as_ref().and_then(|key| self.found.get(key)) {
            return Ok((new_base, found.clone(), None));
        }
        let (template, store) = match key.as_ref().and_then(|key| stored.get(key)) {
            Some(template) => (template.clone(), None),
            None => (self.look_up(workflow, base, task)?, key),
        };
        if template.template_type().is_none() {
            return Err(Stop::Failed(format!("template '{}' type is unknown", template.name)));
        }
        let resolved = Resolved::new(with_defaults(workflow.template_defaults.as_deref(), template)?);
        if let Some(key) = cache_key {
            self.found.insert(key, resolved.clone());
        }
        Ok((new_base, resolved, store))
    }

    /// The same for a look from the side: nothing is asked for or stored.
    pub fn peek(
        &self,
        workflow: &WorkflowSpec,
        stored: &std::collections::BTreeMap<String, Template>,
        base: &Base,
        task: &Task,
    ) -> Option<Arc<Template>> {
        let key = stored_key(base, task);
        let cached = match (&key, &task.inline) {
            (Some(key), _) => self.found.get(key),
            (None, Some(_)) => None,
            (None, None) => self.found.get(&task.template),
        };
        if let Some(found) = cached {
            return Some(found.template().clone());
        }
        let stored = key.and_then(|key| stored.get(&key).cloned());
        stored.or_else(|| self.look_up(workflow, base, task).ok()).map(Arc::new)
    }

    fn look_up(&self, workflow: &WorkflowSpec, base: &Base, task: &Task) -> Result<Template, Stop> {
        if let Some(inline) = &task.inline {
            return Ok((**inline).clone());
        }
        if let Some(reference) = &task.template_ref {
            let spec = match self.specs.get(&(reference.cluster_scope, reference.name.clone())) {
                Some(Ok(spec)) => spec.clone(),
                Some(Err(_)) => {
                    return Err(Stop::Failed(format!("workflow template {} not found", reference.name)));
                }
                None => self.spec(reference.cluster_scope, &reference.name)?,
            };
            let found = find(&spec, &reference.template).ok_or_else(|| {
                let TemplateRef { name, template, .. } = &**reference;
                Stop::Failed(format!("template {template} not found in workflow template {name}"))
            })?;
            return Ok(found);
        }
        if task.template.is_empty() {
            return Err(Stop::Failed("failed to get a template".into()));
        }
        let spec = match base {
            Base::Local(_) => return local(workflow, &task.template),
            Base::Namespaced(name) => self.spec(false, name)?,
            Base::Cluster(name) => self.spec(true, name)?,
        };
        find(&spec, &task.template).ok_or_else(|| Stop::Failed(format!("template {} not found", task.template)))
    }
}

fn local(workflow: &WorkflowSpec, name: &str) -> Result<Template, Stop> {
    find(workflow, name).ok_or_else(|| Stop::Failed(format!("template {name} not found")))
}

/// A template of a spec, with the spec's Pod metadata under its own.
fn find(spec: &WorkflowSpec, name: &str) -> Option<Template> {
    let mut template = spec.templates.iter().find(|template| template.name == name)?.clone();
    if let Some(metadata) = &spec.pod_metadata {
        for (key, value) in &metadata.annotations {
            template.metadata.annotations.entry(key.clone()).or_insert_with(|| value.clone());
        }
        for (key, value) in &metadata.labels {
            template.metadata.labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Some(template)
}

/// Under which key a template is stored, if it is. argo: workflow_types.go, resolveTemplateReference.
fn stored_key(base: &Base, task: &Task) -> Option<String> {
    if let Some(reference) = &task.template_ref {
        return Some(format!("{}/{}", Base::of_reference(reference).scope(), reference.template));
    }
    match base {
        Base::Local(_) => None,
        _ if task.inline.is_some() => Some(format!("{}/inline/{}", base.scope(), task.name)),
        _ => Some(format!("{}/{}", base.scope(), task.template)),
    }
}

/// `templateDefaults` under a template. argo: operator.go, mergedTemplateDefaultsInto.
fn with_defaults(defaults: Option<&Template>, template: Template) -> Result<Template, Stop> {
    let Some(defaults) = defaults else { return Ok(template) };
    let mut defaults = defaults.clone();
    let kind = template.template_type();
    let keep = |wanted| kind == Some(wanted);
    if !keep(TemplateType::Container) {
        defaults.container = None;
    }
    if !keep(TemplateType::ContainerSet) {
        defaults.container_set = None;
    }
    if !keep(TemplateType::Script) {
        defaults.script = None;
    }
    if !keep(TemplateType::Resource) {
        defaults.resource = None;
    }
    if !keep(TemplateType::Dag) {
        defaults.dag = None;
    }
    if !keep(TemplateType::Suspend) {
        defaults.suspend = None;
    }
    if !keep(TemplateType::Data) {
        defaults.data = None;
    }
    if !keep(TemplateType::Http) {
        defaults.http = None;
    }
    if !keep(TemplateType::Plugin) {
        defaults.plugin = None;
    }
    if !keep(TemplateType::Steps) {
        defaults.steps = None;
    }
    let as_value =
        |template: &Template| serde_json::to_value(template).map_err(|error| Stop::Failed(error.to_string()));
    let (defaults, own): (Value, Value) = (as_value(&defaults)?, as_value(&template)?);
    let merged = strategic_merge(&defaults, &own, Schema::Template).map_err(|error| Stop::Failed(error.to_string()))?;
    serde_json::from_value(merged).map_err(|error| Stop::Failed(format!("templateDefaults do not fit: {error}")))
}

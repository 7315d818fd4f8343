//! Which tags may be used where. argo: workflow/validate/validate.go, resolveAllVariables and addOutputsToScope.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
use tiphys_api::{Sequence, Template, TemplateType};

use super::names;
use super::report::{Outcome, Place, Report};
use super::tags;

// Begins what stands for a value that is only known when the workflow runs.
pub(super) use tiphys_expr::template::PLACEHOLDER_PREFIX as PLACEHOLDER;

/// Any `item.…` may be used: the items come from `withParam`.
const ANY_ITEM: &str = "item.*";
/// Any global output may be used: the name of one is itself a tag.
pub(super) const ANY_OUTPUT_PARAMETER: &str = "workflow.outputs.parameters.*";
pub(super) const ANY_OUTPUT_ARTIFACT: &str = "workflow.outputs.artifacts.*";

/// Roots of the tags that are checked; tags with others are left alone.
const ROOTS: &[&str] = &["item.", "steps.", "inputs.", "outputs.", "pod.", "workflow.", "tasks."];

/// Prefixes of tags that are only known when the workflow runs.
const LATE: &[&str] = &[
    "outputs.",
    "workflow.creationTimestamp",
    "workflow.scheduledTime",
    "workflow.duration",
    "tasks.name",
    "steps.name",
    "node.name",
];

/// Values that can be used in the whole workflow.
#[derive(Default)]
pub(super) struct Globals {
    pub(super) values: BTreeMap<String, String>,
    placeholders: usize,
}

impl Globals {
    /// A text that stands for a value not known yet.
    pub(super) fn placeholder(&mut self) -> String {
        self.placeholders += 1;
        format!("{PLACEHOLDER}{}", self.placeholders - 1)
    }

    pub(super) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// Sets a value that is not known yet.
    pub(super) fn set_unknown(&mut self, name: impl Into<String>) {
        let placeholder = self.placeholder();
        self.set(name, placeholder);
    }

    fn contains(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }
}

/// Tags that can be used in one template, besides the globals.
#[derive(Clone, Default)]
pub(super) struct Scope(HashSet<String>);

impl Scope {
    pub(super) fn add(&mut self, tag: impl Into<String>) {
        self.0.insert(tag.into());
    }

    pub(super) fn contains(&self, tag: &str) -> bool {
        self.0.contains(tag)
    }

    /// Adds `item` and what can be asked of it. Err: what is wrong with the loop.
    pub(super) fn add_items(
        &mut self,
        items: &[tiphys_api::Item],
        param: &str,
        sequence: Option<&Sequence>,
    ) -> Result<(), &'static str> {
        if usize::from(!items.is_empty()) + usize::from(!param.is_empty()) + usize::from(sequence.is_some()) > 1 {
            return Err("only one of withItems, withParam, withSequence can be specified");
        }
        for item in items {
            match &item.0 {
                Value::Array(list) => (0..list.len()).for_each(|index| self.add(format!("item.[{index}]"))),
                Value::Object(map) => map.keys().for_each(|key| self.add(format!("item.{key}"))),
                _ => self.add("item"),
            }
        }
        if !param.is_empty() {
            self.add("item");
            self.add(ANY_ITEM);
        }
        if let Some(sequence) = sequence {
            if sequence.count.is_some() && sequence.end.is_some() {
                return Err("only one of count or end can be defined in withSequence");
            }
            self.add("item");
        }
        Ok(())
    }

    /// Adds what a step or task gives to those after it. `kind` is `steps` or `tasks`; `template` is None where it is
    /// only known when the workflow runs.
    pub(super) fn add_node(
        &mut self,
        globals: &mut Globals,
        kind: &str,
        name: &str,
        template: Option<&Template>,
        aggregate: bool,
    ) {
        for field in ["id", "startedAt", "finishedAt", "hostNodeName"] {
            self.add(format!("{kind}.{name}.{field}"));
        }
        let Some(template) = template else { return };
        if template.is_daemon() {
            self.add(format!("{kind}.{name}.ip"));
        }
        if has_result(template) {
            self.add(format!("{kind}.{name}.outputs.result"));
            self.add(format!("{kind}.{name}.exitCode"));
        }
        for parameter in &template.outputs.parameters {
            self.add(format!("{kind}.{name}.outputs.parameters.{}", parameter.name));
            self.add_global(globals, "parameters", &parameter.global_name, ANY_OUTPUT_PARAMETER);
        }
        for artifact in &template.outputs.artifacts {
            self.add(format!("{kind}.{name}.outputs.artifacts.{}", artifact.name));
            self.add_global(globals, "artifacts", &artifact.global_name, ANY_OUTPUT_ARTIFACT);
        }
        if aggregate {
            if matches!(template.template_type(), Some(TemplateType::Script | TemplateType::ContainerSet)) {
                self.add(format!("{kind}.{name}.outputs.result"));
                self.add(format!("{kind}.{name}.exitCode"));
            }
            self.add(format!("{kind}.{name}.outputs.parameters"));
        }
    }

    fn add_global(&mut self, globals: &mut Globals, kind: &str, name: &str, any: &str) {
        if names::holds_parameter(name) {
            self.add(any);
        } else if !name.is_empty() {
            let tag = format!("workflow.outputs.{kind}.{name}");
            self.add(tag.as_str());
            globals.set_unknown(tag);
        }
    }
}

/// Whether a node of the template has a result and an exit code.
fn has_result(template: &Template) -> bool {
    let main = || template.container_set.as_ref().is_some_and(|set| set.containers.iter().any(|c| c.name == "main"));
    template.container.is_some()
        || template.script.is_some()
        || template.data.is_some()
        || template.http.is_some()
        || template.plugin.is_some()
        || main()
}

/// Which tags a text may use.
pub(super) struct Visible<'a> {
    pub(super) scope: &'a Scope,
    pub(super) globals: &'a Globals,
    /// Tags of this text alone.
    pub(super) also: &'a dyn Fn(&str) -> bool,
    /// A template is validated by itself: the parameters of the workflow that uses it are not known.
    pub(super) any_workflow_parameter: bool,
}

impl Visible<'_> {
    fn resolves(&self, tag: &str) -> bool {
        let known = |tag: &str| self.scope.contains(tag) || self.globals.contains(tag) || (self.also)(tag);
        let any = |prefix: &str, any: &str| tag.starts_with(prefix) && known(any);
        !ROOTS.iter().any(|root| tag.starts_with(root))
            || known(tag)
            || any("item.", ANY_ITEM)
            || any("workflow.outputs.parameters.", ANY_OUTPUT_PARAMETER)
            || any("workflow.outputs.artifacts.", ANY_OUTPUT_ARTIFACT)
            || LATE.iter().any(|late| tag.starts_with(late))
            || tag.starts_with("workflow.parameters") && self.any_workflow_parameter
    }

    /// Reports the tags of `json`, the text of what is at `place`, that cannot be resolved.
    pub(super) fn check(&self, report: &mut Report, place: &Place, prefix: &str, json: &str) -> Outcome {
        for tag in tags::simple_tags(json).filter(|tag| !self.resolves(tag.trim())) {
            let written = format!("{{{{{tag}}}}}");
            let field = serde_json::from_str(json).ok().and_then(|value: Value| holder(&value, &written));
            report.error(&place.below(field.unwrap_or_default()), format!("{prefix} failed to resolve {written}"))?;
        }
        Ok(())
    }
}

/// The path of the first text that holds `wanted`.
fn holder(value: &Value, wanted: &str) -> Option<String> {
    let below = |suffix: String, value| holder(value, wanted).map(|rest| format!("{suffix}{rest}"));
    match value {
        Value::String(text) => text.contains(wanted).then(String::new),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| below(format!("[{index}]"), item)),
        Value::Object(fields) => fields.iter().find_map(|(key, field)| below(format!(".{key}"), field)),
        _ => None,
    }
}

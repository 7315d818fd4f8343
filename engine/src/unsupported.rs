//! What a workflow asks for that cannot be done here. It is refused by name, before anything runs.

use std::collections::BTreeSet;

use tiphys_api::{Task, Template, TemplateType, WorkflowSpec};

use crate::hdfs;

/// A field that is not supported yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Where it is, as `spec.templates[0].http`.
    pub path: String,
    /// The field and what is missing, in words.
    pub message: String,
}

/// The unsupported fields of a spec, in templates that the workflow can reach. `without` names the kinds of templates
/// that the driver has no means for.
pub fn unsupported(spec: &WorkflowSpec, without: &[TemplateType]) -> Vec<Unsupported> {
    let mut found = Vec::new();
    let given = hdfs::of_artifacts(&spec.arguments.artifacts);
    found
        .extend(given.map(|(i, message)| Unsupported { path: format!("spec.arguments.artifacts[{i}].hdfs"), message }));
    let reached = reachable(spec);
    for (index, template) in spec.templates.iter().enumerate() {
        if !reached.contains(template.name.as_str()) {
            continue;
        }
        let path = format!("spec.templates[{index}]");
        if let Some(field) = template.template_type().and_then(|kind| refused_kind(kind, without)) {
            found.push(refuse(format!("{path}.{field}"), &format!("template '{}': {field}", template.name)));
        }
        let stored = hdfs::of_template(template).into_iter();
        found.extend(stored.map(|(field, message)| Unsupported { path: format!("{path}.{field}"), message }));
    }
    found
}

/// The same for one template that is about to be run.
pub(crate) fn unsupported_template(template: &Template, without: &[TemplateType]) -> Option<String> {
    if let Some((_, message)) = hdfs::of_template(template).into_iter().next() {
        return Some(format!("template '{}': {message}", template.name));
    }
    let field = template.template_type().and_then(|kind| refused_kind(kind, without))?;
    Some(refuse(String::new(), &format!("template '{}': {field}", template.name)).message)
}

fn refuse(path: String, what: &str) -> Unsupported {
    Unsupported {
        path,
        message: format!("{what} templates run on Kubernetes only; `tiphys submit` runs the workflow there"),
    }
}

fn refused_kind(kind: TemplateType, without: &[TemplateType]) -> Option<&'static str> {
    let field = match kind {
        TemplateType::Http => "http",
        TemplateType::Plugin => "plugin",
        TemplateType::Resource => "resource",
        TemplateType::Data => "data",
        _ => return None,
    };
    without.contains(&kind).then_some(field)
}

/// The names of the spec's own templates that can be called from where the workflow begins.
fn reachable(spec: &WorkflowSpec) -> BTreeSet<&str> {
    let hooks = spec.hooks.values().map(|hook| hook.template.as_str());
    let mut open: Vec<&str> = [spec.entrypoint.as_str(), spec.on_exit.as_str()].into_iter().chain(hooks).collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name) {
            continue;
        }
        let template = spec.templates.iter().find(|template| template.name == name);
        let mut inner: Vec<&Template> = template.into_iter().collect();
        while let Some(template) = inner.pop() {
            for task in tasks(template) {
                open.push(&task.template);
                open.push(&task.on_exit);
                open.extend(task.hooks.values().map(|hook| hook.template.as_str()));
                inner.extend(task.inline.as_deref());
            }
        }
    }
    seen
}

fn tasks(template: &Template) -> impl Iterator<Item = &Task> {
    let steps = template.steps.iter().flatten().flatten();
    steps.chain(template.dag.iter().flat_map(|dag| &dag.tasks))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(spec: serde_json::Value, without: &[TemplateType]) -> Vec<String> {
        let spec: WorkflowSpec = serde_json::from_value(spec).unwrap();
        unsupported(&spec, without).into_iter().map(|one| format!("{}: {}", one.path, one.message)).collect()
    }

    #[test]
    fn only_what_can_be_reached_is_refused() {
        let spec = json!({"entrypoint": "a", "templates": [
            {"name": "a", "steps": [[{"name": "s", "template": "b"}]]},
            {"name": "b", "http": {"url": "http://x"}},
            {"name": "c", "resource": {"action": "get"}},
            {"name": "d", "plugin": {"x": {}}}]});
        assert_eq!(
            found(spec.clone(), &[TemplateType::Http, TemplateType::Resource]),
            [
                "spec.templates[1].http: template 'b': http templates run on Kubernetes only; `tiphys submit` runs the workflow there"
            ]
        );
        assert_eq!(found(spec, &[TemplateType::Plugin]), [""; 0]);
    }

    #[test]
    fn what_is_in_hdfs_is_refused() {
        let artifact = json!({"name": "x", "hdfs": {"addresses": ["nn:8020"], "path": "/p"}});
        let mut spec = json!({"entrypoint": "a", "arguments": {"artifacts": [artifact]}, "templates": [
            {"name": "a", "inputs": {"artifacts": [artifact]}, "container": {"image": "i"}},
            {"name": "unused", "inputs": {"artifacts": [artifact]}, "container": {"image": "i"}}]});
        let paths: Vec<_> =
            found(spec.clone(), &[]).into_iter().map(|one| one.split(": ").next().unwrap().to_owned()).collect();
        assert_eq!(paths, ["spec.arguments.artifacts[0].hdfs", "spec.templates[0].inputs.artifacts[0].hdfs"]);
        let template = serde_json::from_value(spec["templates"][0].take()).unwrap();
        let message = unsupported_template(&template, &[]).unwrap();
        assert!(
            message.starts_with("template 'a': artifact 'x': artifacts[].hdfs is not supported by Tiphys: use"),
            "{message}"
        );
    }

    #[test]
    fn what_a_driver_lacks_is_refused() {
        let spec = json!({"entrypoint": "a", "templates": [{"name": "a", "resource": {"action": "get"}}]});
        assert_eq!(found(spec.clone(), &[]), [""; 0]);
        assert_eq!(found(spec, &[TemplateType::Resource]).len(), 1);
    }
}

//! What workflow templates and cron workflows have in common: listed, shown, made, replaced and deleted by name.

use serde::Deserialize as _;
use serde_json::{Value, json};
use tiphys_api::ObjectMeta;
use tiphys_api::document::{Document, Object};
use tiphys_engine::validate::{self, Options, Problem, Templates};
use tiphys_kubernetes::{ApiError, Kind, List, Pages};

use super::templates::Fetched;
use super::{Cluster, cron};
use crate::args::{Global, Manifests, ObjectDeleteArgs, ObjectFileArgs, ObjectGetArgs, ObjectListArgs, Output};
use crate::check::{diagnostics, report};
use crate::display::style::age;
use crate::failure::Failure;
use crate::input::{self, Input};
use crate::output;

/// The words for objects of a kind.
fn words(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::ClusterWorkflowTemplate => ("ClusterWorkflowTemplate", "cluster workflow template"),
        Kind::CronWorkflow => ("CronWorkflow", "cron workflow"),
        _ => ("WorkflowTemplate", "workflow template"),
    }
}

/// Reads manifests.
pub(super) fn read(args: &ObjectFileArgs) -> Result<Input, Failure> {
    input::read(&Manifests { files: args.files.clone(), with: Vec::new() })
}

/// Lists objects by name.
pub(super) async fn list(cluster: &Cluster, kind: Kind, args: &ObjectListArgs) -> Result<(), Failure> {
    let collection = if args.all_namespaces { kind.within("") } else { cluster.objects(kind) };
    let mut found = Vec::new();
    let mut pages = Pages::new(&cluster.api, &collection, &[("labelSelector", &args.selector)]);
    while let Some(page) = pages.next::<Value>().await? {
        found.extend(page.items.into_iter().map(|item| typed(item, kind)));
    }
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    output::print(&match args.output {
        Some(Output::Name) => found.iter().map(|object| name(object) + "\n").collect(),
        Some(format @ (Output::Json | Output::Yaml)) => output::list(&found, format),
        _ if found.is_empty() => format!("no {}s found\n", words(kind).1),
        _ if kind == Kind::CronWorkflow => cron::table(found, args.all_namespaces)?,
        _ => {
            let mut rows = vec![vec!["NAME".to_owned(), "AGE".to_owned()]];
            rows.extend(found.iter().map(|object| vec![name(object), age(metadata(object).creation_timestamp)]));
            if args.all_namespaces && kind == Kind::WorkflowTemplate {
                rows[0].insert(0, "NAMESPACE".to_owned());
                let namespaces = found.iter().map(|object| metadata(object).namespace);
                rows[1..].iter_mut().zip(namespaces).for_each(|(row, namespace)| row.insert(0, namespace));
            }
            output::table(&rows)
        }
    });
    Ok(())
}

/// Shows objects.
pub(super) async fn get(cluster: &Cluster, kind: Kind, args: &ObjectGetArgs) -> Result<(), Failure> {
    for name in &args.names {
        let object = cluster.api.get(&cluster.objects(kind).named(name)).await?;
        output::print(&text(object, kind, args.output)?);
    }
    Ok(())
}

/// Deletes objects.
pub(super) async fn delete(cluster: &Cluster, kind: Kind, args: &ObjectDeleteArgs) -> Result<(), Failure> {
    let collection = cluster.objects(kind);
    let mut names = args.names.clone();
    if args.all {
        let list: List<Value> = cluster.api.get(collection.path()).await?;
        names.extend(list.items.iter().map(|object| metadata(object).name));
    }
    for name in names {
        let there = cluster.api.delete_if_there(&collection.named(&name), &json!({})).await?;
        output::print(&format!("{} {name} {}\n", words(kind).1, if there { "deleted" } else { "not found" }));
    }
    Ok(())
}

/// Creates the objects of a kind that manifests hold, or puts them in place of those that are there, after `change`.
pub(super) async fn write(
    cluster: &Cluster,
    global: &Global,
    kind: Kind,
    args: &ObjectFileArgs,
    input: &Input,
    replace: bool,
    change: impl Fn(&mut Object) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut objects = Vec::new();
    for document in input.own.iter().filter(|document| document.object.kind() == words(kind).0) {
        let mut object = document.object.clone();
        change(&mut object)?;
        match &mut object {
            Object::WorkflowTemplate(template) => cluster.own(&mut template.metadata, global)?,
            Object::CronWorkflow(cron) => cluster.own(&mut cron.metadata, global)?,
            _ => {}
        }
        check(cluster, &object, document, input, args.strict).await?;
        objects.push(object);
    }
    if objects.is_empty() {
        return Err(Failure::invalid(Some(format!("there is no {} in what was given", words(kind).0))));
    }
    for object in objects {
        let namespace = object.metadata().map(|metadata| metadata.namespace.clone()).unwrap_or_default();
        let collection = match kind {
            Kind::ClusterWorkflowTemplate => kind.within(""),
            kind => kind.within(&namespace),
        };
        let mut value = value(&object)?;
        let made = if replace {
            let path = collection.named(object.name());
            let current: Value = cluster.api.get(&path).await?;
            value["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
            if let Some(status) = current.get("status") {
                value["status"] = status.clone();
            }
            cluster.api.replace(&path, &value).await?
        } else {
            cluster.send(collection.path(), &value).await?
        };
        match args.output {
            None => {
                let done = if replace { "updated" } else { "created" };
                output::print(&format!("{} {} {done}\n", words(kind).1, metadata(&made).name));
            }
            format => output::print(&text(made, kind, format)?),
        }
    }
    Ok(())
}

async fn check(
    cluster: &Cluster,
    object: &Object,
    document: &Document,
    input: &Input,
    strict: bool,
) -> Result<(), Failure> {
    let namespace = object.metadata().map(|metadata| metadata.namespace.clone()).unwrap_or_default();
    let mut fetched = Fetched::default();
    let problems = loop {
        let problems = problems(object, &fetched, Options { lint: true });
        if !fetched.fetch(cluster, &namespace).await? {
            break problems;
        }
    };
    report(diagnostics(problems, Some(document), input), Some(document), strict)
}

/// What is wrong with an object of a manifest.
pub fn problems(object: &Object, lookup: &dyn Templates, options: Options) -> Vec<Problem> {
    match object {
        Object::Workflow(workflow) => validate::workflow(workflow, lookup, options),
        Object::WorkflowTemplate(template) => validate::workflow_template(template, lookup, options),
        Object::ClusterWorkflowTemplate(template) => validate::cluster_workflow_template(template, lookup, options),
        Object::CronWorkflow(cron) => validate::cron_workflow(cron, lookup),
        _ => Vec::new(),
    }
}

fn value(object: &Object) -> Result<Value, ApiError> {
    let mut value = match object {
        Object::WorkflowTemplate(template) => serde_json::to_value(template)?,
        Object::ClusterWorkflowTemplate(template) => serde_json::to_value(template)?,
        Object::CronWorkflow(cron) => serde_json::to_value(cron)?,
        _ => Value::Null,
    };
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, field| name != "status" || field.as_object().is_some_and(|status| !status.is_empty()));
    }
    Ok(value)
}

/// Items of a list do not say what they are.
fn typed(mut item: Value, kind: Kind) -> Value {
    item["apiVersion"] = "argoproj.io/v1alpha1".into();
    item["kind"] = words(kind).0.into();
    item
}

fn metadata(object: &Value) -> ObjectMeta {
    ObjectMeta::deserialize(&object["metadata"]).unwrap_or_default()
}

/// An object as it is printed.
fn text(object: Value, kind: Kind, format: Option<Output>) -> Result<String, Failure> {
    Ok(match format {
        Some(Output::Name) => format!("{}\n", metadata(&object).name),
        Some(format @ (Output::Json | Output::Yaml)) => output::value(&object, format),
        _ if kind == Kind::CronWorkflow => cron::details(object)?,
        _ => details(&object),
    })
}

/// A template in a few lines.
fn details(object: &Value) -> String {
    let metadata = metadata(object);
    let names = |list: &Value| {
        let items = list.as_array().into_iter().flatten();
        let names: Vec<&str> = items.filter_map(|item| item["name"].as_str()).collect();
        names.join(", ")
    };
    let created = metadata.creation_timestamp.map(|time| format!("{time} ({} ago)", age(Some(time))));
    let rows = [
        ("Name", metadata.name.clone()),
        ("Namespace", metadata.namespace),
        ("Created", created.unwrap_or_default()),
        ("Entrypoint", object["spec"]["entrypoint"].as_str().unwrap_or_default().to_owned()),
        ("Parameters", names(&object["spec"]["arguments"]["parameters"])),
        ("Templates", names(&object["spec"]["templates"])),
    ];
    output::fields(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_shown_in_a_few_lines() {
        let object = json!({
            "metadata": {"name": "t", "namespace": "n"},
            "spec": {"entrypoint": "a", "arguments": {"parameters": [{"name": "p"}]}, "templates": [{"name": "a"}, {"name": "b"}]},
        });
        let expected = "Name         t\nNamespace    n\nEntrypoint   a\nParameters   p\nTemplates    a, b\n";
        assert_eq!(text(object, Kind::WorkflowTemplate, None).unwrap(), expected);
    }
}

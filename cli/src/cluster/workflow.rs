//! Workflow objects: found by name or selector, changed, put in place of others.

use serde_json::{Map, Value, json};
use tiphys_api::{Nodes, Workflow};
use tiphys_kubernetes::{ApiError, Kind, List, ObjectMeta};
use tiphys_nodes::Form;

use super::filter::label_selector;
use super::outside::{Found, without_nodes};
use super::{Cluster, LATEST};
use crate::failure::Failure;

/// How often a change is tried while others change the workflow, too.
const ATTEMPTS: usize = 20;

impl Cluster {
    /// The name of a workflow, or of the one created last.
    pub(super) async fn name(&self, name: &str) -> Result<String, Failure> {
        if name != LATEST {
            return Ok(name.to_owned());
        }
        #[derive(serde::Deserialize)]
        struct Created {
            metadata: tiphys_api::ObjectMeta,
        }
        let selector = label_selector(&[&self.instance_selector()]);
        let path = self.objects(Kind::Workflow).query(&[("labelSelector", &selector)]);
        const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        let list: List<Created> = self.api.get_as(&path, METADATA).await?;
        let last = list.items.into_iter().map(|one| one.metadata).max_by_key(|one| one.creation_timestamp);
        let none = || Failure::failed(Some(format!("there is no workflow in namespace {}", self.namespace)));
        last.map(|metadata| metadata.name).ok_or_else(none)
    }

    /// The names of workflows that were named, and of those that are selected, each once.
    pub(super) async fn names(&self, named: &[String], labels: &str, fields: &str) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        if !labels.is_empty() || !fields.is_empty() {
            let selector = label_selector(&[&self.instance_selector(), labels]);
            let query = [("labelSelector", selector.as_str()), ("fieldSelector", fields)];
            let list: List<ObjectMeta> = self.api.get(&self.objects(Kind::Workflow).query(&query)).await?;
            names.extend(list.items.into_iter().map(|one| one.metadata.name));
        }
        for name in named {
            let name = self.name(name).await?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Changes a workflow: `change` is given it as it is, without its nodes where they are not in the object, and answers with
    /// the merge patch; nothing where there is nothing to do. Where somebody else writes at the same time, it is read and
    /// asked again.
    pub(super) async fn change(
        &self,
        name: &str,
        mut change: impl AsyncFnMut(Workflow) -> Result<Option<Value>, Failure>,
    ) -> Result<(), Failure> {
        let path = self.objects(Kind::Workflow).named(name);
        let mut attempts = 0;
        loop {
            let workflow: Workflow = self.api.get(&path).await?;
            let version = workflow.metadata.resource_version.clone();
            let Some(mut patch) = change(workflow).await? else { return Ok(()) };
            patch["metadata"]["resourceVersion"] = version.into();
            attempts += 1;
            match self.api.patch(&path, &patch).await {
                Err(error) if error.is_conflict() && attempts < ATTEMPTS => {}
                outcome => return Ok(outcome.map(|_| ())?),
            }
        }
    }

    /// As [`change`](Self::change), for changes of nodes: they go back to where they were.
    pub(super) async fn change_nodes(
        &self,
        name: &str,
        mut change: impl FnMut(Found) -> Result<Option<Change>, Failure>,
    ) -> Result<(), Failure> {
        self.change(name, async |workflow| {
            let found = self.whole(workflow).await;
            let form = found.form.clone();
            let Some(Change { mut patch, workflow, changed }) = change(found)? else { return Ok(None) };
            if !changed.is_empty() {
                let status = match self.keep_outside(&workflow, &form, &workflow.status.nodes).await? {
                    Some(version) => without_nodes(&version),
                    None => nodes_patch(&workflow, &changed, form == Form::Compressed),
                };
                let more = patch["status"].take();
                patch["status"] = status;
                for (name, value) in more.as_object().into_iter().flatten() {
                    patch["status"][name] = value.clone();
                }
            }
            Ok(Some(patch))
        })
        .await
    }

    /// Puts a workflow that was read, and changed, in place of the one that is there, with its nodes in the form in which they
    /// were. Ok(None): somebody else was faster.
    pub(super) async fn put(&self, workflow: &Workflow, form: &Form) -> Result<Option<Workflow>, Failure> {
        let path = self.objects(Kind::Workflow).named(&workflow.metadata.name);
        let mut object = written(workflow)?;
        if let Some(version) = self.keep_outside(workflow, form, &workflow.status.nodes).await? {
            object["status"]["offloadNodeStatusVersion"] = version.into();
            for field in ["nodes", "compressedNodes"] {
                object["status"].as_object_mut().map(|status| status.remove(field));
            }
        }
        match self.api.replace(&path, &object).await {
            Ok(object) => read(object, &workflow.status.nodes).map(Some),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A change of a workflow whose nodes are known.
pub(super) struct Change {
    /// The merge patch of everything but its nodes.
    pub patch: Value,
    /// The workflow as it is to be.
    pub workflow: Workflow,
    /// The ids of nodes that change.
    pub changed: Vec<String>,
}

/// A workflow as the server answered when it was given these nodes.
pub(super) fn read(object: Value, nodes: &Nodes) -> Result<Workflow, Failure> {
    let mut workflow: Workflow = serde_json::from_value(object).map_err(ApiError::Unreadable)?;
    workflow.status.nodes.clone_from(nodes);
    workflow.status.compressed_nodes.clear();
    workflow.status.offload_node_status_version.clear();
    Ok(workflow)
}

/// A workflow as it goes to the server: many nodes are compressed.
pub(super) fn written(workflow: &Workflow) -> Result<Value, Failure> {
    let mut object = serde_json::to_value(workflow).map_err(ApiError::Unreadable)?;
    let nodes = &workflow.status.nodes;
    if object["status"]["nodes"].to_string().len() > tiphys_nodes::MOST {
        object["status"]["compressedNodes"] = pack(nodes).into();
        object["status"].as_object_mut().map(|status| status.remove("nodes"));
    }
    let is_empty = object["status"].as_object().is_none_or(Map::is_empty);
    if is_empty {
        object.as_object_mut().map(|object| object.remove("status"));
    }
    Ok(object)
}

/// Nodes as `status.compressedNodes` has them.
fn pack(nodes: &Nodes) -> String {
    tiphys_nodes::pack(&tiphys_nodes::to_json(nodes))
}

/// The merge patch for nodes that were changed. `packed` says whether the object has them compressed.
fn nodes_patch(workflow: &Workflow, changed: &[String], packed: bool) -> Value {
    let status = &workflow.status;
    if packed {
        return json!({"compressedNodes": pack(&status.nodes)});
    }
    let node = |id: &String| {
        let node = serde_json::to_value(status.nodes.get(id)).unwrap_or_default();
        let fields = ["phase", "message", "finishedAt", "outputs"].map(|field| (field.to_owned(), node[field].clone()));
        (id.clone(), Value::Object(fields.into_iter().collect()))
    };
    json!({"nodes": Value::Object(changed.iter().map(node).collect())})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workflow(nodes: usize) -> Workflow {
        let node = |number: usize| {
            let id = format!("w-{number}");
            (id.clone(), json!({"id": id, "phase": "Succeeded", "message": "x".repeat(200), "finishedAt": null}))
        };
        let nodes: Map<String, Value> = (0..nodes).map(node).collect();
        serde_json::from_value(json!({"metadata": {"name": "w"}, "status": {"nodes": nodes}})).unwrap()
    }

    #[test]
    fn many_nodes_go_out_compressed_and_come_back() {
        assert_eq!(written(&Workflow::default()).unwrap().get("status"), None);
        let small = written(&workflow(2)).unwrap();
        assert!(small["status"]["nodes"].is_object() && small["status"]["compressedNodes"].is_null());
        let large = workflow(5000);
        let object = written(&large).unwrap();
        assert!(object["status"]["nodes"].is_null() && object["status"]["compressedNodes"].is_string());
        let mut back: Workflow = serde_json::from_value(object).unwrap();
        tiphys_nodes::unpack(&mut back).unwrap();
        assert_eq!(back.status.nodes, large.status.nodes);
    }

    #[test]
    fn a_patch_names_what_a_user_changes() {
        let workflow = workflow(2);
        let patch = nodes_patch(&workflow, &["w-1".into()], false);
        let node = json!({"phase": "Succeeded", "message": "x".repeat(200), "finishedAt": null, "outputs": null});
        assert_eq!(patch, json!({"nodes": {"w-1": node}}));
        assert!(nodes_patch(&workflow, &["w-1".into()], true)["compressedNodes"].is_string());
    }
}

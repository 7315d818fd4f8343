//! Workflow objects: found, read with their nodes, changed.

use serde_json::{Map, Value, json};
use tiphys_api::{Nodes, Workflow};
use tiphys_kubernetes::{ApiError, Kind, List, ObjectMeta};

use super::filter::label_selector;
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

    /// Reads a workflow with its nodes, where they are in the object.
    pub(super) async fn workflow(&self, name: &str) -> Result<Workflow, ApiError> {
        let mut workflow = self.api.get(&self.objects(Kind::Workflow).named(name)).await?;
        unpack(&mut workflow);
        Ok(workflow)
    }

    /// Changes a workflow: `change` is given it as it is, and whether its nodes are compressed, and answers with the merge
    /// patch; nothing where there is nothing to do. Where somebody else writes at the same time, it is read and asked again.
    pub(super) async fn change(
        &self,
        name: &str,
        mut change: impl FnMut(Workflow, bool) -> Result<Option<Value>, Failure>,
    ) -> Result<(), Failure> {
        let path = self.objects(Kind::Workflow).named(name);
        let mut attempts = 0;
        loop {
            let mut workflow: Workflow = self.api.get(&path).await?;
            let packed = !workflow.status.compressed_nodes.is_empty();
            unpack(&mut workflow);
            let version = workflow.metadata.resource_version.clone();
            let Some(mut patch) = change(workflow, packed)? else { return Ok(()) };
            patch["metadata"]["resourceVersion"] = version.into();
            attempts += 1;
            match self.api.patch(&path, &patch).await {
                Err(error) if error.is_conflict() && attempts < ATTEMPTS => {}
                outcome => return Ok(outcome.map(|_| ())?),
            }
        }
    }

    /// Puts a workflow that was read, and changed, in place of the one that is there. Ok(None): somebody else was faster.
    pub(super) async fn put(&self, workflow: &Workflow) -> Result<Option<Workflow>, Failure> {
        let path = self.objects(Kind::Workflow).named(&workflow.metadata.name);
        match self.api.replace(&path, &written(workflow)?).await {
            Ok(object) => read(object).map(Some),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A workflow as the server gave it.
pub(super) fn read(object: Value) -> Result<Workflow, Failure> {
    let mut workflow = serde_json::from_value(object).map_err(ApiError::Unreadable)?;
    unpack(&mut workflow);
    Ok(workflow)
}

/// Puts compressed nodes where they belong. Damaged ones are told of, and are as good as none.
pub(super) fn unpack(workflow: &mut Workflow) {
    if let Err(error) = tiphys_nodes::unpack(workflow) {
        eprintln!("tiphys: warning: {}: {error}", workflow.metadata.name);
    }
}

/// Why a workflow's nodes are not known, where they are kept outside of the object.
pub(super) fn elsewhere(workflow: &Workflow) -> Option<String> {
    let status = &workflow.status;
    let version = status.offload_node_status_version.as_str();
    (status.nodes.is_empty() && !version.is_empty()).then(|| {
        format!(
            "the nodes of {} are kept outside of the object (status.offloadNodeStatusVersion is {version}), where this \
             program cannot read them",
            workflow.metadata.name
        )
    })
}

/// A workflow whose nodes are needed to change it.
pub(super) fn with_nodes(workflow: Workflow) -> Result<Workflow, Failure> {
    match elsewhere(&workflow) {
        None => Ok(workflow),
        Some(reason) => Err(Failure::failed(Some(reason))),
    }
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
    // Nodes have text keys, and always serialise.
    tiphys_nodes::pack(&serde_json::to_vec(nodes).unwrap_or_default())
}

/// The merge patch for nodes that were changed. `packed` says whether the object has them compressed.
pub(super) fn nodes_patch(workflow: &Workflow, changed: &[String], packed: bool) -> Value {
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
        assert_eq!(read(object).unwrap().status.nodes, large.status.nodes);
    }

    #[test]
    fn nodes_that_are_elsewhere_are_said_to_be() {
        let mut workflow = workflow(0);
        assert_eq!(elsewhere(&workflow), None);
        workflow.status.offload_node_status_version = "fnv:1".into();
        assert!(elsewhere(&workflow).is_some_and(|reason| reason.contains("fnv:1")));
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

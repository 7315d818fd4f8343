//! `tiphys cp`: the artifacts of a workflow on a cluster, from their stores into a folder, with the user's own rights; Argo's CLI
//! asks Argo's server for them. They come as they are stored: archives are not unpacked.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tiphys_api::{Artifact, NodeStatus, Workflow};
use tiphys_artifact::{Artifacts, has_location};

use super::location::{key_of, located};
use super::secrets::{Fetched, options};
use super::{none_local, within};
use crate::args::{CopyArgs, Global};
use crate::failure::Failure;
use crate::output;

/// Artifacts that are on their way at a time.
const TOGETHER: usize = 4;

/// Copies what is meant; one that cannot be had does not keep others away.
pub fn copy(global: &Global, args: &CopyArgs) -> Result<(), Failure> {
    none_local(global, "cp", std::slice::from_ref(&args.workflow))?;
    within(global, async |cluster| {
        let name = cluster.name(&args.workflow).await?;
        let (workflow, _) = cluster.workflow(&name).await?.with_nodes()?;
        let wanted = wanted(&workflow, args)?;
        if wanted.is_empty() {
            output::print("no artifacts found\n");
        }
        let mut failed = false;
        let mut say = |path: &Path, why: &str| {
            failed = true;
            eprintln!("tiphys: {}: {why}", path.display());
        };
        let mut secrets = Fetched::default();
        let mut placed = Vec::new();
        for (path, artifact) in &wanted {
            match cluster.place(&workflow.metadata.namespace, artifact, &mut secrets).await {
                Ok(_) => placed.push((path, artifact)),
                Err(failure) => say(path, failure.message().unwrap_or_default()),
            }
        }
        let artifacts = Artifacts::new(secrets, options()?);
        let artifacts = &artifacts;
        let copies = placed.into_iter().map(|(path, artifact)| async move {
            let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            let outcome = match made {
                Ok(()) => artifacts.load_input(artifact, path).await.map(|_| ()).map_err(|error| error.to_string()),
                Err(error) => Err(format!("its folder cannot be made: {error}")),
            };
            (path, outcome)
        });
        let mut copies = stream::iter(copies).buffer_unordered(TOGETHER);
        while let Some((path, outcome)) = copies.next().await {
            match outcome {
                Ok(()) if global.quiet => {}
                Ok(()) => output::print(&format!("{}\n", path.display())),
                Err(why) => say(path, &why),
            }
        }
        if failed { Err(Failure::failed(None)) } else { Ok(()) }
    })
}

/// Where each artifact goes that is meant, and is still there. argo: workflow_types.go, SearchArtifacts.
fn wanted(workflow: &Workflow, args: &CopyArgs) -> Result<BTreeMap<PathBuf, Artifact>, Failure> {
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let nodes = workflow.status.nodes.values();
    let nodes = nodes.filter(|node| is(&args.template_name, &node.template_name) && is(&args.node_id, &node.id));
    let mut found: BTreeMap<PathBuf, Artifact> = BTreeMap::new();
    for node in nodes {
        let artifacts = node.outputs.iter().flat_map(|outputs| &outputs.artifacts);
        for artifact in artifacts.filter(|artifact| is(&args.artifact_name, &artifact.name) && !artifact.deleted) {
            let mut artifact = located(workflow, artifact);
            if !has_location(&artifact) {
                continue;
            }
            let path = args.folder.join(path(&args.path, workflow, node, &artifact)?);
            // As it is stored, with the mode that a file has here.
            artifact.archive = serde_json::from_value(json!({"none": {}})).ok();
            artifact.mode = None;
            // A step hands on what its Pod has made: that is one artifact with two names.
            if let Some(other) = found.get(&path)
                && other.location() != artifact.location()
            {
                return Err(Failure::usage(format!(
                    "--path {}: two artifacts would be {}: tell them apart by {{nodeId}} and {{artifactName}}",
                    args.path,
                    path.display()
                )));
            }
            found.insert(path, artifact);
        }
    }
    Ok(found)
}

/// The path of an artifact's file: the template's, then what it is called in its store.
fn path(template: &str, workflow: &Workflow, node: &NodeStatus, artifact: &Artifact) -> Result<PathBuf, Failure> {
    // argo: workflow/util/util.go, GetTemplateFromNode
    let of_reference = node.template_ref.as_ref().map(|reference| reference.template.as_str());
    let key = key_of(artifact);
    let file = key.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty());
    let mut path = template.to_owned();
    for (variable, value) in [
        ("{namespace}", workflow.metadata.namespace.as_str()),
        ("{workflowName}", &workflow.metadata.name),
        ("{nodeId}", &node.id),
        ("{templateName}", of_reference.unwrap_or(&node.template_name)),
        ("{artifactName}", &artifact.name),
    ] {
        if path.contains(variable) {
            path = path.replace(variable, one_name(value)?);
        }
    }
    Ok(Path::new(&path).join(one_name(file.unwrap_or(&artifact.name))?))
}

/// What a workflow says must not lead out of the folder.
fn one_name(text: &str) -> Result<&str, Failure> {
    let mut parts = Path::new(text).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) if name == text && !text.contains('\0') => Ok(text),
        _ => Err(Failure::failed(Some(format!("{text:?} is no name of a file, and is not made one")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workflow(key: &str) -> Workflow {
        let artifact = json!({"name": "out", "s3": {"key": key}});
        serde_json::from_value(json!({
            "metadata": {"name": "w", "namespace": "n"},
            "status": {
                "artifactRepositoryRef": {"artifactRepository": {"s3": {"bucket": "b", "endpoint": "e"}}},
                "nodes": {
                    "w": {"id": "w", "templateName": "main", "outputs": {"artifacts": [artifact]}},
                    "w-1": {"id": "w-1", "templateRef": {"name": "r", "template": "t"}, "outputs": {"artifacts": [artifact,
                        {"name": "gone", "deleted": true, "s3": {"key": "gone"}}, {"name": "nowhere"}]}},
                },
            },
        }))
        .unwrap()
    }

    fn args(path: &str) -> CopyArgs {
        CopyArgs {
            workflow: "w".into(),
            folder: "f".into(),
            node_id: None,
            template_name: None,
            artifact_name: None,
            path: path.into(),
        }
    }

    fn paths(key: &str, args: &CopyArgs) -> Vec<String> {
        let found = wanted(&workflow(key), args).unwrap();
        found.keys().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn each_artifact_has_its_place() {
        let usual = args("{namespace}/{workflowName}/{nodeId}/outputs/{artifactName}");
        assert_eq!(paths("a/out.tgz", &usual), ["f/n/w/w/outputs/out/out.tgz", "f/n/w/w-1/outputs/out/out.tgz"]);
        let by_template = CopyArgs { node_id: Some("w-1".into()), ..args("{templateName}") };
        assert_eq!(paths("a/folder/", &by_template), ["f/t/folder"]);
        // What one step hands on is one file.
        assert_eq!(paths("a/out.tgz", &args("{artifactName}")), ["f/out/out.tgz"]);
        assert!(paths("a", &CopyArgs { artifact_name: Some("other".into()), ..args("x") }).is_empty());
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let out = wanted(&workflow("a/.."), &args("x")).unwrap_err();
        assert_eq!(out.message(), Some("\"..\" is no name of a file, and is not made one"));
        let mut other = workflow("a");
        other.metadata.name = "../w".into();
        assert!(wanted(&other, &args("{workflowName}")).is_err());
    }
}

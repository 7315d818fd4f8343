//! The Pod that deletes artifacts of a workflow (argo: workflow/controller/artifact_gc.go, createArtifactGCPod).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tiphys_api::merge::{Schema, strategic_merge};
use tiphys_api::{ArtifactLocation, Template, WorkflowSpec};
use tiphys_contract::{container, env, label};

use crate::config::{Layout, PodConfig};
use crate::draft::{empty_dir, mount, variable};
use crate::error::Error;
use crate::executor::{self, locked_down, log_options};
use crate::input::{Input, Request};
use crate::{names, plugins, secrets};

/// Label that tells these Pods from steps.
const COMPONENT: &str = "workflows.argoproj.io/component";
const STRATEGY: &str = "workflows.argoproj.io/artifact-gc-strategy";

/// Which artifacts, and as whom.
#[derive(Clone, Copy)]
pub struct ArtifactGc<'a> {
    /// The Pod's name.
    pub name: &'a str,
    /// The workflow's namespace.
    pub namespace: &'a str,
    /// The workflow's name.
    pub workflow: &'a str,
    /// The workflow's uid.
    pub workflow_uid: &'a str,
    /// `OnWorkflowCompletion` or `OnWorkflowDeletion`.
    pub strategy: &'a str,
    /// Hash that ties the Pod to its WorkflowArtifactGCTask.
    pub hash: &'a str,
    /// The Pod's owner: the WorkflowArtifactGCTask.
    pub owner: &'a Value,
    /// Empty for the namespace's default.
    pub service_account: &'a str,
    /// Labels over the usual ones.
    pub labels: &'a BTreeMap<String, String>,
    /// Annotations over the usual ones.
    pub annotations: &'a BTreeMap<String, String>,
    /// Strategic merge patch in YAML; empty for none.
    pub pod_spec_patch: &'a str,
    /// Where the artifacts are: their Secrets are mounted, their plugins run beside.
    pub locations: &'a [ArtifactLocation],
    /// The controller's configuration.
    pub config: &'a PodConfig,
}

/// The Pod.
///
/// # Errors
/// A plugin, or what its image runs, is not known; the patch does not fit.
pub fn artifact_gc(of: &ArtifactGc<'_>) -> Result<Value, Error> {
    let mut labels = json!({label::WORKFLOW: of.workflow, label::COMPLETED: "false", COMPONENT: "artifact-gc"});
    if !of.config.instance_id.is_empty() {
        labels[label::CONTROLLER_INSTANCE_ID] = of.config.instance_id.as_str().into();
    }
    of.labels.iter().for_each(|(name, value)| labels[name] = value.as_str().into());
    let mut annotations = json!({STRATEGY: of.strategy});
    of.annotations.iter().for_each(|(name, value)| annotations[name] = value.as_str().into());
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": of.name, "namespace": of.namespace, "labels": labels, "annotations": annotations,
            "ownerReferences": [of.owner],
        },
        "spec": spec(of)?,
    }))
}

fn spec(of: &ArtifactGc<'_>) -> Result<Value, Error> {
    let (mut volumes, mut mounts) = secrets::of_locations(of.locations);
    let used = of.locations.iter().filter_map(|location| location.plugin.as_ref());
    let used: BTreeSet<&str> = used.map(|plugin| plugin.name.as_str()).filter(|name| !name.is_empty()).collect();
    let mut init_containers = Vec::new();
    let mut containers = Vec::new();
    if !used.is_empty() {
        // The executor goes in front of the plugins, and comes to them by the volume that `init` fills.
        let shared = mount(names::VAR_RUN_VOLUME, tiphys_contract::path::SHARED);
        let (config, spec, request) =
            (PodConfig { layout: Layout::Legacy, ..of.config.clone() }, WorkflowSpec::default(), Request::default());
        let input = Input {
            workflow_name: of.workflow,
            namespace: of.namespace,
            workflow_uid: of.workflow_uid,
            spec: &spec,
            request: &request,
            config: &config,
            substitute: &|text| Ok(text.to_owned()),
        };
        let template = Template::default();
        let mut init = executor::init(&input, &template);
        init.volume_mounts = vec![shared.clone(), mount(names::TMP_VOLUME, "/tmp")];
        init.env.extend([variable(env::TEMPLATE, "{}"), variable(env::DEADLINE, env::NO_DEADLINE)]);
        init_containers.push(init);
        volumes.extend([empty_dir(names::VAR_RUN_VOLUME), empty_dir(names::TMP_VOLUME)]);
        mounts.push(shared.clone());
        for plugin in &used {
            let mut sidecar = plugins::sidecar(&input, &template, plugin)?;
            sidecar.volume_mounts.push(shared.clone());
            containers.push(sidecar);
            volumes.push(plugins::volume(plugin));
            mounts.push(plugins::socket_mount(plugin));
        }
    }
    let sidecars: Vec<&str> = containers.iter().map(|made| made.name.as_str()).collect();
    let mut args = vec!["artifact".to_owned(), "delete".to_owned()];
    args.extend(log_options(of.config));
    let mut main = json!({
        "name": container::MAIN, "image": of.config.executor_image, "args": args,
        "env": [
            {"name": env::POD_NAME, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
            variable(env::TEMPLATE, "{}"), variable(env::DEADLINE, env::NO_DEADLINE),
            variable(env::ARTIFACT_GC_POD, of.hash), variable(env::ARTIFACT_PLUGIN_NAMES, sidecars.join(",")),
        ],
        // Whoever breaks into it finds nothing to change and little to run with.
        "securityContext": locked_down(container::MAIN),
        "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}, "requests": {"cpu": "50m", "memory": "32Mi"}},
        "volumeMounts": mounts,
    });
    if !of.config.executor_image_pull_policy.is_empty() {
        main["imagePullPolicy"] = of.config.executor_image_pull_policy.as_str().into();
    }
    let mut all = json!(containers);
    if let Some(all) = all.as_array_mut() {
        all.push(main);
    }
    let mut spec = json!({
        "restartPolicy": "Never", "automountServiceAccountToken": true, "volumes": volumes,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 8737, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": init_containers, "containers": all,
    });
    if !of.pod_spec_patch.is_empty() {
        let patch = tiphys_api::yaml::to_json(of.pod_spec_patch)
            .map_err(|error| Error::PatchSyntax { of: "artifactGC", reason: error.to_string() })?;
        spec = strategic_merge(&spec, &patch, Schema::PodSpec)
            .map_err(|source| Error::Merge { what: "artifactGC.podSpecPatch", source })?;
    }
    if !of.service_account.is_empty() {
        spec["serviceAccountName"] = of.service_account.into();
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ArtifactDriver, ImageCommand};

    fn pod(location: Value, patch: &str) -> Result<Value, Error> {
        let location: ArtifactLocation = serde_json::from_value(location).unwrap();
        let mut config = PodConfig { executor_image: "e:1".into(), ..PodConfig::default() };
        config
            .artifact_drivers
            .insert("p".into(), ArtifactDriver { image: "p:1".into(), connection_timeout_seconds: 5 });
        config.images.insert("p:1".into(), ImageCommand { entrypoint: vec!["/p".into()], cmd: Vec::new() });
        artifact_gc(&ArtifactGc {
            name: "wf-artgc-wfcomp-1",
            namespace: "n",
            workflow: "wf",
            workflow_uid: "u",
            strategy: "OnWorkflowCompletion",
            hash: "7",
            owner: &json!({"kind": "WorkflowArtifactGCTask"}),
            service_account: "gc",
            labels: &BTreeMap::from([("l".into(), "1".into())]),
            annotations: &BTreeMap::new(),
            pod_spec_patch: patch,
            locations: &[location],
            config: &config,
        })
    }

    #[test]
    fn secrets_are_mounted_and_the_patch_is_laid_over() {
        let s3 = json!({"s3": {"bucket": "b", "accessKeySecret": {"name": "s", "key": "k"}}});
        let pod = pod(s3, "containers: [{name: main, resources: {limits: {memory: 1Gi}}}]").unwrap();
        let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
        assert_eq!((&metadata["labels"]["l"], &metadata["labels"][COMPONENT]), (&json!("1"), &json!("artifact-gc")));
        assert_eq!(
            (&metadata["annotations"][STRATEGY], &spec["serviceAccountName"]),
            (&json!("OnWorkflowCompletion"), &json!("gc"))
        );
        assert_eq!(
            spec["volumes"],
            json!([{"name": "s", "secret": {"secretName": "s", "items": [{"key": "k", "path": "k"}]}}])
        );
        let main = &spec["containers"][0];
        assert_eq!(main["args"].as_array().map(|args| &args[..2]), Some(&[json!("artifact"), json!("delete")][..]));
        assert_eq!(main["resources"]["limits"], json!({"cpu": "100m", "memory": "1Gi"}));
        assert_eq!(spec["initContainers"], json!([]));
    }

    #[test]
    fn plugins_run_beside() {
        let plugin = json!({"plugin": {"name": "p", "configuration": "x"}});
        let made = pod(plugin, "").unwrap();
        let spec = &made["spec"];
        let names: Vec<&str> =
            spec["containers"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
        assert_eq!(names, ["artifact-plugin-p", "main"]);
        assert_eq!(spec["initContainers"][0]["name"], "init");
        let unknown = json!({"plugin": {"name": "q"}});
        assert!(pod(unknown, "").unwrap_err().to_string().contains('q'));
    }
}

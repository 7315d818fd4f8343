//! Kinds of objects as the API's paths name them, and their discovery.

use std::borrow::Cow;

use serde_json::Value;

use super::error::ClusterError;
use super::{Call, Cluster};

/// A kind of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// Version within the group.
    pub version: Cow<'static, str>,
    /// Name in paths, for example `pods`.
    pub plural: Cow<'static, str>,
    /// Kind in manifests, for example `Pod`.
    pub kind: Cow<'static, str>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// Pods.
    pub const POD: Self = Self::fixed("", "v1", "pods", "Pod");
    /// Secrets.
    pub const SECRET: Self = Self::fixed("", "v1", "secrets", "Secret");
    /// ConfigMaps.
    pub const CONFIG_MAP: Self = Self::fixed("", "v1", "configmaps", "ConfigMap");
    /// What argoexec reports a step's results with.
    pub const TASK_RESULT: Self = Self::argo("workflowtaskresults", "WorkflowTaskResult");
    /// The agent's tasks.
    pub const TASK_SET: Self = Self::argo("workflowtasksets", "WorkflowTaskSet");
    /// Artifacts to be deleted.
    pub const ARTIFACT_GC_TASK: Self = Self::argo("workflowartifactgctasks", "WorkflowArtifactGCTask");

    const fn argo(plural: &'static str, kind: &'static str) -> Self {
        Self::fixed("argoproj.io", "v1alpha1", plural, kind)
    }

    const fn fixed(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
            kind: Cow::Borrowed(kind),
            namespaced: true,
        }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        match self.group.as_ref() {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Name for messages: `pods`, `deployments.apps`.
    pub fn shown(&self) -> String {
        match self.group.as_ref() {
            "" => self.plural.to_string(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Path of its objects; `namespace` plays no part for kinds without.
    pub fn path(&self, namespace: &str) -> String {
        let root = root(&self.api_version());
        match self.namespaced {
            true => format!("{root}/namespaces/{namespace}/{}", self.plural),
            false => format!("{root}/{}", self.plural),
        }
    }
}

/// Where a group's version is found.
fn root(api_version: &str) -> String {
    if api_version.contains('/') { format!("/apis/{api_version}") } else { format!("/api/{api_version}") }
}

impl Cluster {
    /// Asks the server for the kind that a manifest names. What it answered is remembered.
    ///
    /// # Errors
    /// [`ClusterError::Config`] when the server does not know the kind; else why it could not be asked.
    pub async fn discover(&self, api_version: &str, kind: &str) -> Result<Resource, ClusterError> {
        let known = self.discovered.lock().await.get(api_version).cloned();
        let resources = match known {
            Some(resources) => resources,
            None => {
                let resources = self.resources(api_version).await?;
                self.discovered.lock().await.insert(api_version.to_owned(), resources.clone());
                resources
            }
        };
        let unknown = || ClusterError::Config(format!("no matches for kind {kind:?} in version {api_version:?}"));
        resources.into_iter().find(|resource| resource.kind == kind).ok_or_else(unknown)
    }

    async fn resources(&self, api_version: &str) -> Result<Vec<Resource>, ClusterError> {
        let call = Call::get(root(api_version), format!("list the kinds of {api_version}"));
        let answer = match self.send(&call).await {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            answer => answer?,
        };
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let entries = answer["resources"].as_array().into_iter().flatten();
        Ok(entries
            .filter(|entry| !text(entry, "name").contains('/'))
            .map(|entry| Resource {
                group: group.to_owned().into(),
                version: version.to_owned().into(),
                plural: text(entry, "name").into(),
                kind: text(entry, "kind").into(),
                namespaced: entry["namespaced"].as_bool().unwrap_or(false),
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(Resource::POD.path("ns"), "/api/v1/namespaces/ns/pods");
        let expected = "/apis/argoproj.io/v1alpha1/namespaces/ns/workflowtaskresults";
        assert_eq!(Resource::TASK_RESULT.path("ns"), expected);
        let node = Resource { namespaced: false, plural: "nodes".into(), kind: "Node".into(), ..Resource::POD };
        assert_eq!((node.path("ns").as_str(), node.shown().as_str()), ("/api/v1/nodes", "nodes"));
        assert_eq!(Resource::TASK_SET.shown(), "workflowtasksets.argoproj.io");
    }
}

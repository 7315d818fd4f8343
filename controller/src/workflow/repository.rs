//! Where a workflow's artifacts go. argo: util/../artifactrepositories.go.

use std::collections::BTreeMap;

use tiphys_api::{
    ArtifactLocation, ArtifactRepository, ArtifactRepositoryRef, ArtifactRepositoryRefStatus, Template, Workflow,
    WorkflowSpec,
};
use tiphys_podspec::repository_location;

use super::needs::ConfigMapObject;
use super::pods::Workplace;
use tiphys_kubernetes::Kind;

/// The ConfigMap with repositories, where none is named.
const DEFAULT_MAP: &str = "artifact-repositories";
/// Its annotation that names the key to take.
const DEFAULT_KEY: &str = "workflows.argoproj.io/default-artifact-repository";

/// Where the templates of a workflow archive.
pub(super) struct Archives<'a> {
    templates: BTreeMap<&'a str, &'a Template>,
    repository: ArtifactLocation,
}

impl<'a> Archives<'a> {
    /// Of a workflow with this merged spec. `configured` is the repository where the workflow has found none yet.
    pub fn of(workflow: &'a Workflow, spec: &'a WorkflowSpec, configured: &ArtifactRepository) -> Archives<'a> {
        let found = workflow.status.artifact_repository_ref.as_ref();
        let found = found.and_then(|found| found.artifact_repository.as_deref());
        let templates = workflow.status.stored_templates.values().chain(&spec.templates);
        Archives {
            templates: templates.map(|template| (template.name.as_str(), template)).collect(),
            repository: repository_location(found.unwrap_or(configured)),
        }
    }

    /// A template's own location, else the repository.
    pub fn of_template(&self, name: &str) -> &ArtifactLocation {
        let own = self.templates.get(name).and_then(|template| template.archive_location.as_deref());
        own.filter(|location| location.store().is_some()).unwrap_or(&self.repository)
    }
}

impl Workplace {
    /// The repository that a reference leads to: in the workflow's namespace, else in the controller's. Without a reference
    /// the default one of the workflow's namespace, else the configuration's.
    ///
    /// # Errors
    /// The reference leads nowhere; in Argo's words.
    pub(super) async fn repository(
        &self,
        reference: Option<&ArtifactRepositoryRef>,
    ) -> Result<ArtifactRepositoryRefStatus, String> {
        let (map, key) = reference.map_or(("", ""), |one| (one.config_map.as_str(), one.key.as_str()));
        let map = if map.is_empty() { DEFAULT_MAP } else { map };
        let own = [&*self.namespace, self.cluster.namespace.as_str()];
        let namespaces = if reference.is_some() { &own[..] } else { &own[..1] };
        for namespace in namespaces {
            let path = Kind::ConfigMap.within(namespace).named(map);
            let object = match self.read::<ConfigMapObject>(&path).await {
                Ok(object) => object,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(format!("failed to read the ConfigMap {namespace}/{map}: {error}")),
            };
            let default = object.metadata.annotations.get(DEFAULT_KEY).map_or("", String::as_str);
            let key = if key.is_empty() { default } else { key };
            let Some(text) = object.data.get(key) else { continue };
            let repository = parse(text).map_err(|reason| format!("{namespace}/{map}#{key}: {reason}"))?;
            return Ok(ArtifactRepositoryRefStatus {
                config_map: map.to_owned(),
                key: key.to_owned(),
                namespace: (*namespace).to_owned(),
                artifact_repository: Some(Box::new(repository)),
                ..ArtifactRepositoryRefStatus::default()
            });
        }
        if reference.is_some() {
            return Err(format!("artifact repository ref {map}#{key} not found"));
        }
        let configured = self.cluster.config().pod.artifact_repository.clone();
        Ok(ArtifactRepositoryRefStatus {
            default: true,
            artifact_repository: Some(Box::new(configured)),
            ..ArtifactRepositoryRefStatus::default()
        })
    }
}

fn parse(text: &str) -> Result<ArtifactRepository, String> {
    let value = tiphys_api::yaml::to_json(text).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

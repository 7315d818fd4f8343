//! Where a workflow's artifacts go. argo: artifactrepositories.go.

use tiphys_api::{ArtifactRepository, ArtifactRepositoryRef, ArtifactRepositoryRefStatus, WorkflowPhase};

use crate::plan::Need;
use crate::run::{Run, Stop};
use crate::setup::Refusal;

/// The ConfigMap with repositories, where none is named.
const DEFAULT_NAME: &str = "artifact-repositories";
/// Its annotation that names the key to take.
const DEFAULT_KEY: &str = "workflows.argoproj.io/default-artifact-repository";

impl Run {
    /// Chooses the repository that the spec names: in the workflow's namespace, else in the controller's. Where it names
    /// none, that is the default one of its namespace, or the driver's own. argo: Resolve.
    pub(crate) fn choose_repository(&mut self) -> Result<(), Refusal> {
        let error = |message: String| {
            Refusal::End(WorkflowPhase::Error, format!("failed to resolve artifact repository: {message}"))
        };
        let reference = self.spec.artifact_repository_ref.clone();
        let wanted = reference.as_deref().cloned().unwrap_or_default();
        let mut namespaces = vec![self.wf.metadata.namespace.clone()];
        if reference.is_some() && !self.config.controller_namespace.is_empty() {
            namespaces.push(self.config.controller_namespace.clone());
        }
        let mut chosen = None;
        for namespace in namespaces {
            match self.repository_in(&namespace, &wanted) {
                Ok(None) => {}
                Ok(found) => {
                    chosen = found;
                    break;
                }
                Err(Stop::Failed(message)) => {
                    let place = format!("{namespace}/{}#{}", wanted.config_map, wanted.key);
                    return Err(error(format!(
                        "error getting config map for artifact repository ref \"{place}\": {message}"
                    )));
                }
                Err(stop) => return Err(self.wait_for(stop)),
            }
        }
        let chosen = match (chosen, reference) {
            (Some(chosen), _) => chosen,
            (None, Some(_)) => {
                let place = format!("{}#{}", wanted.config_map, wanted.key);
                return Err(error(format!(
                    "failed to find any artifact repository for artifact repository ref \"{place}\""
                )));
            }
            (None, None) => ArtifactRepositoryRefStatus {
                default: true,
                artifact_repository: self.config.artifact_repository.clone(),
                ..Default::default()
            },
        };
        self.wf.status.artifact_repository_ref = Some(Box::new(chosen));
        self.out.status_changed = true;
        Ok(())
    }

    /// The repository of a namespace; None where its ConfigMap or the key in it is not there.
    fn repository_in(
        &self,
        namespace: &str,
        wanted: &ArtifactRepositoryRef,
    ) -> Result<Option<ArtifactRepositoryRefStatus>, Stop> {
        let name = if wanted.config_map.is_empty() { DEFAULT_NAME } else { wanted.config_map.as_str() };
        let Some(found) = self.config_maps.get(&(namespace.to_owned(), name.to_owned())) else {
            return Err(Stop::Need(Need::ConfigMap { namespace: namespace.to_owned(), name: name.to_owned() }));
        };
        let Some(map) = found.as_ref().map_err(|error| Stop::Failed(error.clone()))? else { return Ok(None) };
        let default = map.annotations.get(DEFAULT_KEY).map_or("", String::as_str);
        let key = if wanted.key.is_empty() { default } else { wanted.key.as_str() };
        let Some(text) = map.data.get(key) else { return Ok(None) };
        let repository =
            parse(text).map_err(|error| format!("failed to unmarshall config map key \"{key}\": {error}"))?;
        Ok(Some(ArtifactRepositoryRefStatus {
            config_map: name.to_owned(),
            key: key.to_owned(),
            namespace: namespace.to_owned(),
            artifact_repository: Some(Box::new(repository)),
            ..Default::default()
        }))
    }
}

fn parse(text: &str) -> Result<ArtifactRepository, String> {
    let value = tiphys_api::yaml::to_json(text).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

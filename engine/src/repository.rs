//! Where a workflow's artifacts go. argo: artifactrepositories.go.

use std::collections::HashMap;

use tiphys_api::{ArtifactRepository, ArtifactRepositoryRef, ArtifactRepositoryRefStatus, WorkflowPhase};

use crate::fact::ConfigMapFound;
use crate::plan::Need;
use crate::run::{Run, Stop};
use crate::setup::Refusal;

/// The ConfigMap with repositories, where none is named.
const DEFAULT_NAME: &str = "artifact-repositories";
/// Its annotation that names the key to take.
const DEFAULT_KEY: &str = "workflows.argoproj.io/default-artifact-repository";

/// What came of looking for ConfigMaps, by namespace and name.
pub type ConfigMaps = HashMap<(String, String), ConfigMapFound>;

/// Which artifact repository is wanted.
#[derive(Clone, Copy, Debug)]
pub struct RepositorySearch<'a> {
    /// What the spec names.
    pub reference: Option<&'a ArtifactRepositoryRef>,
    /// The workflow's namespace.
    pub namespace: &'a str,
    /// The controller's; empty where there is none.
    pub controller_namespace: &'a str,
    /// The driver's own, for whoever names none.
    pub own: Option<&'a ArtifactRepository>,
}

/// Why there is no repository.
#[derive(Clone, Debug, PartialEq)]
pub enum NoRepository {
    /// Not yet: this ConfigMap has to be looked for first.
    Unknown {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// There is none, in Argo's words.
    Failed(String),
}

impl RepositorySearch<'_> {
    /// The repository that the spec names: in the workflow's namespace, else in the controller's. Where it names none, that
    /// is the default one of its namespace, or the driver's own. argo: Resolve.
    ///
    /// # Errors
    /// See [`NoRepository`].
    pub fn find(&self, known: &ConfigMaps) -> Result<ArtifactRepositoryRefStatus, NoRepository> {
        let wanted = self.reference.cloned().unwrap_or_default();
        let theirs = self.reference.map(|_| self.controller_namespace).filter(|namespace| !namespace.is_empty());
        for namespace in [self.namespace].into_iter().chain(theirs) {
            if let Some(found) = find_in(namespace, &wanted, known)? {
                return Ok(found);
            }
        }
        if self.reference.is_some() {
            let place = format!("{}#{}", wanted.config_map, wanted.key);
            return Err(NoRepository::Failed(format!(
                "failed to find any artifact repository for artifact repository ref \"{place}\""
            )));
        }
        Ok(ArtifactRepositoryRefStatus {
            default: true,
            artifact_repository: self.own.cloned().map(Box::new),
            ..ArtifactRepositoryRefStatus::default()
        })
    }
}

/// The repository of a namespace; None where its ConfigMap or the key in it is not there.
fn find_in(
    namespace: &str,
    wanted: &ArtifactRepositoryRef,
    known: &ConfigMaps,
) -> Result<Option<ArtifactRepositoryRefStatus>, NoRepository> {
    let failed = |message: &str| {
        let place = format!("{namespace}/{}#{}", wanted.config_map, wanted.key);
        NoRepository::Failed(format!("error getting config map for artifact repository ref \"{place}\": {message}"))
    };
    let name = if wanted.config_map.is_empty() { DEFAULT_NAME } else { wanted.config_map.as_str() };
    let Some(found) = known.get(&(namespace.to_owned(), name.to_owned())) else {
        return Err(NoRepository::Unknown { namespace: namespace.to_owned(), name: name.to_owned() });
    };
    let Some(map) = found.as_ref().map_err(|error| failed(error))? else { return Ok(None) };
    let default = map.annotations.get(DEFAULT_KEY).map_or("", String::as_str);
    let key = if wanted.key.is_empty() { default } else { wanted.key.as_str() };
    let Some(text) = map.data.get(key) else { return Ok(None) };
    let repository =
        parse(text).map_err(|error| failed(&format!("failed to unmarshall config map key \"{key}\": {error}")))?;
    Ok(Some(ArtifactRepositoryRefStatus {
        config_map: name.to_owned(),
        key: key.to_owned(),
        namespace: namespace.to_owned(),
        artifact_repository: Some(Box::new(repository)),
        ..ArtifactRepositoryRefStatus::default()
    }))
}

fn parse(text: &str) -> Result<ArtifactRepository, String> {
    let value = tiphys_api::yaml::to_json(text).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

impl Run {
    /// Chooses the workflow's repository.
    pub(crate) fn choose_repository(&mut self) -> Result<(), Refusal> {
        let search = RepositorySearch {
            reference: self.spec.artifact_repository_ref.as_deref(),
            namespace: &self.wf.metadata.namespace,
            controller_namespace: &self.config.controller_namespace,
            own: self.config.artifact_repository.as_deref(),
        };
        let chosen = match search.find(&self.config_maps) {
            Ok(chosen) => chosen,
            Err(NoRepository::Unknown { namespace, name }) => {
                return Err(self.wait_for(Stop::Need(Need::ConfigMap { namespace, name })));
            }
            Err(NoRepository::Failed(message)) => {
                let message = format!("failed to resolve artifact repository: {message}");
                return Err(Refusal::End(WorkflowPhase::Error, message));
            }
        };
        self.wf.status.artifact_repository_ref = Some(Box::new(chosen));
        self.out.status_changed = true;
        Ok(())
    }
}

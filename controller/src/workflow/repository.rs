//! Where a workflow's artifacts go. argo: artifactrepositories.go.

use std::collections::BTreeMap;

use tiphys_api::{
    ArtifactLocation, ArtifactRepository, ArtifactRepositoryRef, ArtifactRepositoryRefStatus, Template, Workflow,
    WorkflowSpec,
};
use tiphys_engine::{ConfigMaps, NoRepository, RepositorySearch};
use tiphys_podspec::repository_location;

use super::pods::Workplace;

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
    /// The repository that a reference leads to; without one the default one of the workflow's namespace, else the
    /// configuration's.
    ///
    /// # Errors
    /// There is none; in Argo's words.
    pub(super) async fn repository(
        &self,
        reference: Option<&ArtifactRepositoryRef>,
    ) -> Result<ArtifactRepositoryRefStatus, String> {
        let config = self.cluster.config();
        let search = RepositorySearch {
            reference,
            namespace: &self.namespace,
            controller_namespace: &self.cluster.namespace,
            own: Some(&config.pod.artifact_repository),
        };
        let mut known = ConfigMaps::new();
        loop {
            match search.find(&known) {
                Ok(found) => return Ok(found),
                Err(NoRepository::Failed(message)) => return Err(message),
                Err(NoRepository::Unknown { namespace, name }) => {
                    let found = self.config_map(&namespace, &name).await;
                    known.insert((namespace, name), found);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::api_server::{ApiServer, place};
    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn a_repository_is_found_in_either_namespace() {
        let map = |bucket: &str| json!({"data": {"k": format!("s3: {{bucket: {bucket}}}")}});
        let server = ApiServer::default()
            .with("/api/v1/namespaces/argo/configmaps/theirs", map("a"))
            .with("/api/v1/namespaces/argo/configmaps/both", map("a"))
            .with("/api/v1/namespaces/team/configmaps/both", map("t"));
        let (place, _inbox) = place(server.cluster(Config::default()));
        let bucket = async |name: &str| {
            let reference =
                ArtifactRepositoryRef { config_map: name.into(), key: "k".into(), ..ArtifactRepositoryRef::default() };
            let found = place.repository(Some(&reference)).await?;
            Ok::<_, String>(found.artifact_repository.and_then(|one| one.s3).map(|s3| s3.bucket).unwrap_or_default())
        };
        assert_eq!((bucket("theirs").await.as_deref(), bucket("both").await.as_deref()), (Ok("a"), Ok("t")));
        let error = bucket("none").await.unwrap_err();
        assert_eq!(error, "failed to find any artifact repository for artifact repository ref \"none#k\"");
        assert!(place.repository(None).await.unwrap().default);
    }
}

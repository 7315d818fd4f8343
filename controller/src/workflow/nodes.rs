//! Nodes that the object does not hold: kept in the database of `persistence`, else in the workflow's artifact repository, and
//! brought back. argo: workflow/hydrator/hydrator.go.

use std::collections::{BTreeMap, BTreeSet};

use tiphys_api::{ArtifactRepositoryRef, Workflow};
use tiphys_archive::Version;
use tiphys_artifact::{Error as StoreError, Options, Secret, Secrets};
use tiphys_kubernetes::SecretError;
use tiphys_nodes::{Form, Marker, Objects, form, from_database, secrets_of, unpack};
use tiphys_podspec::repository_location;

use super::pods::Workplace;
use super::status::Going;
use crate::cluster::Cluster;
use crate::persistence::PersistenceError;

/// Nodes that cannot be kept, or had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodesError {
    /// There is nothing to keep them in. argo: persist/sqldb/explosive_offload_node_status_repo.go.
    #[error(
        "offload node status is not supported: neither persistence.nodeStatusOffLoad nor an artifact repository is configured"
    )]
    Nowhere,
    /// The artifact repository of the workflow is not to be found.
    #[error("{0}")]
    Repository(String),
    /// What should have them has them no more.
    #[error("the nodes that status.offloadNodeStatusVersion names are gone: {0}")]
    Gone(String),
    /// Where they are cannot be reached, or they are damaged.
    #[error(transparent)]
    Nodes(#[from] tiphys_nodes::Error),
    /// What the artifact repository wants to know of us cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database.
    #[error(transparent)]
    Persistence(#[from] PersistenceError),
}

impl NodesError {
    /// Whether the same can succeed later. What an operator has to mend counts: a database comes back.
    pub fn is_transient(&self) -> bool {
        match self {
            NodesError::Nowhere | NodesError::Repository(_) | NodesError::Gone(_) => false,
            NodesError::Nodes(error) => error.is_transient(),
            NodesError::Secret(_) | NodesError::Persistence(_) => true,
        }
    }
}

/// How the object that was read holds its nodes.
#[derive(Debug, Default)]
pub struct Held {
    /// In which form.
    pub going: Going,
    /// `status.offloadNodeStatusVersion`
    pub version: String,
    /// They are those of the version that is known, and were not read again.
    pub known: bool,
}

/// Puts a workflow's nodes where they belong, wherever they are; but not those of the version that is `known`.
pub(crate) async fn make_whole(cluster: &Cluster, workflow: &mut Workflow, known: &str) -> Result<Held, NodesError> {
    let version = workflow.status.offload_node_status_version.clone();
    if !version.is_empty() && version == known {
        workflow.status.offload_node_status_version.clear();
        return Ok(Held { going: Going::Outside, version, known: true });
    }
    let going = match form(workflow)? {
        Form::Whole => Going::Whole,
        Form::Compressed => {
            unpack(workflow)?;
            Going::Packed
        }
        Form::Database(name) => {
            let found = async {
                let nodes = cluster.database.nodes(cluster).await?;
                Ok(nodes.get(&workflow.metadata.uid, &Version::from(name.as_str())).await?)
            };
            let found = found.await;
            cluster.database.note(&found).await;
            let json = found?.ok_or_else(|| NodesError::Gone(format!("{name} is not in the database")))?;
            workflow.status.nodes = from_database(&json)?;
            Going::Outside
        }
        Form::Object(marker) => {
            let objects = objects(cluster, &workflow.metadata.namespace, &marker).await?;
            workflow.status.nodes = objects.load(&marker).await.map_err(|error| match error {
                tiphys_nodes::Error::Store(StoreError::NotFound { .. }) => NodesError::Gone(error.to_string()),
                error => NodesError::Nodes(error),
            })?;
            Going::Outside
        }
    };
    workflow.status.compressed_nodes.clear();
    workflow.status.offload_node_status_version.clear();
    Ok(Held { going, version, known: false })
}

/// The stores of a location, with the Secrets that it names.
async fn objects(cluster: &Cluster, namespace: &str, marker: &Marker) -> Result<Objects, NodesError> {
    with_secrets(cluster, namespace, secrets_of(marker.location())).await
}

async fn with_secrets(
    cluster: &Cluster,
    namespace: &str,
    wanted: BTreeSet<(String, String)>,
) -> Result<Objects, NodesError> {
    let (secrets, options) = access(cluster, namespace, wanted).await?;
    Ok(Objects::new(secrets, options))
}

/// What stores are opened with: the Secrets that are wanted, and the clouds' own variables, which are the controller's.
///
/// # Errors
/// A Secret cannot be read.
pub(super) async fn access(
    cluster: &Cluster,
    namespace: &str,
    wanted: BTreeSet<(String, String)>,
) -> Result<(impl Secrets + use<>, Options), SecretError> {
    let mut known = BTreeMap::new();
    for (name, key) in wanted {
        let _turn = cluster.other.acquire().await;
        if let Some(text) = cluster.api.secret(namespace, &name).await?.text(&key) {
            known.insert((name, key), Secret::new(text));
        }
    }
    let secrets = move |name: &str, key: &str| {
        let found = known.get(&(name.to_owned(), key.to_owned())).cloned();
        found.ok_or_else(|| StoreError::Refused(format!("the Secret {name} has no text under the key {key}")))
    };
    Ok((secrets, Options::from_lookup(|name| std::env::var(name).ok()).unwrap_or_default()))
}

impl Workplace {
    /// Keeps nodes, given as JSON, outside the object; gives what `status.offloadNodeStatusVersion` is to say.
    pub(super) async fn keep_outside(
        &self,
        nodes: Vec<u8>,
        repository: Option<&ArtifactRepositoryRef>,
    ) -> Result<String, NodesError> {
        let cluster = &self.cluster;
        if cluster.config().persistence.as_ref().is_some_and(|persistence| persistence.offload) {
            let saved = async {
                let table = cluster.database.nodes(cluster).await?;
                // JSON of ours is text.
                let text = String::from_utf8(nodes).unwrap_or_default();
                Ok(table.save(&self.uid, &self.namespace, text).await?.to_string())
            };
            let saved = saved.await;
            cluster.database.note(&saved).await;
            return Ok(saved?);
        }
        let found = self.repository(repository).await.map_err(NodesError::Repository)?;
        let location = found.artifact_repository.as_deref().map(repository_location).unwrap_or_default();
        if location == tiphys_api::ArtifactLocation::default() {
            return Err(NodesError::Nowhere);
        }
        let objects = with_secrets(cluster, &self.namespace, secrets_of(&location)).await?;
        let folder = format!("{}/{}/{}", self.namespace, self.workflow, self.uid);
        Ok(objects.save(&location, &folder, &nodes).await?.version())
    }

    /// Removes what was kept before; a database is tidied up by itself. What cannot be removed stays.
    pub(super) async fn forget_outside(self, version: String) {
        let Ok(Some(marker)) = Marker::parse(&version) else { return };
        let removed = async {
            let objects = objects(&self.cluster, &self.namespace, &marker).await?;
            objects.delete(&marker).await.map_err(NodesError::from)
        };
        if let Err(error) = removed.await {
            tracing::warn!(namespace = %self.namespace, workflow = %self.workflow, %error, "old nodes cannot be removed");
        }
    }
}

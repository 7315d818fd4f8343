//! Workflows with their nodes, wherever these are: in the object, compressed in it, in the controller's database or in the
//! artifact repository. What is outside is read, and written back, with the user's own rights.

use serde_json::Value;
use tiphys_api::{Nodes, Workflow};
use tiphys_archive::{OffloadedNodes, Version};
use tiphys_artifact::Error as StoreError;
use tiphys_kubernetes::{ApiError, Kind};
use tiphys_nodes::{Form, Marker, Objects, form, from_database, secrets_of, unpack};

use super::Cluster;
use super::database::DatabaseError;
use super::secrets::{Fetched, options};
use crate::failure::Failure;

/// How often a workflow is read again whose nodes were replaced meanwhile.
const READINGS: usize = 4;

/// A workflow as it was read, with its nodes where they could be had.
#[derive(Debug)]
pub(super) struct Found {
    /// The workflow. Where its nodes are known, nothing in it tells where they are kept.
    pub workflow: Workflow,
    /// Where the object has its nodes.
    pub form: Form,
    /// Why they are not known.
    pub unknown: Option<String>,
}

impl Found {
    /// The workflow, for what can be done without nodes; that they are missing is said.
    pub fn or_warn(self) -> Workflow {
        if let Some(reason) = &self.unknown {
            eprintln!("tiphys: warning: {reason}");
        }
        self.workflow
    }

    /// The workflow, for what needs its nodes.
    ///
    /// # Errors
    /// They are not known.
    pub fn with_nodes(self) -> Result<(Workflow, Form), Failure> {
        match self.unknown {
            None => Ok((self.workflow, self.form)),
            Some(reason) => Err(Failure::failed(Some(reason))),
        }
    }
}

/// Nodes that cannot be had.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    /// Whoever keeps them has replaced them: the workflow, read again, says where they are now.
    #[error("they are gone: {0}")]
    Gone(String),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Nodes(#[from] tiphys_nodes::Error),
    #[error("{}", .0.message().unwrap_or_default())]
    Secrets(Failure),
}

/// Where nodes of this form are, in a sentence about them.
fn where_they_are(form: &Form) -> String {
    match form {
        Form::Whole | Form::Compressed => "kept in the object".to_owned(),
        Form::Database(version) => {
            format!("kept in the controller's database (status.offloadNodeStatusVersion is {version})")
        }
        Form::Object(marker) => {
            let location = marker.location();
            format!(
                "kept in the artifact repository ({})",
                location.store().unwrap_or("status.offloadNodeStatusVersion")
            )
        }
    }
}

impl Cluster {
    /// Reads a workflow with its nodes.
    ///
    /// # Errors
    /// The API server does not give it. That its nodes are not to be had is no error yet.
    pub(super) async fn workflow(&self, name: &str) -> Result<Found, ApiError> {
        let path = self.objects(Kind::Workflow).named(name);
        let mut readings = 1;
        loop {
            let workflow: Workflow = self.api.get(&path).await?;
            match self.make_whole(workflow).await {
                (_, Some(Unknown::Gone(_))) if readings < READINGS => readings += 1,
                (found, _) => return Ok(found),
            }
        }
    }

    /// A workflow as the server gave it, with its nodes.
    pub(super) async fn whole(&self, workflow: Workflow) -> Found {
        self.make_whole(workflow).await.0
    }

    async fn make_whole(&self, mut workflow: Workflow) -> (Found, Option<Unknown>) {
        let (form, outcome) = match form(&workflow) {
            Ok(form) => {
                let outcome = self.fill(&mut workflow, &form).await;
                (form, outcome)
            }
            Err(error) => (Form::Whole, Err(error.into())),
        };
        let unknown = outcome.err();
        let reason = unknown.as_ref().map(|error| {
            let name = &workflow.metadata.name;
            format!("the nodes of {name} are {}, and cannot be read: {error}", where_they_are(&form))
        });
        (Found { workflow, form, unknown: reason }, unknown)
    }

    /// Puts nodes of this form into the workflow.
    async fn fill(&self, workflow: &mut Workflow, form: &Form) -> Result<(), Unknown> {
        match form {
            Form::Whole => return Ok(()),
            Form::Compressed => return Ok(unpack(workflow)?),
            Form::Database(version) => {
                let found =
                    self.nodes_table().await?.get(&workflow.metadata.uid, &Version::from(version.as_str())).await;
                let found = found.map_err(DatabaseError::from)?;
                let json = found.ok_or_else(|| Unknown::Gone("the database has no such version".to_owned()))?;
                workflow.status.nodes = from_database(&json)?;
            }
            Form::Object(marker) => {
                let objects = self.objects_of(&workflow.metadata.namespace, marker).await.map_err(Unknown::Secrets)?;
                workflow.status.nodes = objects.load(marker).await.map_err(|error| match error {
                    tiphys_nodes::Error::Store(StoreError::NotFound { .. }) => Unknown::Gone(error.to_string()),
                    error => Unknown::Nodes(error),
                })?;
            }
        }
        workflow.status.compressed_nodes.clear();
        workflow.status.offload_node_status_version.clear();
        Ok(())
    }

    async fn nodes_table(&self) -> Result<OffloadedNodes, DatabaseError> {
        let found = self.database().await?;
        Ok(OffloadedNodes::new(found.database.clone(), &found.cluster, &found.table)?)
    }

    /// The artifact repository of a marker, with the Secrets that it names.
    async fn objects_of(&self, namespace: &str, marker: &Marker) -> Result<Objects, Failure> {
        let mut secrets = Fetched::default();
        self.fetch(namespace, secrets_of(marker.location()), &mut secrets).await?;
        Ok(Objects::new(secrets, options()?))
    }

    /// Keeps a workflow's nodes where those of this form are, outside of the object; gives what
    /// `status.offloadNodeStatusVersion` is to say. None: nodes of this form are in the object.
    ///
    /// # Errors
    /// They cannot be written there.
    pub(super) async fn keep_outside(
        &self,
        workflow: &Workflow,
        form: &Form,
        nodes: &Nodes,
    ) -> Result<Option<String>, Failure> {
        let metadata = &workflow.metadata;
        let refused = |why: String| {
            let text =
                format!("the nodes of {} are {}, and cannot be written: {why}", metadata.name, where_they_are(form));
            Failure::failed(Some(text))
        };
        // Nodes have text keys, and always serialise.
        let json = || serde_json::to_string(nodes).unwrap_or_default();
        match form {
            Form::Whole | Form::Compressed => Ok(None),
            Form::Database(_) => {
                let saved = async {
                    let table = self.nodes_table().await?;
                    Ok::<_, DatabaseError>(table.save(&metadata.uid, &metadata.namespace, json()).await?)
                };
                Ok(Some(saved.await.map_err(|error| refused(error.to_string()))?.to_string()))
            }
            Form::Object(marker) => {
                let objects = self.objects_of(&metadata.namespace, marker).await;
                let objects = objects.map_err(|error| refused(error.message().unwrap_or_default().to_owned()))?;
                let saved = objects.save_beside(marker, json().as_bytes()).await;
                Ok(Some(saved.map_err(|error| refused(error.to_string()))?.version()))
            }
        }
    }
}

/// Nodes of a workflow that go out by another way: what the object is to have in their place.
pub(super) fn without_nodes(version: &str) -> Value {
    serde_json::json!({"nodes": null, "compressedNodes": null, "offloadNodeStatusVersion": version})
}

//! Nodes as an object in an artifact repository: gzip of their JSON, under a key with its own hash, so that what a workflow
//! names never changes under its name.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tiphys_api::{Artifact, ArtifactLocation, Nodes};
use tiphys_artifact::{Artifacts, Body, Options, Place, Secrets, collect};

use crate::Error;
use crate::aside::aside;
use crate::packing::{expand, shrink};

/// What `status.offloadNodeStatusVersion` begins with. Argo's own versions begin with `fnv:`.
const PREFIX: &str = "artifact:";

/// Which object holds a workflow's nodes; as text in `status.offloadNodeStatusVersion`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Marker {
    /// SHA-256 of the object, in hexadecimal.
    sha256: String,
    /// Where it is, with its key. Secrets in it are the workflow's namespace's.
    location: ArtifactLocation,
}

impl Marker {
    /// Reads a version; None where it is a database's.
    ///
    /// # Errors
    /// [`Error::Damaged`]
    pub fn parse(version: &str) -> Result<Option<Marker>, Error> {
        let Some(json) = version.strip_prefix(PREFIX) else { return Ok(None) };
        let damaged = |error: serde_json::Error| Error::Damaged {
            place: "status.offloadNodeStatusVersion".into(),
            reason: error.to_string(),
        };
        serde_json::from_str(json).map(Some).map_err(damaged)
    }

    /// As `status.offloadNodeStatusVersion` has it.
    pub fn version(&self) -> String {
        // A location has text keys, and always serialises.
        format!("{PREFIX}{}", serde_json::to_string(self).unwrap_or_default())
    }

    /// Where it is.
    pub fn location(&self) -> &ArtifactLocation {
        &self.location
    }
}

/// The Secrets that a location names, as name and key: those that [`Objects::new`] is asked for.
pub fn secrets_of(location: &ArtifactLocation) -> BTreeSet<(String, String)> {
    fn look(value: &Value, found: &mut BTreeSet<(String, String)>) {
        match value {
            Value::Object(fields) => {
                if let (Some(name), Some(key)) = (value["name"].as_str(), value["key"].as_str()) {
                    found.insert((name.to_owned(), key.to_owned()));
                }
                fields.values().for_each(|value| look(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| look(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    look(&serde_json::to_value(location).unwrap_or_default(), &mut found);
    found
}

/// Artifact repositories as places for nodes.
#[derive(Debug)]
pub struct Objects {
    artifacts: Artifacts,
}

impl Objects {
    /// With these Secrets.
    pub fn new(secrets: impl Secrets + 'static, options: Options) -> Objects {
        Objects { artifacts: Artifacts::new(secrets, options) }
    }

    /// Saves nodes, given as JSON, in a folder of a repository: its key, if it has one, is replaced. What is there already
    /// under the same hash stays as it is.
    ///
    /// # Errors
    /// [`Error::Store`]
    pub async fn save(&self, repository: &ArtifactLocation, folder: &str, nodes: &[u8]) -> Result<Marker, Error> {
        self.put(repository, &format!("{folder}/"), nodes).await
    }

    /// Saves nodes, given as JSON, in the folder in which those of a marker are.
    ///
    /// # Errors
    /// [`Error::Store`]
    pub async fn save_beside(&self, marker: &Marker, nodes: &[u8]) -> Result<Marker, Error> {
        self.put(&marker.location, "", nodes).await
    }

    async fn put(&self, location: &ArtifactLocation, folder: &str, nodes: &[u8]) -> Result<Marker, Error> {
        let (object, sha256) = aside(nodes.len(), || {
            let object = shrink(nodes);
            let sha256 = hex(&Sha256::digest(&object));
            (object, sha256)
        });
        let mut location = location.clone();
        put_key(&mut location, &format!("{folder}nodes-{sha256}.json.gz"));
        let marker = Marker { sha256, location };
        let Place { store, key } = self.place(&marker)?;
        store.put(&key, Body::Bytes(Bytes::from(object))).await?;
        Ok(marker)
    }

    /// The nodes of a marker.
    ///
    /// # Errors
    /// [`Error::Store`], or what is there is something else. Two versions of a workflow's nodes stay: where one is gone,
    /// the workflow, read anew, names another.
    pub async fn load(&self, marker: &Marker) -> Result<Nodes, Error> {
        let Place { store, key } = self.place(marker)?;
        let object = collect(store.open(&key).await?.stream).await?;
        let damaged = |reason: String| Error::Damaged { place: store.describe(&key), reason };
        aside(object.len(), || {
            let found = hex(&Sha256::digest(&object));
            if found != marker.sha256 {
                return Err(damaged(format!("its SHA-256 is {found}, expected {}", marker.sha256)));
            }
            let json = expand(&object).map_err(|error| damaged(error.to_string()))?;
            serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))
        })
    }

    /// Removes the object of a marker; one that is gone is no error.
    ///
    /// # Errors
    /// [`Error::Store`]
    pub async fn delete(&self, marker: &Marker) -> Result<(), Error> {
        let Place { store, key } = self.place(marker)?;
        Ok(store.delete(&key).await?)
    }

    fn place(&self, marker: &Marker) -> Result<Place, Error> {
        let mut artifact = serde_json::to_value(&marker.location).unwrap_or_default();
        artifact["name"] = "status.offloadNodeStatusVersion".into();
        let artifact: Artifact = serde_json::from_value(artifact).map_err(|error| Error::Damaged {
            place: "status.offloadNodeStatusVersion".into(),
            reason: error.to_string(),
        })?;
        Ok(self.artifacts.place(&artifact)?)
    }
}

/// Gives a location a key of its own, in the folder in which its format begins.
fn put_key(location: &mut ArtifactLocation, key: &str) {
    location.archive_logs = None;
    let formats = [
        location.s3.as_mut().map(|s3| &mut s3.key),
        location.gcs.as_mut().map(|gcs| &mut gcs.key),
        location.oss.as_mut().map(|oss| &mut oss.key),
        location.azure.as_mut().map(|azure| &mut azure.blob),
        location.artifactory.as_mut().map(|artifactory| &mut artifactory.url),
    ];
    for format in formats.into_iter().flatten() {
        let fixed = format.split("{{").next().unwrap_or_default();
        *format = match fixed.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{key}"),
            None => key.to_owned(),
        };
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

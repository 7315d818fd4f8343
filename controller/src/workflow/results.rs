//! Results that were too large for their Pod: its executor has put them into the artifact repository, from where they are read
//! back, and where they are removed once they are written.

use futures_util::StreamExt as _;
use tiphys_api::Artifact;
use tiphys_artifact::{Artifacts, Class, Error as StoreError};
use tiphys_contract::{Offloaded, TaskResult};
use tiphys_kubernetes::{Backoff, Pod, SecretError};
use tiphys_nodes::secrets_of;

use super::message::Message;
use super::nodes::access;
use super::pods::Workplace;

/// Longest results that are read back, in bytes. An executor lets a step's result have 16 MiB; JSON can make it longer, and
/// parameters come on top.
pub(super) const LONGEST: u64 = 32 << 20;

/// Results that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResultsError {
    /// They are longer than anybody reads.
    #[error("they have {0} bytes, and no more than {LONGEST} are read: pass them as artifacts")]
    Long(u64),
    /// The repository's Secret cannot be read.
    #[error(transparent)]
    Access(#[from] SecretError),
    /// The repository does not give or remove them.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is there is something else.
    #[error("{0}")]
    Damaged(String),
}

impl ResultsError {
    /// Whether the same can succeed later without anybody changing it.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            ResultsError::Long(_) | ResultsError::Damaged(_) => false,
            ResultsError::Access(error) => error.is_transient(),
            ResultsError::Store(error) => error.class() == Class::Transient,
        }
    }
}

/// Where a Pod's results are.
#[derive(Clone, Debug)]
pub(super) struct Away {
    /// The object, with the whole of its location.
    pub artifact: Artifact,
    /// What the executor said of it.
    pub offloaded: Offloaded,
}

impl Workplace {
    /// Reads back what a Pod told by reference, again for as long as that can help; tells what came of it.
    pub(super) async fn fetch_results(self, pod: Box<Pod>, told: TaskResult, away: Away) {
        let mut backoff = Backoff::default();
        let outcome = loop {
            let turn = self.cluster.results.acquire().await;
            let fetched = self.fetch(&told, &away).await;
            drop(turn);
            match fetched {
                // Nobody listens once the workflow is gone.
                Err(_) if self.to.is_closed() => return,
                Err(error) if error.is_transient() => {
                    tracing::warn!(
                        namespace = %self.namespace, workflow = %self.workflow, pod = pod.metadata.name, %error,
                        "results cannot be read from the artifact repository; they are asked for again"
                    );
                    tokio::time::sleep(backoff.pause()).await;
                }
                fetched => break fetched,
            }
        };
        let outcome = outcome.map(Box::new).map_err(|error| {
            let bytes = away.offloaded.bytes;
            format!("the outputs ({bytes} bytes) cannot be read from the artifact repository: {error}")
        });
        self.tell(Message::Results { pod, outcome });
    }

    async fn fetch(&self, told: &TaskResult, away: &Away) -> Result<TaskResult, ResultsError> {
        let (artifacts, Away { artifact, offloaded }) = (self.artifacts(&away.artifact).await?, away);
        let content = read(&artifacts, artifact, offloaded.bytes).await?;
        offloaded.restore(told, &content).map_err(|error| ResultsError::Damaged(error.to_string()))
    }

    /// The stores of an artifact's location, with the Secrets that it names.
    pub(super) async fn artifacts(&self, artifact: &Artifact) -> Result<Artifacts, ResultsError> {
        let wanted = secrets_of(&artifact.location());
        let (secrets, options) = access(&self.cluster, &self.namespace, wanted).await?;
        Ok(Artifacts::new(secrets, options))
    }

    /// Removes results that are written. What cannot be removed stays.
    pub(super) async fn forget_results(self, artifact: Artifact) {
        let removed = async { Ok(self.artifacts(&artifact).await?.delete(&artifact).await?) };
        let removed: Result<(), ResultsError> = removed.await;
        if let Err(error) = removed {
            tracing::warn!(
                namespace = %self.namespace, workflow = %self.workflow, %error,
                "results stay in the artifact repository, although they are written"
            );
        }
    }
}

/// The bytes of an object, no more than it is said to have.
async fn read(artifacts: &Artifacts, artifact: &Artifact, bytes: u64) -> Result<Vec<u8>, ResultsError> {
    if bytes > LONGEST {
        return Err(ResultsError::Long(bytes));
    }
    let longer = || ResultsError::Damaged(format!("the object is longer than the {bytes} bytes that were stored"));
    bounded(artifacts, artifact, bytes).await?.ok_or_else(longer)
}

/// The bytes of an object; None where it has more than these.
pub(super) async fn bounded(
    artifacts: &Artifacts,
    artifact: &Artifact,
    bytes: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut stream = artifacts.open(artifact).await?.stream;
    let mut content = Vec::new();
    while let Some(chunk) = stream.next().await {
        content.extend_from_slice(&chunk?);
        if content.len() as u64 > bytes {
            return Ok(None);
        }
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;
    use tiphys_artifact::{Body, Options, Secret};
    use tiphys_contract::offload;
    use tiphys_kubernetes::ApiError;
    use tiphys_s3server::S3Server;

    use super::*;

    #[tokio::test]
    async fn results_are_read_as_they_were_stored_and_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let server = S3Server::start(folder.path(), &["artifacts"]).await.unwrap();
        let artifact: Artifact = serde_json::from_value(json!({"name": "outputs", "s3": {
            "endpoint": server.endpoint(), "bucket": "artifacts", "insecure": true, "key": "wf/pod/outputs.json",
            "accessKeySecret": {"name": "keys", "key": "access"}, "secretKeySecret": {"name": "keys", "key": "secret"},
        }}))
        .unwrap();
        let (access, key) = (server.access_key().to_owned(), server.secret_key().expose().to_owned());
        let secrets =
            move |_: &str, wanted: &str| Ok(Secret::new(if wanted == "access" { access.clone() } else { key.clone() }));
        let artifacts = Artifacts::new(secrets, Options::default());
        let missing = read(&artifacts, &artifact, 10).await.unwrap_err();
        assert!(matches!(&missing, ResultsError::Store(error) if error.is_not_found()) && !missing.is_transient());

        let content = json!({"outputs": {"result": "x".repeat(1 << 20)}}).to_string().into_bytes();
        let bytes = content.len() as u64;
        artifacts.save_body(Body::Bytes(Bytes::from(content.clone())), &artifact).await.unwrap();
        let offloaded = Offloaded { artifact: artifact.clone(), sha256: offload::hash(&content), bytes };
        let found = read(&artifacts, &artifact, bytes).await.unwrap();
        let whole = offloaded.restore(&TaskResult::default(), &found).unwrap();
        assert_eq!(whole.outputs.unwrap().result.unwrap().len(), 1 << 20);

        let longer = read(&artifacts, &artifact, bytes - 1).await.unwrap_err().to_string();
        assert!(longer.starts_with("the object is longer than the"), "{longer}");
        let long = read(&artifacts, &artifact, LONGEST + 1).await.unwrap_err();
        assert_eq!(
            long.to_string(),
            "they have 33554433 bytes, and no more than 33554432 are read: pass them as artifacts"
        );
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let secret = |code| {
            let error = ApiError::Refused { code, reason: String::new(), message: String::new(), retry_after: None };
            ResultsError::Access(SecretError::Unreadable { namespace: "n".into(), name: "s".into(), error })
        };
        assert!(secret(503).is_transient() && !secret(404).is_transient());
        assert!(!ResultsError::Long(1).is_transient());
    }
}

//! Where a run's artifacts go: the embedded S3 server, unless the user names another repository.

use tiphys_api::{ArtifactRepository, KeySelector, S3ArtifactRepository};
use tiphys_s3server::{S3Server, StartError};

use crate::documents::{Documents, Keys};
use crate::folder::RunFolder;
use crate::stand_in::StandIn;

/// The Secret with the embedded server's credentials; steps have it mounted as files, as on a cluster.
const SECRET: &str = "tiphys-artifacts";
/// The embedded server's bucket: the folder below the run's `artifacts`.
const BUCKET: &str = "artifacts";

/// The repository of a run, and the server behind it if it is ours.
#[derive(Debug)]
pub(crate) struct Repository {
    pub settings: ArtifactRepository,
    server: Option<S3Server>,
}

impl Repository {
    /// Takes the user's repository, or starts one whose credentials go into the documents.
    pub async fn open(
        given: Option<&ArtifactRepository>,
        folder: &RunFolder,
        documents: &mut Documents,
    ) -> Result<Repository, StartError> {
        if let Some(given) = given {
            return Ok(Repository { settings: given.clone(), server: None });
        }
        let server = S3Server::start(&folder.artifacts(), &[BUCKET]).await?;
        let key = |key: &str| Some(KeySelector { name: SECRET.into(), key: key.into(), ..KeySelector::default() });
        let keys = [("accesskey", server.access_key()), ("secretkey", server.secret_key().expose())];
        let keys: Keys = keys.into_iter().map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).collect();
        documents.set_secret(SECRET, keys);
        let s3 = S3ArtifactRepository {
            endpoint: server.endpoint().to_owned(),
            bucket: BUCKET.to_owned(),
            insecure: Some(true),
            access_key_secret: key("accesskey"),
            secret_key_secret: key("secretkey"),
            ..S3ArtifactRepository::default()
        };
        let settings = ArtifactRepository { s3: Some(Box::new(s3)), ..ArtifactRepository::default() };
        Ok(Repository { settings, server: Some(server) })
    }

    /// The embedded server as a store that stands in for others; None where the user named a repository.
    pub fn stand_in(&self) -> Option<StandIn<'_>> {
        self.server.as_ref().map(|server| StandIn {
            endpoint: server.endpoint(),
            access_key: server.access_key(),
            secret_key: server.secret_key().expose(),
        })
    }

    /// Whether other runs use the same repository.
    pub fn is_shared(&self) -> bool {
        self.server.is_none()
    }

    /// Ends the server once its requests are done.
    pub async fn close(self) {
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}

//! Puts results that are too large for their sink into the artifact repository, and tells where they are.

use bytes::Bytes;
use tiphys_api::{Artifact, Template};
use tiphys_artifact::Body;
use tiphys_contract::{Offloaded, TaskResult, offload};

use super::ending::Ending;
use super::settings::Settings;
use super::{locations, transfers};
use crate::paths::Paths;

/// The way to the repository.
pub struct Offloading<'a> {
    /// Where secrets are.
    pub paths: &'a Paths,
    /// How artifacts are transferred.
    pub settings: &'a Settings,
    /// Whose archive location is the repository.
    pub template: &'a Template,
    /// How long that may take.
    pub ending: &'a Ending,
}

impl Offloading<'_> {
    /// Stores the results under the hash of their content; what is returned refers to them.
    ///
    /// # Errors
    /// The text for the user when there is no repository or it cannot be reached.
    pub fn put(&self, result: &TaskResult) -> Result<TaskResult, String> {
        let content = result.to_json().to_string().into_bytes();
        let (bytes, sha256) = (content.len() as u64, offload::hash(&content));
        let failed = |reason: String| {
            format!("the results have {bytes} bytes, too many to be told, and cannot be stored: {reason}")
        };
        let location = self.template.archive_location.as_deref();
        let named = Artifact { name: offload::ARTIFACT.to_owned(), ..Artifact::default() };
        let artifact = locations::for_output(&named, location, &offload::file_name(&sha256)).map_err(failed)?;
        let whole = locations::complete(&artifact, location).map_err(failed)?;
        let body = Bytes::from(content);
        let stored = transfers::run_saving(self.paths, self.settings, self.ending, async |artifacts| {
            self.ending.transfers.bound(artifacts.save_body(Body::Bytes(body), &whole)).await
        });
        match stored.map_err(failed)? {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(failed(error.to_string())),
            None => return Err(failed(transfers::OUT_OF_TIME.to_owned())),
        }
        tracing::info!("the results, {bytes} bytes, are stored as outputs-{sha256}.json");
        let offloaded = Some(Offloaded { artifact, sha256, bytes });
        Ok(TaskResult { progress: result.progress.clone(), offloaded, ..TaskResult::default() })
    }
}
